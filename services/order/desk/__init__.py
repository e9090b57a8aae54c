"""The desk of one environment: what is served when, one step at a time."""
