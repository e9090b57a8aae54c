"""Claims say what an order that can only close may trade; of those that are open from before, with their next event."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the signed units; those that reduce-only buys may cover are known."""
    op.add_column("claims", sa.Column("closing", DecimalText, nullable=False, server_default=sa.text("'0'")))
    claims = sa.table("claims", sa.column("covering"), sa.column("closing"))
    op.execute(sa.update(claims).values(closing=claims.c.covering))
