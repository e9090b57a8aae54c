"""One tape: records of several sources merged once into a gapless sequence (rule 31).

A tape is columns, so that it travels and is searched as arrays; ``record`` makes the value of one row when somebody
needs it. Row ``i`` has tape sequence ``i + 1``; sequence 0 is the time before the first record.
"""

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from services.domain.market import Auction, Bar, Clock, Halt, PriceLevel, Quote, Record, Split, Trade
from services.domain.values import new

VALUES = 5
"""Value columns a record has; kinds that need fewer leave the rest 0."""
LEVEL_VALUES = 4
"""Value columns a price level has."""


class Kind(IntEnum):
    """What a source's records are. The number is part of the tape's digest: never renumber."""

    CLOCK = 1
    SPLIT = 2
    QUOTE = 3
    TRADE = 4
    BAR = 5
    AUCTION = 6
    HALT = 7


@dataclass(frozen=True, slots=True)
class Source:
    """Where records come from: one kind of one symbol; of a CLOCK the calendar. Only bars have an ``interval``."""

    kind: Kind
    symbol: str
    interval: str = ""


@dataclass(frozen=True, slots=True, eq=False)
class Levels:
    """Price levels behind the best bids and asks of quotes: by record, and of each record the best first.

    Attributes:
        rows: of each level its record's row, int64, never decreasing.
        values: float64 ``[n, 4]``: bid bid_size ask ask_size; 0 0 where a side has no more.
    """

    rows: NDArray[np.int64]
    values: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.rows)

    def of(self, row: int) -> list[list[float]]:
        """The levels of one record."""
        first, stop = self.rows.searchsorted((row, row + 1)).tolist()
        levels: list[list[float]] = self.values[first:stop].tolist()
        return levels

    def between(self, first: int, stop: int) -> "Levels":
        """The levels of the records from row ``first`` up to before ``stop``, their rows counted from ``first``."""
        part = slice(*self.rows.searchsorted((first, stop)).tolist())
        return Levels(self.rows[part] - first, self.values[part])

    def among(self, kept: NDArray[np.bool_]) -> "Levels":
        """The levels of the records that are ``kept``, which follow each other then."""
        own = kept[self.rows]
        return Levels((np.cumsum(kept) - 1)[self.rows[own]], self.values[own])


NO_LEVELS = Levels(np.empty(0, np.int64), np.empty((0, LEVEL_VALUES)))


def joined(parts: Iterable[tuple[int, Levels]]) -> Levels:
    """The levels of stretches of records that follow each other, each with how many records it has."""
    rows, values, begin = [NO_LEVELS.rows], [NO_LEVELS.values], 0
    for length, levels in parts:
        rows.append(levels.rows + begin)
        values.append(levels.values)
        begin += length
    return Levels(np.concatenate(rows), np.concatenate(values))


@dataclass(frozen=True, slots=True)
class Series:
    """One source's records in their own order.

    Attributes:
        time: when each is known (a bar: its end), int64 ns, never decreasing.
        start: when it begins (a bar: its start; else equal to time), int64 ns.
        values: float64 ``[n, 5]``; BAR open high low close volume, QUOTE bid ask bid_size ask_size 0,
            TRADE price size 0 0 0, SPLIT numerator denominator 0 0 0, CLOCK 1 (open) or 0 (close) 0 0 0 0,
            AUCTION price size 1 (opening) or 0 (closing) 0 0, HALT 1 (halted) or 0 (resumed) 0 0 0 0.
        levels: of quotes what lies behind the best bid and ask, where it is known.
    """

    source: Source
    time: NDArray[np.int64]
    start: NDArray[np.int64]
    values: NDArray[np.float64]
    levels: Levels = NO_LEVELS


@dataclass(frozen=True, slots=True, eq=False)
class Tape:
    """Merged columns; see ``Series`` for their meaning. ``source`` is an int32 index into ``sources``."""

    sources: tuple[Source, ...]
    source: NDArray[np.int32]
    time: NDArray[np.int64]
    start: NDArray[np.int64]
    values: NDArray[np.float64]
    levels: Levels = NO_LEVELS

    def __len__(self) -> int:
        return len(self.time)

    def record(self, sequence: int) -> Record:
        """The value at ``sequence`` (1 to ``len``)."""
        row = sequence - 1
        source, times = self.sources[self.source.item(row)], (self.time.item(row), self.start.item(row))
        return make_record(source, *times, self.values[row].tolist(), self.behind(row))

    def behind(self, row: int) -> list[list[float]]:
        """The price levels behind the best ones of the quote at ``row``; none for anything else."""
        return self.levels.of(row) if len(self.levels.rows) else []

    def digest(self) -> str:
        """A sha256 in hex over every source and every column: equal digests are equal tapes."""
        total = hashlib.sha256()
        for source in self.sources:
            total.update(f"{source.kind.value}|{source.symbol}|{source.interval}\n".encode())
        for column in (self.source, self.time, self.start, self.values):
            total.update(_bytes(column))
        if len(self.levels):
            total.update(_bytes(self.levels.rows) + _bytes(self.levels.values))
        return total.hexdigest()


_BAR = Kind.BAR


def make_record(
    source: Source, time: int, start: int, values: Sequence[float], levels: Sequence[Sequence[float]] = ()
) -> Record:
    """The value of one row; of a quote with the ``levels`` behind its best ones."""
    if source.kind is _BAR:
        first, high, low, close, volume = values
        return new(Bar, (source.symbol, source.interval, start, time, first, high, low, close, volume))
    match source.kind:
        case Kind.QUOTE:
            bids, asks = (side_of(values, levels, asks) for asks in (False, True)) if levels else ((), ())
            return Quote(source.symbol, time, values[0], values[1], values[2], values[3], bids, asks)
        case Kind.TRADE:
            return Trade(source.symbol, time, *values[:2])
        case Kind.SPLIT:
            return Split(source.symbol, time, *values[:2])
        case Kind.AUCTION:
            return Auction(source.symbol, time, values[0], values[1], opening=values[2] == 1.0)
        case Kind.HALT:
            return Halt(source.symbol, time, values[0] == 1.0)
    return Clock(source.symbol, time, values[0] == 1.0)


def side_of(values: Sequence[float], levels: Sequence[Sequence[float]], asks: bool) -> tuple[PriceLevel, ...]:
    """All that is known of a quote's bids, or of its asks, the best first."""
    best = PriceLevel(values[1], values[3]) if asks else PriceLevel(values[0], values[2])
    first = 2 if asks else 0
    behind = (PriceLevel(*level[first : first + 2]) for level in levels)
    return tuple(level for level in (best, *behind) if level.price > 0)


def merge(series: Iterable[Series]) -> Tape:
    """One tape of all series, ordered by (time, place at that time, source rank, row).

    The place at one time: clock opens, splits and halts, data, clock closes. The source rank is the order given.
    """
    parts = list(series)
    sources = tuple(part.source for part in parts)
    numbers = [np.full(len(part.time), i, np.int32) for i, part in enumerate(parts)]
    index = np.concatenate(numbers or [np.empty(0, np.int32)])
    time = np.concatenate([part.time for part in parts] or [np.empty(0, np.int64)]).astype(np.int64)
    start = np.concatenate([part.start for part in parts] or [np.empty(0, np.int64)]).astype(np.int64)
    values = np.concatenate([part.values for part in parts] or [np.empty((0, VALUES))]).astype(np.float64)
    place = np.concatenate([_places(part) for part in parts] or [np.empty(0, np.int8)])
    order = np.lexsort((np.arange(len(time)), index, place, time))
    return Tape(sources, index[order], time[order], start[order], values[order], _merged_levels(parts, order))


def _merged_levels(parts: Sequence[Series], order: NDArray[np.intp]) -> Levels:
    """The levels of all parts, each with the row that its record has come to."""
    if not any(len(part.levels) for part in parts):
        return NO_LEVELS
    rows = np.empty(len(order), np.int64)
    rows[order] = np.arange(len(order))
    levels = joined((len(part.time), part.levels) for part in parts)
    placed = np.argsort(rows[levels.rows], kind="stable")
    return Levels(rows[levels.rows][placed], levels.values[placed])


def _bytes(column: NDArray[Any]) -> bytes:
    return np.ascontiguousarray(column).astype(column.dtype.newbyteorder("<"), copy=False).tobytes()


def _places(part: Series) -> NDArray[np.int8]:
    match part.source.kind:
        case Kind.CLOCK:
            return np.where(part.values[:, 0] == 1.0, 0, 3).astype(np.int8)
        case Kind.SPLIT | Kind.HALT:
            return np.full(len(part.time), 1, np.int8)
        case _:
            return np.full(len(part.time), 2, np.int8)
