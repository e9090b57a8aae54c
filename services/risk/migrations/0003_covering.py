"""Claims say what a reduce-only order may cover; of those that are open from before, with their next event."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Adds the units that a claim may cover."""
    op.add_column("claims", sa.Column("covering", DecimalText, nullable=False, server_default=sa.text("'0'")))
