"""Strategies, deployments, how far each has decided, and signals."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables; `store.py` says what is in them."""
    op.create_table("streams", sa.Column("epoch", sa.Text, primary_key=True))
    op.create_table(
        "strategies",
        sa.Column("strategy_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        *columns(sa.Text, "display_name", "kind", "parameters", "symbols", "request_id", "principal", "owner"),
        *columns(sa.BigInteger, "create_time"),
    )
    op.create_table(
        "deployments",
        sa.Column("deployment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        *columns(
            sa.Text,
            "strategy_id",
            "portfolio_id",
            "environment_id",
            "request_id",
            "principal",
            "owner",
            "state",
            "error",
            "seat_token",
        ),
        *columns(sa.BigInteger, "create_time", "deployment_number", "start_sequence"),
        *columns(sa.Boolean, "released"),
    )
    op.create_table(
        "progress",
        sa.Column("deployment_id", sa.Text, primary_key=True),
        *columns(sa.Text, "environment_id", "principal", "owner", "runner"),
        *columns(sa.BigInteger, "cycle", "tape_sequence", "order_head", "signal_count"),
    )
    op.create_table(
        "signals",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *columns(sa.Text, "deployment_id", "symbol", "signal_id", "principal", "owner"),
        *columns(sa.LargeBinary, "payload"),
    )
    op.create_index("signals_by_id", "signals", ["environment_id", "signal_id"])
    op.create_index("signals_of_deployments", "signals", ["environment_id", "deployment_id", "sequence"])
