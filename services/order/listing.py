"""Lists of orders and of events, a page at a time, each read along an index in the order in which it is told."""

from __future__ import annotations

from typing import Any, Final, NamedTuple

import sqlalchemy as sa

from services.chassis.storage.database import Database
from services.order.records import PageRow
from services.order.tables import EVENTS, IS_FILL, IS_OPEN, LAST_EVENT, ORDERS

Query = sa.Select[Any]

_ORDERS: Final = sa.select(
    ORDERS.c.environment_id, ORDERS.c.transact_time, ORDERS.c.first_sequence, EVENTS.c.payload
).join_from(ORDERS, EVENTS, LAST_EVENT)
_EVENTS: Final = sa.select(EVENTS.c.environment_id, EVENTS.c.transact_time, EVENTS.c.sequence, EVENTS.c.payload)


class Wanted(NamedTuple):
    """What a list is to hold; what is empty or None fits all.

    Attributes:
        number: of an order of the environment, whose events are wanted.
        start, end: market time, ns: not before the one and before the other. A list of which one is given is in the
            order of time, any other in the order in which things happened.
        after: a sequence that all are to be after.
    """

    environment_id: str = ""
    portfolio_id: str = ""
    symbol: str = ""
    number: int | None = None
    start: int | None = None
    end: int | None = None
    after: int = 0

    @property
    def by_time(self) -> bool:
        """Whether it is in the order of time; the few events of one order are in both."""
        return self.number is None and not (self.start is None and self.end is None)


class Place(NamedTuple):
    """Where a page ended: the time, ns, and the sequence of its last element."""

    time: int
    sequence: int


class Listing:
    """Reads pages."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def orders(self, wanted: Wanted, *, open_only: bool, beyond: Place | None, limit: int) -> list[PageRow]:
        """Orders, newest first, by when they were taken."""
        sequence, time = ORDERS.c.first_sequence, ORDERS.c.transact_time
        query = _fitting(_ORDERS, ORDERS, wanted, sequence)
        if open_only:
            query = query.where(IS_OPEN)
        keys = [time, sequence] if wanted.by_time else [sequence]
        if beyond is not None:
            query = query.where(_key(keys) < _key(beyond[-len(keys) :]))
        return await self._rows(query.order_by(*(key.desc() for key in keys)).limit(limit))

    async def events(self, wanted: Wanted, *, fills_only: bool, beyond: Place | None, limit: int) -> list[PageRow]:
        """Events, oldest first."""
        sequence, time = EVENTS.c.sequence, EVENTS.c.transact_time
        query = _fitting(_EVENTS, EVENTS, wanted, sequence)
        if wanted.number is not None:
            query = query.where(EVENTS.c.number == wanted.number)
        if fills_only:
            query = query.where(IS_FILL)
        keys = [time, sequence] if wanted.by_time else [sequence]
        if beyond is not None:
            query = query.where(_key(keys) > _key(beyond[-len(keys) :]))
        return await self._rows(query.order_by(*keys).limit(limit))

    async def _rows(self, query: Query) -> list[PageRow]:
        return [PageRow(*row) for row in await self._database.fetch_all(query)]


def _fitting(query: Query, table: sa.Table, wanted: Wanted, sequence: sa.Column[int]) -> Query:
    for name in ("environment_id", "portfolio_id", "symbol"):
        if value := getattr(wanted, name):
            query = query.where(table.c[name] == value)
    # The events of one order are found by its number; a sum keeps planners from looking among all of that time instead.
    time = table.c.transact_time if wanted.number is None else table.c.transact_time + sa.literal_column("0")
    if wanted.start is not None:
        query = query.where(time >= wanted.start)
    if wanted.end is not None:
        query = query.where(time < wanted.end)
    return query.where(sequence > wanted.after) if wanted.after else query


def _key(values: Any) -> Any:
    """What a list is sorted by, for comparing: a row of values where they are several."""
    return values[0] if len(values) == 1 else sa.tuple_(*values)
