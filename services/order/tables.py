"""The tables; `migrations` makes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa

from services.chassis.storage.database import DecimalText, columns

_metadata = sa.MetaData()


def _table(name: str, keys: Sequence[sa.Column[Any]], *columns: sa.Column[Any]) -> sa.Table:
    return sa.Table(name, _metadata, *keys, *columns)


def _keys(**kinds: Any) -> list[sa.Column[Any]]:
    return [sa.Column(name, kind, primary_key=True, autoincrement=False) for name, kind in kinds.items()]


STREAMS = _table("streams", _keys(name=sa.Text), *columns(sa.Text, "epoch"))
ENVIRONMENTS = _table(
    "environments",
    _keys(environment_id=sa.Text),
    *columns(sa.Boolean, "ended"),
    *columns(sa.BigInteger, "tape_sequence", "market_time", "cycle", "reached_head", "head", "order_count", "epoch"),
    *columns(sa.Text, "principal", "owner"),
)
PORTFOLIOS = _table(
    "portfolios",
    _keys(portfolio_id=sa.Text),
    *columns(sa.Text, "environment_id"),
    *columns(sa.BigInteger, "opening_ledger_sequence"),
    *columns(DecimalText, "headroom"),
    *columns(sa.Text, "principal", "owner"),
)
POSITIONS = _table(
    "positions",
    _keys(environment_id=sa.Text, portfolio_id=sa.Text, symbol=sa.Text),
    *columns(DecimalText, "quantity"),
    *columns(sa.BigInteger, "tape_sequence"),
    *columns(sa.Text, "principal", "owner"),
    *columns(DecimalText, "collateral"),
)
REQUESTS = _table(
    "requests",
    _keys(environment_id=sa.Text, request_id=sa.Text),
    *columns(sa.Text, "asked", "principal", "owner"),
)
CANCEL_TIMERS = _table(
    "cancel_timers",
    _keys(environment_id=sa.Text, portfolio_id=sa.Text, principal=sa.Text),
    *columns(sa.BigInteger, "trigger_time"),
    *columns(sa.Text, "owner"),
)
RUNAWAYS = _table(
    "runaways",
    _keys(environment_id=sa.Text, portfolio_id=sa.Text),
    *columns(DecimalText, "bound"),
    *columns(sa.BigInteger, "value", "begin_time"),
    *columns(sa.Text, "principal", "owner"),
)
INSTRUMENTS = _table("instruments", _keys(symbol=sa.Text), *columns(sa.LargeBinary, "payload"))
VENUE_MODELS = _table(
    "venue_models",
    _keys(environment_id=sa.Text, sequence=sa.BigInteger),
    *columns(sa.Text, "venue_model_id"),
    *columns(sa.LargeBinary, "payload"),
    *columns(sa.Text, "principal", "owner"),
)
ORDERS = _table(
    "orders",
    _keys(environment_id=sa.Text, number=sa.BigInteger),
    *columns(sa.Text, "client_key", "portfolio_id", "symbol"),
    *columns(sa.SmallInteger, "open"),
    *columns(sa.Text, "asked"),
    *columns(sa.BigInteger, "first_sequence", "transact_time", "last_event_sequence"),
    *columns(sa.Text, "principal", "owner"),
)
EVENTS = _table(
    "order_events",
    _keys(environment_id=sa.Text, sequence=sa.BigInteger),
    *columns(sa.BigInteger, "number"),
    *columns(sa.Text, "portfolio_id", "symbol"),
    *columns(sa.SmallInteger, "exec_type"),
    *columns(sa.BigInteger, "transact_time"),
    *columns(sa.LargeBinary, "payload"),
    *columns(sa.Text, "principal", "owner"),
)

# Conditions of partial indexes are written as literals: the planner must see them.
IS_OPEN = ORDERS.c.open == sa.literal_column("1")
IS_FILL = EVENTS.c.exec_type == sa.literal_column("4")
LAST_EVENT = sa.and_(
    EVENTS.c.environment_id == ORDERS.c.environment_id, EVENTS.c.sequence == ORDERS.c.last_event_sequence
)
