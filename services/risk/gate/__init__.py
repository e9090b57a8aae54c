"""One environment's gate: what feeds it, what it knows, and what it answers."""
