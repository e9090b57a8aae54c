"""Portfolios, their ledgers, and how far the events of each environment are folded."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText, columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables; `store.py` says what is in them."""
    _make_environments()
    _make_portfolios()
    _make_holdings()
    _make_history()


def _identity() -> list[sa.Column[str]]:
    return columns(sa.Text, "environment_id", "principal", "owner")


def _make_environments() -> None:
    op.create_table("streams", sa.Column("epoch", sa.Text, primary_key=True))
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        *columns(
            sa.BigInteger, "cycle", "tape_sequence", "market_time", "order_sequence", "ledger_sequence", "applied"
        ),
        *columns(sa.Boolean, "ended"),
        *columns(sa.Text, "marks", "principal", "owner"),
    )


def _make_portfolios() -> None:
    op.create_table(
        "portfolios",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        *columns(sa.Text, "display_name", "currency_code"),
        *columns(DecimalText, "initial_cash"),
        *columns(sa.Text, "request_id"),
        *columns(sa.BigInteger, "opening_ledger_sequence", "create_time"),
        *_identity(),
    )
    op.create_table(
        "ledgers",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        *columns(sa.BigInteger, "entry_count", "last_lot", "ledger_sequence"),
        *columns(DecimalText, "realized_pnl", "commission"),
        *_identity(),
    )
    op.create_table(
        "balances",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("asset", sa.Text, primary_key=True),
        *columns(DecimalText, "amount"),
        *_identity(),
    )


def _make_holdings() -> None:
    op.create_table(
        "positions",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        *columns(DecimalText, "quantity", "cost", "realized_pnl", "multiplier", "last_price"),
        *_identity(),
    )
    op.create_table(
        "lots",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("lot_id", sa.BigInteger, primary_key=True),
        *columns(sa.Text, "symbol"),
        *columns(DecimalText, "quantity", "cost", "multiplier"),
        *columns(sa.BigInteger, "open_time"),
        *columns(sa.Text, "open_exec_id"),
        *_identity(),
    )


def _make_history() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        *columns(sa.Text, "portfolio_id", "kind", "account", "asset", "order_id"),
        *columns(DecimalText, "amount"),
        *columns(sa.LargeBinary, "payload"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_index("ledger_entries_of_portfolio", "ledger_entries", ["portfolio_id", "sequence"])
    op.create_index("ledger_entries_of_order", "ledger_entries", ["portfolio_id", "order_id", "sequence"])
    op.create_table(
        "equity_points",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("tape_sequence", sa.BigInteger, primary_key=True),
        *columns(sa.BigInteger, "time"),
        *columns(DecimalText, "cash", "equity"),
        *_identity(),
    )
