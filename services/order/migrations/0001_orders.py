"""Environments, portfolios, instruments, orders and their events.

Revision ID: 0001
"""

import sqlalchemy as sa
from alembic import op

from services.chassis.database import DecimalText

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Creates the schema."""
    op.create_table(
        "streams",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("epoch", sa.Text, nullable=False),
    )
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("volume_share", sa.Float, nullable=False),
        sa.Column("fill_on_touch", sa.Boolean, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("market_time", sa.BigInteger, nullable=False),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("reached_head", sa.BigInteger, nullable=False),
        sa.Column("head", sa.BigInteger, nullable=False),
        sa.Column("order_count", sa.BigInteger, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("first_order_time", sa.BigInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_table(
        "portfolios",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("environment_id", sa.Text, nullable=False),
        sa.Column("opening_ledger_sequence", sa.BigInteger, nullable=False),
        sa.Column("headroom", DecimalText, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_index("portfolios_by_environment", "portfolios", ["environment_id"])
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("payload", sa.LargeBinary, nullable=False),
    )
    _create_orders()
    _create_order_events()


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("client_key", sa.Text, nullable=False, unique=True),
        sa.Column("portfolio_id", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("open", sa.SmallInteger, nullable=False),
        sa.Column("asked", sa.Text, nullable=False),
        sa.Column("last_event_sequence", sa.BigInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_index("orders_by_portfolio", "orders", ["portfolio_id", "number"])
    # A number, because the same text on both databases has to match the condition of this index.
    is_open = sa.text("open = 1")
    op.create_index(
        "orders_open", "orders", ["environment_id", "number"], sqlite_where=is_open, postgresql_where=is_open
    )


def _create_order_events() -> None:
    op.create_table(
        "order_events",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("portfolio_id", sa.Text, nullable=False),
        sa.Column("symbol", sa.Text, nullable=False),
        sa.Column("exec_type", sa.SmallInteger, nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_index("order_events_by_order", "order_events", ["environment_id", "number", "sequence"])
    # Fills are few among the events, and listed on their own; 4 is ExecType.TRADE.
    is_fill = sa.text("exec_type = 4")
    for name, columns in (
        ("order_events_fills", ["environment_id", "sequence"]),
        ("order_events_fills_by_portfolio", ["portfolio_id", "sequence"]),
    ):
        op.create_index(name, "order_events", columns, sqlite_where=is_fill, postgresql_where=is_fill)
