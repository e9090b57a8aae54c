"""The cycle in process, and what it came to (rules 31 to 35)."""
