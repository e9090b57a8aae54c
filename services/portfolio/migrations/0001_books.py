"""Portfolios, their ledgers, and how far the events of each environment are folded."""

import sqlalchemy as sa
from alembic import op

from services.chassis.database import DecimalText

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Makes the tables; `store.py` says what is in them."""
    _make_environments()
    _make_portfolios()
    _make_holdings()
    _make_history()


def _identity() -> list[sa.Column[str]]:
    return [sa.Column(name, sa.Text, nullable=False) for name in ("environment_id", "principal", "owner")]


def _make_environments() -> None:
    op.create_table("streams", sa.Column("epoch", sa.Text, primary_key=True))
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("market_time", sa.BigInteger, nullable=False),
        sa.Column("order_sequence", sa.BigInteger, nullable=False),
        sa.Column("ledger_sequence", sa.BigInteger, nullable=False),
        sa.Column("applied", sa.BigInteger, nullable=False),
        sa.Column("ended", sa.Boolean, nullable=False),
        sa.Column("marks", sa.Text, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )


def _make_portfolios() -> None:
    op.create_table(
        "portfolios",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("currency_code", sa.Text, nullable=False),
        sa.Column("initial_cash", DecimalText(), nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("opening_ledger_sequence", sa.BigInteger, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        *_identity(),
    )
    op.create_table(
        "ledgers",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("entry_count", sa.BigInteger, nullable=False),
        sa.Column("last_lot", sa.BigInteger, nullable=False),
        sa.Column("ledger_sequence", sa.BigInteger, nullable=False),
        sa.Column("realized_pnl", DecimalText(), nullable=False),
        sa.Column("commission", DecimalText(), nullable=False),
        *_identity(),
    )
    op.create_table(
        "balances",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("account", sa.Text, primary_key=True),
        sa.Column("asset", sa.Text, primary_key=True),
        sa.Column("amount", DecimalText(), nullable=False),
        *_identity(),
    )


def _make_holdings() -> None:
    op.create_table(
        "positions",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("symbol", sa.Text, primary_key=True),
        *(
            sa.Column(name, DecimalText(), nullable=False)
            for name in ("quantity", "cost", "realized_pnl", "multiplier", "last_price")
        ),
        *_identity(),
    )
    op.create_table(
        "lots",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("lot_id", sa.BigInteger, primary_key=True),
        sa.Column("symbol", sa.Text, nullable=False),
        *(sa.Column(name, DecimalText(), nullable=False) for name in ("quantity", "cost", "multiplier")),
        sa.Column("open_time", sa.BigInteger, nullable=False),
        sa.Column("open_exec_id", sa.Text, nullable=False),
        *_identity(),
    )


def _make_history() -> None:
    op.create_table(
        "ledger_entries",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        sa.Column("portfolio_id", sa.Text, nullable=False),
        *(sa.Column(name, sa.Text, nullable=False) for name in ("kind", "account", "asset")),
        sa.Column("amount", DecimalText(), nullable=False),
        sa.Column("payload", sa.LargeBinary, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_index("ledger_entries_of_portfolio", "ledger_entries", ["portfolio_id", "sequence"])
    op.create_table(
        "equity_points",
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("tape_sequence", sa.BigInteger, primary_key=True),
        sa.Column("time", sa.BigInteger, nullable=False),
        sa.Column("cash", DecimalText(), nullable=False),
        sa.Column("equity", DecimalText(), nullable=False),
        *_identity(),
    )
