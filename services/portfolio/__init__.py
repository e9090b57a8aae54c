"""Portfolios: cash, positions, lots and every ledger entry that made them, folded from order events."""
