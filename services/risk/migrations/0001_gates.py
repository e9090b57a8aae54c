"""Gates and their cursors, limits, kill switches, and the journal of their changes."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText, columns

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Creates the tables."""
    op.create_table(
        "environments",
        sa.Column("environment_id", sa.Text, primary_key=True),
        *columns(sa.BigInteger, "order_sequence", "ledger_sequence", "tape_sequence", "cycle"),
        *columns(sa.Boolean, "ended"),
        *columns(sa.Text, "marks"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "epochs",
        sa.Column("environment_id", sa.Text, primary_key=True),
        *columns(sa.BigInteger, "epoch"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "portfolios",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        *columns(sa.Text, "state"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "claims",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("order_id", sa.Text, primary_key=True),
        *columns(sa.Text, "portfolio_id", "symbol", "pair"),
        *columns(DecimalText, "quantity", "cash"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "limits",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("portfolio_id", sa.Text, primary_key=True),
        sa.Column("name", sa.Text, primary_key=True),
        *columns(DecimalText, "bound"),
        *columns(sa.Boolean, "deleted"),
        *columns(sa.BigInteger, "version", "tape_sequence", "update_time"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "kill_switches",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("scope", sa.Text, primary_key=True),
        sa.Column("target_id", sa.Text, primary_key=True),
        *columns(sa.Boolean, "engaged", "allow_reducing"),
        *columns(sa.Text, "reason"),
        *columns(sa.BigInteger, "version", "tape_sequence", "update_time"),
        *columns(sa.Text, "principal", "owner"),
    )
    op.create_table(
        "events",
        sa.Column("environment_id", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, primary_key=True),
        *columns(sa.Text, "kind", "payload"),
        *columns(sa.Integer, "payload_version"),
        *columns(sa.BigInteger, "tape_sequence", "order_head", "create_time"),
        *columns(sa.Text, "after_order_id", "traceparent"),
        *columns(sa.Text, "principal", "owner"),
    )
