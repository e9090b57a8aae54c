"""The edge: Envoy's configuration, what fills it in, and the pages it shows."""
