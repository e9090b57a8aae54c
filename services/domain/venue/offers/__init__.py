"""What one record does for one order: whether its prices reach it, what it offers, and what the order gets of that."""
