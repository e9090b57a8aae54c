"""What everybody may see of an environment: its tape up to the last stored position, and never beyond.

The tape itself is the log of its streams: any position can be read again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from services.chassis.errors import ApiError
from services.domain.tape import Kind, Tape
from services.domain.timeline import Timeline
from services.marketdata.environment import Plan


@dataclass(frozen=True, slots=True)
class Latest:
    """The latest price of a symbol; None for what the tape has not told. Prices are in today's units."""

    symbol: str
    tape_sequence: int
    time: int
    kind: Kind
    bid: float | None = None
    ask: float | None = None
    bid_size: float | None = None
    ask_size: float | None = None
    last: float | None = None


class Feed:
    """One environment in public."""

    def __init__(self, plan: Plan, head: int, timeline: Timeline | None, load: Callable[[], Awaitable[Tape]]) -> None:
        self.plan = plan
        self.head = head
        self.changed = asyncio.Event()
        self._timeline = timeline
        self._load = load

    @property
    def timeline(self) -> Timeline | None:
        """Its tape, where that is in memory."""
        return self._timeline

    async def loaded(self) -> Timeline:
        """Its tape; read from its file where it is not in memory."""
        return self._timeline or Timeline(await self._load())

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

    def add(self, plan: Plan, head: int, timeline: Timeline | None, load: Callable[[], Awaitable[Tape]]) -> Feed:
        """A new one; `load` reads its tape where it is not in memory."""
        made = Feed(plan, head, timeline, load)
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
    found: dict[str, float | None] = {}
    if (quote := rows.get(Kind.QUOTE)) is not None:
        bid, ask, bid_size, ask_size = tape.values[quote, :4].tolist()
        ratio = _split_since(timeline, symbol, quote, head)
        found = {"bid": bid / ratio, "ask": ask / ratio, "bid_size": bid_size, "ask_size": ask_size}
    traded = max(rows.get(Kind.TRADE, -1), rows.get(Kind.BAR, -1))
    if traded >= 0:
        column = 3 if tape.sources[tape.source[traded]].kind is Kind.BAR else 0
        found["last"] = float(tape.values[traded, column]) / _split_since(timeline, symbol, traded, head)
    return Latest(symbol, row + 1, int(tape.time[row]), kind, **found)


def _split_since(timeline: Timeline, symbol: str, row: int, head: int) -> float:
    ratio, split = 1.0, timeline.index.next_split(symbol, row)
    while split < head:
        numerator, denominator = timeline.tape.values[split, :2].tolist()
        ratio *= numerator / denominator
        split = timeline.index.next_split(symbol, split + 1)
    return ratio
