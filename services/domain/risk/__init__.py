"""The pre-trade gate: limits, reservations and marks (rules 3 to 5 and 19)."""
