"""A service's own database: one process owns it, one writer commits to it, and neither knows what it holds."""
