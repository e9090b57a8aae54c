"""What everybody may see of an environment: its tape up to the last stored position, and never beyond.

The tape itself is the log of a stream: any position can be read again. What all subscribers who asked the same are sent
is encoded once (`Broadcast`), and a subscriber is a position in that.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.tape import Kind, Source, Tape
from services.domain.timeline import Timeline
from services.marketdata.environment import Plan

# Bytes that a broadcast keeps for subscribers who lag; who lags more has its own encoding made.
KEPT_BYTES: Final = 16 << 20
# A message holds at most this much, unless one window alone is larger.
MESSAGE_BYTES: Final = 1 << 20

Rows = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Selection:
    """What a subscriber wants; empty is all of it."""

    symbols: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    intervals: frozenset[str] = frozenset()

    def wants(self, source: Source) -> bool:
        """Whether records of a source belong to it."""
        if source.kind not in {Kind.QUOTE, Kind.TRADE, Kind.BAR} or (self.kinds and source.kind not in self.kinds):
            return False
        if source.kind is Kind.BAR and self.intervals and source.interval not in self.intervals:
            return False
        return not self.symbols or source.symbol in self.symbols


class Encoding(NamedTuple):
    """How records become bytes: `encode(feed, tape, rows)`, called for at most `records` positions at a time."""

    name: str
    encode: Callable[[Feed, Tape, Rows], bytes]
    records: int


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
        self.broadcasts: dict[object, Broadcast] = {}
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
        """It has ended: its tape is loaded again when somebody asks, as long as nobody streams it."""
        if not self.broadcasts:
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

    async def close_when(self, draining: asyncio.Event) -> None:
        """Wakes every subscriber once the server drains, so that it says goodbye."""
        await draining.wait()
        for feed in self._all.values():
            for broadcast in feed.broadcasts.values():
                broadcast.wake()


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


class Chunk(NamedTuple):
    """The encoding of the records of `(after, through]` that were asked for; empty where there are none."""

    after: int
    through: int
    data: bytes


class Broadcast:
    """What everybody with one selection, encoding and delay is sent: windows, each encoded once."""

    def __init__(self, feed: Feed, timeline: Timeline, selection: Selection, encoding: Encoding, delay: float) -> None:
        self.feed = feed
        self.head = feed.head
        self.changed = asyncio.Event()
        self.subscribers = 0
        self.task: asyncio.Task[None] | None = None
        self._timeline = timeline
        self._encoding = encoding
        self._delay = delay
        self._wanted = np.array([selection.wants(source) for source in timeline.tape.sources], np.bool_)
        self._chunks: list[Chunk] = []
        self._afters: list[int] = []
        self._bytes = 0

    async def run(self) -> None:
        """Closes window after window, until cancelled."""
        while True:
            changed = self.feed.changed
            if self.feed.head == self.head:
                await changed.wait()
            if self._delay:
                await asyncio.sleep(self._delay)
            while self.head < self.feed.head:
                self._append(self.encode(self.head, self.feed.head))
                # A long stretch is encoded in slices, with a breath between them.
                await asyncio.sleep(0)

    def encode(self, after: int, limit: int) -> Chunk:
        """The encoding of what follows ``after``, up to ``limit`` or a slice."""
        through = min(limit, after + self._encoding.records)
        tape = self._timeline.tape
        rows = np.flatnonzero(self._wanted[tape.source[after:through]]) + after
        return Chunk(after, through, self._encoding.encode(self.feed, tape, rows) if len(rows) else b"")

    def next(self, position: int) -> Chunk:
        """What follows ``position``, which is before `head`: shared windows, joined, or a slice made for this one."""
        place = bisect_left(self._afters, position)
        if place == len(self._afters) or self._afters[place] != position:
            limit = self._afters[place] if place < len(self._afters) else self.head
            return self.encode(position, limit)
        found, size = [self._chunks[place]], len(self._chunks[place].data)
        for chunk in self._chunks[place + 1 :]:
            size += len(chunk.data)
            if size > MESSAGE_BYTES:
                break
            found.append(chunk)
        data = found[0].data if len(found) == 1 else b"".join([chunk.data for chunk in found])
        return Chunk(position, found[-1].through, data)

    def _append(self, chunk: Chunk) -> None:
        self._chunks.append(chunk)
        self._afters.append(chunk.after)
        self._bytes += len(chunk.data) + 64
        if self._bytes > 2 * KEPT_BYTES:
            self._forget()
        self.head = chunk.through
        self.wake()

    def wake(self) -> None:
        """Lets every subscriber look."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def _forget(self) -> None:
        drop = 0
        while self._bytes > KEPT_BYTES:
            self._bytes -= len(self._chunks[drop].data) + 64
            drop += 1
        del self._chunks[:drop], self._afters[:drop]


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Where a stream begins, or begins anew after a reset."""

    position: int
    timeline: Timeline
    previous: int = 0


@dataclass(frozen=True, slots=True)
class Records:
    """Encoded records of `(previous, position]`."""

    previous: int
    position: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing asked for in `(previous, position]`."""

    previous: int
    position: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The cursor broke; a snapshot at `position` follows."""

    previous: int
    position: int
    reason: Literal["TOKEN_EXPIRED", "SLOW_CONSUMER"]


@dataclass(frozen=True, slots=True)
class Closed:
    """The last item; then the error is raised."""

    previous: int
    error: ApiError


Item = Snapshot | Records | Heartbeat | Reset | Closed


@dataclass(frozen=True, slots=True)
class Terms:
    """How every subscription is served.

    Attributes:
        heartbeat: longest silence, seconds.
        slow_records: how far one may fall behind.
        draining: the server's.
    """

    heartbeat: float
    slow_records: int
    draining: asyncio.Event


@dataclass(slots=True)
class Subscription:
    """A cursor on a feed.

    Attributes:
        delay: records of so many seconds travel together.
        after: where to resume; None to begin with a snapshot.
        expired: the token given was of another life: reset first.
    """

    feed: Feed
    selection: Selection
    encoding: Encoding
    delay: float
    terms: Terms
    after: int | None = None
    expired: bool = False
    _sent: int = field(default=0, init=False)

    async def items(self) -> AsyncIterator[Item]:
        """What to send; ends with `Closed` when the server drains, and otherwise never."""
        timeline = await self.feed.loaded()
        broadcast = self._attach(timeline)
        try:
            async for item in self._follow(broadcast, timeline):
                yield item
        finally:
            self._detach(broadcast)

    async def _follow(self, broadcast: Broadcast, timeline: Timeline) -> AsyncIterator[Item]:
        feed, terms = self.feed, self.terms
        position = self._sent = self.after or 0
        if self.expired or position > feed.head:
            yield self._reset("TOKEN_EXPIRED")
        if self.after is None or self.expired or position > feed.head:
            previous = feed.head if self.expired or self.after is not None else 0
            position = self._sent = feed.head
            yield Snapshot(position, timeline, previous)
        # Who resumes is behind, but not slow: what was missed comes first, however much it is.
        catching_up, spoke = feed.head, monotonic()
        speak = self.after is not None
        while not terms.draining.is_set():
            changed = broadcast.changed
            if position >= catching_up and broadcast.head - position > terms.slow_records:
                yield self._reset("SLOW_CONSUMER")
                position = self._sent = feed.head
                yield Snapshot(position, timeline, position)
                spoke = monotonic()
            elif position < broadcast.head:
                chunk = broadcast.next(position)
                position = chunk.through
                if chunk.data:
                    yield Records(self._sent, position, chunk.data)
                    self._sent, spoke, speak = position, monotonic(), False
                else:
                    await asyncio.sleep(0)
            elif speak or (due := spoke + terms.heartbeat - monotonic()) <= 0:
                # The first one comes at once: a quiet stream's headers travel with its first message.
                yield Heartbeat(self._sent, position)
                self._sent, spoke, speak = position, monotonic(), False
            else:
                await _wait(changed, due)
        yield Closed(self._sent, ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is restarting; resume."))

    def _reset(self, reason: Literal["TOKEN_EXPIRED", "SLOW_CONSUMER"]) -> Reset:
        return Reset(self._sent, self.feed.head, reason)

    def _attach(self, timeline: Timeline) -> Broadcast:
        key = (self.selection, self.encoding.name, self.delay)
        found = self.feed.broadcasts.get(key)
        if found is None:
            found = Broadcast(self.feed, timeline, self.selection, self.encoding, self.delay)
            self.feed.broadcasts[key] = found
            found.task = detach(found.run(), name=f"broadcast:{self.feed.plan.environment_id}")
        found.subscribers += 1
        return found

    def _detach(self, broadcast: Broadcast) -> None:
        broadcast.subscribers -= 1
        if not broadcast.subscribers:
            broadcasts = self.feed.broadcasts
            for key in [key for key, each in broadcasts.items() if each is broadcast]:
                del broadcasts[key]
            if broadcast.task is not None:
                broadcast.task.cancel()


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
