"""Environments, portfolios, instruments, orders and their events."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText, columns

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
        "cancel_timers",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("principal", sa.Text, primary_key=True),
        *columns(sa.BigInteger, "trigger_time"),
        *columns(sa.Text, "owner"),
    )
    op.create_table(
        "venue_models",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *columns(sa.Text, "venue_model_id"),
        *columns(sa.LargeBinary, "payload"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_index("venue_models_by_id", "venue_models", ["venue_model_id", "sequence"])
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
        *columns(sa.BigInteger, "first_sequence", "transact_time", "last_event_sequence"),
        *columns(sa.Text, "principal", "owner"),
    )
    # Each list is read along one of these: what it may be filtered by besides stands in the index too. One by time goes
    # along its environment's time, also a portfolio's: an index of its own would cost every order 5 us more.
    op.create_index("orders_by_sequence", "orders", ["environment_id", "first_sequence", "symbol"])
    op.create_index("orders_by_portfolio", "orders", ["portfolio_id", "first_sequence", "symbol"])
    op.create_index(
        "orders_by_time", "orders", ["environment_id", "transact_time", "first_sequence", "portfolio_id", "symbol"]
    )
    # A number, because the same text on both databases has to match the condition of this index.
    is_open = sa.text("open = 1")
    op.create_index(
        "orders_open", "orders", ["environment_id", "first_sequence"], sqlite_where=is_open, postgresql_where=is_open
    )


def _create_order_events() -> None:
    op.create_table(
        "order_events",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True, autoincrement=False),
        *columns(sa.BigInteger, "number"),
        *columns(sa.Text, "portfolio_id", "symbol"),
        *columns(sa.SmallInteger, "exec_type"),
        *columns(sa.BigInteger, "transact_time"),
        *columns(sa.LargeBinary, "payload"),
        *columns(sa.Text, "principal", "owner"),
    )
    # As those of orders.
    for name, indexed in (
        ("by_order", ["environment_id", "number", "sequence"]),
        ("by_portfolio", ["portfolio_id", "sequence", "symbol"]),
        ("by_symbol", ["environment_id", "symbol", "sequence"]),
        ("by_time", ["environment_id", "transact_time", "sequence", "portfolio_id", "symbol", "exec_type"]),
    ):
        op.create_index(f"order_events_{name}", "order_events", indexed)
    # Fills are few among the events, and listed on their own; 4 is ExecType.TRADE.
    is_fill = sa.text("exec_type = 4")
    for name, indexed in (
        ("fills", ["environment_id", "sequence", "symbol"]),
        ("fills_by_portfolio", ["portfolio_id", "sequence", "symbol"]),
    ):
        op.create_index(f"order_events_{name}", "order_events", indexed, sqlite_where=is_fill, postgresql_where=is_fill)
