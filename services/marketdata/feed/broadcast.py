"""What all who asked the same of a stream are sent, encoded once."""

from __future__ import annotations

import asyncio
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.tape import Kind, Source, Tape
from services.domain.timeline import Timeline
from services.marketdata.feed.feed import Feed

# Bytes that a broadcast keeps for subscribers who lag; who lags more has its own encoding made.
KEPT_BYTES: Final = 16 << 20
# And all of them together, however many selections there are.
ALL_KEPT_BYTES: Final = 64 << 20
# What a window takes beside its bytes.
CHUNK_BYTES: Final = 200
# A message holds at most this much, unless one window alone is larger.
MESSAGE_BYTES: Final = 1 << 20

Rows = NDArray[np.int64]
PUBLIC: Final = frozenset({Kind.QUOTE, Kind.TRADE, Kind.BAR, Kind.AUCTION, Kind.HALT})
"""The kinds of records that public streams bring."""


@dataclass(frozen=True, slots=True)
class Selection:
    """What a subscriber wants; empty is all of it."""

    symbols: frozenset[str] = frozenset()
    kinds: frozenset[Kind] = frozenset()
    intervals: frozenset[str] = frozenset()

    def wants(self, source: Source) -> bool:
        """Whether records of a source belong to it."""
        if source.kind not in PUBLIC or (self.kinds and source.kind not in self.kinds):
            return False
        if source.kind is Kind.BAR and self.intervals and source.interval not in self.intervals:
            return False
        return not self.symbols or source.symbol in self.symbols


class Encoding(NamedTuple):
    """How records become bytes: `encode(feed, tape, rows, depth)`, called for at most `records` positions at a time.

    Attributes:
        depth: price levels that a quote brings; 1 for the best alone.
    """

    name: str
    encode: Callable[[Feed, Tape, Rows, int], bytes]
    records: int
    depth: int = 1

    def deep(self, depth: int) -> Encoding:
        """The same with so many price levels, of fewer positions at a time."""
        return self._replace(depth=depth, records=max(1, self.records // depth))


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


@dataclass(eq=False, slots=True)
class Cursor:
    """How far a subscriber has come."""

    position: int


@dataclass(slots=True)
class Budget:
    """Bytes that all broadcasts together keep for those who lag."""

    limit: int = ALL_KEPT_BYTES
    used: int = 0

    @property
    def spent(self) -> bool:
        """Whether nothing more may be kept."""
        return self.used > self.limit


class Broadcast:
    """What everybody with one selection, encoding and delay is sent: windows, each encoded once."""

    task: asyncio.Task[None]

    def __init__(self, feed: Feed, timeline: Timeline, terms: Terms, budget: Budget) -> None:
        self.feed = feed
        self.head = feed.head
        self.changed = asyncio.Event()
        self.cursors: set[Cursor] = set()
        self._budget = budget
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
        data = self._encoding.encode(self.feed, tape, rows, self._encoding.depth) if len(rows) else b""
        return Chunk(after, through, data)

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
        self._forget()
        self._chunks.append(chunk)
        self._afters.append(chunk.after)
        self._count(_weight(chunk))
        self.head = chunk.through
        self.wake()

    def wake(self) -> None:
        """Lets every subscriber look."""
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()

    def close(self) -> None:
        """Ends it: nobody is left."""
        self.task.cancel()
        self._count(-self._bytes)

    def _forget(self) -> None:
        """Lets go of what everybody has, and of more where too much is kept: who needs it has it made again."""
        slowest = min((each.position for each in self.cursors), default=self.head)
        drop = 0
        for chunk in self._chunks:
            if chunk.through > slowest and self._bytes <= KEPT_BYTES and not self._budget.spent:
                break
            self._count(-_weight(chunk))
            drop += 1
        del self._chunks[:drop], self._afters[:drop]

    def _count(self, size: int) -> None:
        self._bytes += size
        self._budget.used += size


def _weight(chunk: Chunk) -> int:
    return len(chunk.data) + CHUNK_BYTES
