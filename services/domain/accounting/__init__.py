"""The books: double entry, positions and lots (rules 16 to 22a)."""
