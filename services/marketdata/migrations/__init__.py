"""Alembic's version files of the market-data store."""
