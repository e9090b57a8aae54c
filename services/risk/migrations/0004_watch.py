"""Of figures that were warned of, what was told: that they are near their bounds, or of a margin call."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    """Gives each its kind; a figure beyond its bound is told of as such when it is next looked at."""
    table = sa.table("environments", sa.column("environment_id"), sa.column("warned"))
    connection = op.get_bind()
    for row in connection.execute(sa.select(table)).all():
        kinds = {"maintenance_margin": "MARGIN_CALL"}
        told = [[name, where, kinds.get(name, "NEAR_BREACH")] for name, where in json.loads(row.warned)]
        own = table.c.environment_id == row.environment_id
        connection.execute(sa.update(table).where(own).values(warned=json.dumps(told)))
