"""Orders, their lists, their events and their lifecycle (rules 6, 7 and 13)."""
