"""Portfolios whose orders are turned away at the door, kept until risk has heard of it."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText, columns

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Creates their table."""
    op.create_table(
        "runaways",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        *columns(DecimalText, "bound"),
        *columns(sa.BigInteger, "value", "begin_time"),
        *columns(sa.Text, "principal", "owner"),
    )
