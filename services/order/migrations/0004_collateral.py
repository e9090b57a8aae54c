"""What is held against the shorts that the venue's fills opened: without it a restart would take it for headroom.

A short from before this column has none on record, so what covers it is paid from headroom until it is closed.
"""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Adds its column."""
    op.add_column("positions", sa.Column("collateral", DecimalText, nullable=False, server_default="0"))
