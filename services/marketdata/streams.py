"""Public streams: a subscriber is a position on a tape; what all who asked the same are sent is encoded once."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import AsyncIterator, Callable, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Final, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.tape import Kind, Source, Tape
from services.domain.timeline import Timeline
from services.marketdata.feed import Feed

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
class Terms:
    """What a subscriber asks for; records of `delay` seconds travel together."""

    selection: Selection
    encoding: Encoding
    delay: float


class Chunk(NamedTuple):
    """The encoding of the records of `(after, through]` that were asked for; empty where there are none."""

    after: int
    through: int
    data: bytes


class Broadcast:
    """What everybody with one selection, encoding and delay is sent: windows, each encoded once."""

    task: asyncio.Task[None]

    def __init__(self, feed: Feed, timeline: Timeline, terms: Terms) -> None:
        self.feed = feed
        self.head = feed.head
        self.changed = asyncio.Event()
        self.subscribers = 0
        self._timeline = timeline
        self._encoding = terms.encoding
        self._delay = terms.delay
        self._wanted = np.array([terms.selection.wants(source) for source in timeline.tape.sources], np.bool_)
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
    previous: int


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


class Streams:
    """Every public stream.

    Args:
        heartbeat: longest silence, seconds.
        slow_records: how far a subscriber may fall behind.
        draining: the server's.
    """

    def __init__(self, heartbeat: float, slow_records: int, draining: asyncio.Event) -> None:
        self.heartbeat = heartbeat
        self.slow_records = slow_records
        self.draining = draining
        self._broadcasts: dict[Hashable, Broadcast] = {}

    async def close_when_draining(self) -> None:
        """Wakes every subscriber once the server drains, so that it says goodbye."""
        await self.draining.wait()
        for broadcast in self._broadcasts.values():
            broadcast.wake()

    @contextmanager
    def joined(self, feed: Feed, timeline: Timeline, terms: Terms) -> Iterator[Broadcast]:
        """The broadcast that everybody with these terms shares, for as long as one of them is there."""
        key = (feed.plan.environment_id, terms)
        found = self._broadcasts.get(key)
        if found is None:
            found = self._broadcasts[key] = Broadcast(feed, timeline, terms)
            found.task = detach(found.run(), name=f"broadcast:{feed.plan.environment_id}")
        found.subscribers += 1
        try:
            yield found
        finally:
            found.subscribers -= 1
            if not found.subscribers:
                del self._broadcasts[key]
                found.task.cancel()


@dataclass(slots=True)
class Subscription:
    """A cursor on a feed.

    Attributes:
        after: where to resume; None to begin with a snapshot.
        expired: the token given was of another life: reset first.
    """

    streams: Streams
    feed: Feed
    terms: Terms
    after: int | None = None
    expired: bool = False
    _sent: int = field(default=0, init=False)

    async def items(self) -> AsyncIterator[Item]:
        """What to send; ends with `Closed` when the server drains, and otherwise never."""
        timeline = await self.feed.loaded()
        with self.streams.joined(self.feed, timeline, self.terms) as broadcast:
            async for item in self._follow(broadcast, timeline):
                yield item

    async def _follow(self, broadcast: Broadcast, timeline: Timeline) -> AsyncIterator[Item]:
        feed, streams = self.feed, self.streams
        position = self._sent = self.after or 0
        expired = self.expired or position > feed.head
        if expired:
            yield self._reset("TOKEN_EXPIRED")
        if expired or self.after is None:
            position = feed.head
            yield Snapshot(position, timeline, self._sent)
            self._sent = position
        # Who resumes is behind, but not slow: what was missed comes first, however much it is.
        catching_up, spoke = feed.head, monotonic()
        speak = self.after is not None
        while not streams.draining.is_set():
            changed = broadcast.changed
            if position >= catching_up and broadcast.head - position > streams.slow_records:
                yield self._reset("SLOW_CONSUMER")
                position = feed.head
                yield Snapshot(position, timeline, self._sent)
                self._sent, spoke = position, monotonic()
            elif position < broadcast.head:
                chunk = broadcast.next(position)
                position = chunk.through
                if chunk.data:
                    yield Records(self._sent, position, chunk.data)
                    self._sent, spoke, speak = position, monotonic(), False
                else:
                    await asyncio.sleep(0)
            elif speak or (due := spoke + streams.heartbeat - monotonic()) <= 0:
                # The first one comes at once: a quiet stream's headers travel with its first message.
                yield Heartbeat(self._sent, position)
                self._sent, spoke, speak = position, monotonic(), False
            else:
                await _wait(changed, due)
                if broadcast.task.done():
                    broadcast.task.result()
        yield Closed(self._sent, ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is restarting; resume."))

    def _reset(self, reason: Literal["TOKEN_EXPIRED", "SLOW_CONSUMER"]) -> Reset:
        previous, self._sent = self._sent, self.feed.head
        return Reset(previous, self._sent, reason)


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
