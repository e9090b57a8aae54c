"""A record and the orders that it concerns: whose turn it is, and what becomes of each (rules 8 to 15 and 20)."""
