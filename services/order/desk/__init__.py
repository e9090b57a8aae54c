"""The desk of one environment: what changes it, in which order, and how all of it is made durable."""
