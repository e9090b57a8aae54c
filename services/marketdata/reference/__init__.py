"""What no tape says: what can be traded, and when."""
