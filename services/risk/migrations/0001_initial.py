"""Gates and their cursors, limits, kill switches, and the journal of their changes."""

import sqlalchemy as sa
from alembic import op

from services.chassis.database import DecimalText

revision = "0001"
down_revision = None


def _whose() -> list[sa.Column[str]]:
    return [
        sa.Column("principal", sa.Text, nullable=False, server_default="local"),
        sa.Column("owner", sa.Text, nullable=False, server_default="local"),
    ]


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("order_sequence", sa.BigInteger, nullable=False),
        sa.Column("ledger_sequence", sa.BigInteger, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("marks", sa.Text, nullable=False),
        *_whose(),
    )
    op.create_table(
        "epochs",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        *_whose(),
    )
    op.create_table(
        "portfolios",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        *_whose(),
    )
    op.create_table(
        "claims",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("quantity", DecimalText, nullable=False),
        sa.Column("cash", DecimalText, nullable=False),
        *_whose(),
    )
    op.create_table(
        "limits",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("bound", DecimalText, nullable=False),
        sa.Column("deleted", sa.Boolean, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        *_whose(),
    )
    op.create_table(
        "kill_switches",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("target_id", sa.Text, primary_key=True),
        sa.Column("engaged", sa.Boolean, nullable=False),
        sa.Column("allow_reducing", sa.Boolean, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("update_time", sa.BigInteger, nullable=False),
        *_whose(),
    )
    op.create_table(
        "events",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("payload", sa.Text, nullable=False),
        sa.Column("payload_version", sa.Integer, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("traceparent", sa.Text, nullable=False),
        *_whose(),
    )
