"""Alembic versions of the order service's schema."""
