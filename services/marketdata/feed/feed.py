"""What everybody may see of an environment: its tape up to the last stored position, and never beyond.

The tape itself is the log of its streams: any position can be read again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final
from weakref import ref

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.market import PriceLevel
from services.domain.tape import Kind, Tape
from services.domain.timeline import Timeline
from services.marketdata.environment import Plan

# Tapes of ended environments that stay in memory, as many as `tapes` keeps of them: who pages through bars comes often.
KEPT: Final = 4


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest price of a symbol; None for what the tape has not told. Prices and sizes are in today's units.

    Attributes:
        bids, asks: price levels, as a quote has them.
    """

    symbol: str
    tape_sequence: int
    time: int
    kind: Kind
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float | None = None
    bids: tuple[PriceLevel, ...] = ()
    asks: tuple[PriceLevel, ...] = ()


class Feed:
    """One environment in public.

    Args:
        timeline: its tape; None where that is not in memory.
        load: reads its tape.
        kept: what the last loaded tapes are held by.
    """

    def __init__(
        self,
        plan: Plan,
        head: int,
        timeline: Timeline | None,
        load: Callable[[], Awaitable[Tape]],
        kept: deque[Timeline] | None = None,
    ) -> None:
        self.plan = plan
        self.head = head
        self.changed = asyncio.Event()
        self._timeline = timeline
        self._load = load
        self._kept: deque[Timeline] = deque(maxlen=0) if kept is None else kept
        self._known = None if timeline is None else ref(timeline)
        self._loading: asyncio.Task[Timeline] | None = None

    @property
    def timeline(self) -> Timeline | None:
        """Its tape, where that is in memory."""
        return self._timeline

    async def loaded(self) -> Timeline:
        """Its tape; read from its file where nobody has it in memory. All who have it share it.

        Raises:
            ApiError: UNAVAILABLE `ENVIRONMENT_BLOCKED` where the tape is lost.
        """
        known = self._known() if self._known is not None else None
        if known is not None:
            return known
        if self._loading is None:
            self._loading = detach(self._loaded(), name=f"tape:{self.plan.environment_id}")
        return await asyncio.shield(self._loading)

    async def _loaded(self) -> Timeline:
        try:
            made = Timeline(await self._load())
            self._known = ref(made)
            self._kept.append(made)
            return made
        finally:
            self._loading = None

    def release(self) -> None:
        """It has ended: its tape is loaded again when somebody asks."""
        self._timeline = None

    def publish(self, head: int) -> None:
        """Shows the tape up to a stored position."""
        if head != self.head:
            self.head = head
            changed, self.changed = self.changed, asyncio.Event()
            changed.set()

    def latest(self, timeline: Timeline, symbol: str) -> Latest | None:
        """The latest price of a symbol; None before its first record."""
        return latest(timeline, symbol, self.head)


class Feeds:
    """The feeds of all environments."""

    def __init__(self) -> None:
        self._all: dict[str, Feed] = {}
        self._kept: deque[Timeline] = deque(maxlen=KEPT)

    def add(self, plan: Plan, head: int, timeline: Timeline | None, load: Callable[[], Awaitable[Tape]]) -> Feed:
        """A new one; `load` reads its tape where it is not in memory."""
        made = Feed(plan, head, timeline, load, self._kept)
        self._all[plan.environment_id] = made
        return made

    def get(self, environment_id: str) -> Feed:
        """The feed of an environment.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`.
        """
        found = self._all.get(environment_id)
        if found is None:
            raise ApiError.not_found("environment", environment_id, "ENVIRONMENT_NOT_FOUND")
        return found

    @property
    def all(self) -> Sequence[Feed]:
        """Every one."""
        return list(self._all.values())


def latest(timeline: Timeline, symbol: str, head: int) -> Latest | None:
    """The latest price of ``symbol`` at the position ``head``; a split since the record it was made from is applied."""
    tape, index = timeline.tape, timeline.index
    rows: dict[Kind, int] = {}
    for source in index.data_sources(symbol):
        own = index.rows(source)
        place = int(own.searchsorted(head)) - 1
        if place >= 0:
            kind = tape.sources[source].kind
            rows[kind] = max(rows.get(kind, -1), int(own[place]))
    if not rows:
        return None
    kind, row = max(rows.items(), key=lambda each: each[1])
    found: dict[str, Any] = {}
    if (quote := index.last_quote(symbol, head)) is not None:
        found = {name: getattr(quote, name) for name in ("bid", "ask", "bid_size", "ask_size", "bids", "asks")}
    traded = max(rows.get(Kind.TRADE, -1), rows.get(Kind.BAR, -1))
    if traded >= 0:
        column = 3 if tape.sources[tape.source[traded]].kind is Kind.BAR else 0
        found["last"] = index.restated(symbol, float(tape.values[traded, column]), traded, head)
    return Latest(symbol, row + 1, int(tape.time[row]), kind, **found)
