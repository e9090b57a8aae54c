"""Limits of strategies and symbols, equity curves, and risk events of all kinds in the journal that changes were in."""

import json
from typing import Any

import sqlalchemy as sa
from alembic import op

from services.chassis.storage.database import DecimalText, columns

revision = "0002"
down_revision = "0001"

_KEY = ("environment_id", "portfolio_id", "strategy_id", "symbol", "name")
_REST = ("bound", "deleted", "version", "tape_sequence", "update_time", "principal", "owner")


def upgrade() -> None:
    """Widens the limits' key, gives the gates their curves, and the journal what streams and lists filter by."""
    op.create_table(
        "scoped_limits",
        *(sa.Column(name, sa.Text, primary_key=True) for name in _KEY),
        *columns(DecimalText, "bound"),
        *columns(sa.Boolean, "deleted"),
        *columns(sa.BigInteger, "version", "tape_sequence", "update_time"),
        *columns(sa.Text, "principal", "owner"),
    )
    old, new = (sa.table(name, *map(sa.column, (*_KEY, *_REST))) for name in ("limits", "scoped_limits"))
    nothing = {name: sa.literal("").label(name) for name in ("strategy_id", "symbol")}
    chosen = sa.select(*(nothing.get(name, old.c[name]) for name in (*_KEY, *_REST)))
    op.execute(sa.insert(new).from_select([*_KEY, *_REST], chosen))
    op.drop_table("limits")
    op.rename_table("scoped_limits", "limits")
    _add("claims", "strategy_id", sa.Text, "''")
    _add("environments", "curve", sa.Text, '\'["0", "0"]\'')
    _add("environments", "warned", sa.Text, "'[]'")
    _add("environments", "valued_sequence", sa.BigInteger, "0")
    _add("environments", "last_order_id", sa.Text, "''")
    _add("events", "portfolio_id", sa.Text, "''")
    _add("events", "market_time", sa.BigInteger, "0")
    op.create_index("events_by_kind", "events", ["environment_id", "kind", "sequence"])
    op.create_index("events_by_portfolio", "events", ["environment_id", "portfolio_id", "sequence"])
    op.create_table("streams", sa.Column("epoch", sa.Text, primary_key=True))
    _widen_states()


def _add(table: str, name: str, kind: type[sa.types.TypeEngine[Any]], default: str) -> None:
    op.add_column(table, sa.Column(name, kind, nullable=False, server_default=sa.text(default)))


def _widen_states() -> None:
    """Order counts get their symbols, which are not known of those before; curves begin with what there was in cash."""
    text = {name: sa.Column(name, sa.Text) for name in ("environment_id", "portfolio_id", "state")}
    table = sa.Table("portfolios", sa.MetaData(), *text.values())
    connection = op.get_bind()
    for row in connection.execute(sa.select(table)).all():
        state = json.loads(row.state)
        state["recent"] = [[time, {"": number}] for time, number in state["recent"]]
        state |= {"curve": [state["cash"], state["cash"]], "sleeves": {}, "filled_at": 0}
        own = (table.c.environment_id == row.environment_id, table.c.portfolio_id == row.portfolio_id)
        connection.execute(sa.update(table).where(*own).values(state=json.dumps(state)))
