"""Strategies, deployments, how far each has decided, and signals."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables; `store.py` says what is in them."""
    op.create_table("streams", sa.Column("epoch", sa.Text, primary_key=True))
    op.create_table(
        "strategies",
        sa.Column("strategy_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        *_texts("display_name", "kind", "parameters", "symbols", "request_id", "principal", "owner"),
        sa.Column("create_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "deployments",
        sa.Column("deployment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        *_texts("strategy_id", "portfolio_id", "environment_id", "request_id", "principal", "owner", "state", "error"),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("deployment_number", sa.BigInteger, nullable=False),
        sa.Column("start_sequence", sa.BigInteger, nullable=False),
        sa.Column("released", sa.Boolean, nullable=False),
    )
    op.create_table(
        "progress",
        sa.Column("deployment_id", sa.Text, primary_key=True),
        *_texts("environment_id", "principal", "owner", "runner"),
        *(
            sa.Column(name, sa.BigInteger, nullable=False)
            for name in ("cycle", "tape_sequence", "order_head", "signal_count")
        ),
    )
    op.create_table(
        "signals",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *_texts("deployment_id", "symbol", "principal", "owner"),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    op.create_index("signals_of_deployments", "signals", ["environment_id", "deployment_id", "sequence"])


def _texts(*names: str) -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in names]
