"""Environments, portfolios, instruments, orders and their events."""

import sqlalchemy as sa
from alembic import op

from services.chassis.database import DecimalText, columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the schema."""
    op.create_table(
        "streams",
        sa.Column("name", sa.Text, primary_key=True),
        *columns(sa.Text, "epoch"),
    )
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        *columns(sa.Float, "volume_share"),
        *columns(sa.Boolean, "fill_on_touch", "ended"),
        *columns(
            sa.BigInteger,
            "tape_sequence",
            "market_time",
            "cycle",
            "reached_head",
            "head",
            "order_count",
            "epoch",
        ),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "portfolios",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        *columns(sa.Text, "environment_id"),
        *columns(sa.BigInteger, "opening_ledger_sequence"),
        *columns(DecimalText, "headroom"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_index("portfolios_by_environment", "portfolios", ["environment_id"])
    op.create_table(
        "positions",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        *columns(DecimalText, "quantity"),
        *columns(sa.BigInteger, "tape_sequence"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "requests",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("request_id", sa.Text, primary_key=True),
        *columns(sa.Text, "asked", "principal", "owner"),
    )
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text, primary_key=True),
        *columns(sa.LargeBinary, "payload"),
    )
    _create_orders()
    _create_order_events()


def _create_orders() -> None:
    op.create_table(
        "orders",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, primary_key=True, autoincrement=False),
        sa.Column("client_key", sa.Text, nullable=False, unique=True),
        *columns(sa.Text, "portfolio_id", "symbol"),
        *columns(sa.SmallInteger, "open"),
        *columns(sa.Text, "asked"),
        *columns(sa.BigInteger, "last_event_sequence"),
        *columns(sa.Text, "principal", "owner"),
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
        *columns(sa.BigInteger, "number"),
        *columns(sa.Text, "portfolio_id", "symbol"),
        *columns(sa.SmallInteger, "exec_type"),
        *columns(sa.LargeBinary, "payload"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_index("order_events_by_order", "order_events", ["environment_id", "number", "sequence"])
    # Fills are few among the events, and listed on their own; 4 is ExecType.TRADE.
    is_fill = sa.text("exec_type = 4")
    for name, indexed in (
        ("order_events_fills", ["environment_id", "sequence"]),
        ("order_events_fills_by_portfolio", ["portfolio_id", "sequence"]),
    ):
        op.create_index(name, "order_events", indexed, sqlite_where=is_fill, postgresql_where=is_fill)
