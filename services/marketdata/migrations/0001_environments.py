"""Instruments, calendars, environments and who takes part in them."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText, columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the first tables."""
    op.create_table(
        "identity",
        sa.Column("singleton", sa.Integer, primary_key=True, autoincrement=False),
        *columns(sa.Text, "epoch"),
    )
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text, primary_key=True),
        *columns(sa.Text, "display_name", "currency_code", "calendar"),
        *columns(DecimalText, "price_increment", "quantity_increment", "lot_size", "contract_multiplier"),
        *columns(sa.BigInteger, "create_time"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "calendars",
        sa.Column("calendar", sa.Text, primary_key=True),
        *columns(sa.LargeBinary, "opens", "closes", "dates"),
        *columns(sa.BigInteger, "known_from", "known_until"),
        *columns(sa.Text, "library"),
        *columns(sa.BigInteger, "compile_time"),
    )
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        *columns(sa.Text, "display_name", "data_set_id", "symbols"),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        *columns(sa.Text, "tape_digest"),
        *columns(sa.BigInteger, "start_sequence", "end_sequence", "seed"),
        *columns(sa.Double, "volume_share"),
        *columns(sa.Boolean, "fill_on_touch"),
        *columns(sa.Text, "request_id", "request_digest"),
        *columns(sa.BigInteger, "create_time"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "controls",
        sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
        *columns(sa.Text, "state"),
        *columns(sa.Boolean, "stopping"),
        sa.Column("multiple", sa.Double),
        sa.Column("sessions_per_second", sa.Double),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "positions",
        sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
        *columns(sa.BigInteger, "cycle", "tape_sequence", "order_head", "ledger_head", "market_time"),
        sa.Column("granted_through", sa.BigInteger),
        *columns(sa.Boolean, "final"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "enrolments",
        sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
        sa.Column("deployment_id", sa.Text, primary_key=True),
        *columns(sa.BigInteger, "number", "start_sequence"),
        *columns(sa.Text, "seat_digest", "strategy_id", "portfolio_id"),
        *columns(sa.Boolean, "left"),
        *columns(sa.Text, "principal", "owner"),
    )
