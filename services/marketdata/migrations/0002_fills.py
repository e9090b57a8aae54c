"""How orders fill is set by venue models, and no longer a property of the environment."""

from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Drops what nobody asks for."""
    op.drop_column("environments", "volume_share")
    op.drop_column("environments", "fill_on_touch")
