"""Claims say what an order that can only close may trade; of reduce-only ones from before, with their next event."""

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    """Adds the signed units; a sale that sets nothing aside for a short can only close all of its own.

    Exits that wait for their entry count nothing, and which reduce-only orders do is not known here. Signs alone are
    compared, which is safe wherever decimals are text.
    """
    op.add_column("claims", sa.Column("closing", DecimalText, nullable=False, server_default=sa.text("'0'")))
    claims = sa.table("claims", *map(sa.column, ("quantity", "cash", "closing")))
    quantity, cash = (sa.cast(each, sa.Numeric) for each in (claims.c.quantity, claims.c.cash))
    op.execute(sa.update(claims).where(quantity < 0, cash == 0).values(closing=claims.c.quantity))
