"""Instruments, calendars, environments and who takes part in them.

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
    """Creates the first tables."""
    op.create_table(
        "identity",
        sa.Column("singleton", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("epoch", sa.Text, nullable=False),
    )
    op.create_table(
        "instruments",
        sa.Column("symbol", sa.Text, primary_key=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("currency_code", sa.Text, nullable=False),
        sa.Column("calendar", sa.Text, nullable=False),
        sa.Column("price_increment", DecimalText, nullable=False),
        sa.Column("quantity_increment", DecimalText, nullable=False),
        sa.Column("lot_size", DecimalText, nullable=False),
        sa.Column("contract_multiplier", DecimalText, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_table(
        "calendars",
        sa.Column("calendar", sa.Text, primary_key=True),
        sa.Column("opens", sa.LargeBinary, nullable=False),
        sa.Column("closes", sa.LargeBinary, nullable=False),
        sa.Column("dates", sa.LargeBinary, nullable=False),
        sa.Column("known_from", sa.BigInteger, nullable=False),
        sa.Column("known_until", sa.BigInteger, nullable=False),
        sa.Column("library", sa.Text, nullable=False),
        sa.Column("compile_time", sa.BigInteger, nullable=False),
    )
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False, unique=True),
        sa.Column("display_name", sa.Text, nullable=False),
        sa.Column("data_set_id", sa.Text, nullable=False),
        sa.Column("symbols", sa.Text, nullable=False),
        sa.Column("start_time", sa.BigInteger),
        sa.Column("end_time", sa.BigInteger),
        sa.Column("tape_digest", sa.Text, nullable=False),
        sa.Column("start_sequence", sa.BigInteger, nullable=False),
        sa.Column("end_sequence", sa.BigInteger, nullable=False),
        sa.Column("seed", sa.BigInteger, nullable=False),
        sa.Column("volume_share", sa.Double, nullable=False),
        sa.Column("fill_on_touch", sa.Boolean, nullable=False),
        sa.Column("request_id", sa.Text, nullable=False),
        sa.Column("request_digest", sa.Text, nullable=False),
        sa.Column("create_time", sa.BigInteger, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
    op.create_table(
        "controls",
        sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("stopping", sa.Boolean, nullable=False),
        sa.Column("multiple", sa.Double),
        sa.Column("sessions_per_second", sa.Double),
    )
    op.create_table(
        "positions",
        sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
        sa.Column("cycle", sa.BigInteger, nullable=False),
        sa.Column("tape_sequence", sa.BigInteger, nullable=False),
        sa.Column("order_head", sa.BigInteger, nullable=False),
        sa.Column("ledger_head", sa.BigInteger, nullable=False),
        sa.Column("market_time", sa.BigInteger, nullable=False),
        sa.Column("granted_through", sa.BigInteger),
        sa.Column("final", sa.Boolean, nullable=False),
    )
    op.create_table(
        "enrolments",
        sa.Column("environment_id", sa.Text, sa.ForeignKey("environments.environment_id"), primary_key=True),
        sa.Column("deployment_id", sa.Text, primary_key=True),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("start_sequence", sa.BigInteger, nullable=False),
        sa.Column("left", sa.Boolean, nullable=False),
        sa.Column("principal", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
    )
