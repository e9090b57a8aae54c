"""The log of order events: encoded once, they are stored, streamed and listed as they are."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import NamedTuple

from services.chassis.streams.event_log import EventLog
from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import length_delimited
from services.order.store import Store

REPEATED_FIELD = 1
"""Both `OrderEvents.events` and `OrderSnapshot.orders`: what is stored goes into streams as it is."""


class Seen(NamedTuple):
    """What filters of streams look at."""

    portfolio_id: str
    exec_type: int
    symbol: str = ""  # Empty where the event was read back from the store.


OrderLog = EventLog[Seen]


def reader(store: Store) -> Callable[[str, int, int], Awaitable[list[Entry[Seen]]]]:
    """Reads what fell out of the log's memory: stored events as streams want them."""

    async def read(environment_id: str, after: int, limit: int) -> list[Entry[Seen]]:
        rows = await store.events_after(environment_id, after, limit)
        kept = ((row, Seen(row.portfolio_id, row.exec_type)) for row in rows)
        return [Entry(row.sequence, seen, length_delimited(REPEATED_FIELD, row.payload)) for row, seen in kept]

    return read
