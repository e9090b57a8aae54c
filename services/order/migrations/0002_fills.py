"""How orders fill is set by venue models, and no longer a property of the environment."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_environments = sa.table("environments", *map(sa.column, ("environment_id", "ended", "volume_share", "fill_on_touch")))


def upgrade() -> None:
    """Drops what nobody asks for.

    Raises:
        RuntimeError: an environment has not ended and fills by settings of its own: its open orders were taken on them.
    """
    own = sa.or_(_environments.c.volume_share != 0.1, _environments.c.fill_on_touch == sa.true())
    chosen = sa.select(_environments.c.environment_id).where(_environments.c.ended == sa.false(), own)
    going = op.get_bind().execute(chosen).scalars().all()
    if going:
        raise RuntimeError(f"{', '.join(going)} fill by settings of their own: end them by the version before")
    op.drop_column("environments", "volume_share")
    op.drop_column("environments", "fill_on_touch")
