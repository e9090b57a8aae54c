"""A deployed strategy's side of the cycle: what it sees, asks for and holds (rule 32d)."""
