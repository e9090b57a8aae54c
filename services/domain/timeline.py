"""Where things are on a tape: what a strategy waits for, the last price of a symbol, splits and session closes.

The coordinator of a replay, its participants and the backtest ask the same object, so that they agree on where the next
cycle ends (rule 32a) and on what a position is worth.
"""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from services.domain.market import Record
from services.domain.money import decimal_of
from services.domain.tape import Kind, Source, Tape
from services.domain.tape_index import TapeIndex

PRICED = frozenset({Kind.QUOTE, Kind.TRADE, Kind.BAR})
"""Kinds of records that leave a price behind."""
_CLOCK = Kind.CLOCK


@dataclass(frozen=True, slots=True)
class Wake:
    """When a strategy wants to run next: at the first of what is named; with nothing named, only for its order events.

    Attributes:
        records: anything that is told of these symbols but bars: quotes, trades, auctions, halts.
        bars: (symbol, interval) pairs; an empty interval means a bar of any.
        time: market time, ns: run at (last sequence before it, time), which takes no number; now, if that has passed.
        sequence: a tape position; 0 for none. For a strategy that knows it cannot act before.
    """

    records: frozenset[str] = frozenset()
    bars: frozenset[tuple[str, str]] = frozenset()
    time: int | None = None
    sequence: int = 0

    def wants(self, source: Source) -> bool:
        """Whether a record of ``source`` ends the wait."""
        if source.kind is Kind.BAR:
            return (source.symbol, source.interval) in self.bars or (source.symbol, "") in self.bars
        return source.kind is not _CLOCK and source.symbol in self.records


class Timeline:
    """Positions on one whole tape. Sequences start at 1; ``end`` is the last one."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.index = TapeIndex(tape)
        self.end = len(tape)
        self._waits: dict[Wake, NDArray[np.int64]] = {}
        self._prices: dict[str, tuple[NDArray[np.int64], NDArray[np.float64]]] = {}
        self._marks: dict[str, tuple[int, Decimal | None]] = {}
        self._split_symbols = {source.symbol for source in tape.sources if source.kind is Kind.SPLIT}
        self._splits: list[int] = self._sequences(source.kind is Kind.SPLIT for source in tape.sources).tolist()
        clocks = self._sequences(source.kind is Kind.CLOCK for source in tape.sources)
        closes: list[int] = clocks[tape.values[clocks - 1, 0] == 0.0].tolist()
        self._edges = sorted(
            [(sequence, False) for sequence in self._splits] + [(sequence, True) for sequence in closes]
        )

    def time(self, sequence: int) -> int:
        """The market time of a position, ns; 0 before the first record."""
        return self.tape.time.item(sequence - 1) if sequence else 0

    def before(self, time: int) -> int:
        """The last sequence whose time is before ``time``: where a timer of that time sits."""
        return int(self.tape.time.searchsorted(time, side="left"))

    def next_wake(self, wake: Wake, after: int) -> int:
        """The first position after ``after`` at which ``wake`` is due; ``end + 1`` if none.

        A timer whose place is ``after`` itself is due there, without a further record.
        """
        found = self.end + 1
        if wake.records or wake.bars:
            sequences = self._wait(Wake(wake.records, wake.bars))
            row = int(sequences.searchsorted(after, side="right"))
            found = int(sequences[row]) if row < len(sequences) else found
        if wake.sequence > after:
            found = min(found, wake.sequence)
        if wake.time is not None:
            found = min(found, max(after, self.before(wake.time)))
        return found

    def next_split(self, after: int, symbol: str = "") -> int:
        """The first split after ``after``, of ``symbol`` where one is named; ``end + 1`` if none."""
        if symbol:
            return (
                min(self.index.next_split(symbol, after), self.end) + 1
                if symbol in self._split_symbols
                else self.end + 1
            )
        if not self._splits or self._splits[-1] <= after:
            return self.end + 1
        return self._splits[bisect_right(self._splits, after)]

    def edges(self, after: int, through: int) -> list[tuple[int, bool]]:
        """What changes or values portfolios without an order in ``(after, through]``: splits and session closes.

        Each as (sequence, whether it is a close).
        """
        first = bisect_right(self._edges, (after, True))
        if first == len(self._edges) or self._edges[first][0] > through:
            return []
        return self._edges[first : bisect_right(self._edges, (through, True))]

    def bars(self, symbol: str, interval: str = "") -> NDArray[np.int64]:
        """The sequences of one symbol's bars; of any interval where none is named."""
        return self._wait(Wake(bars=frozenset({(symbol, interval)})))

    def mark(self, symbol: str, at: int) -> Decimal | None:
        """What a unit of ``symbol`` is worth at ``at``: its last price (a quote: the middle), in today's units."""
        known = self._marks.get(symbol)
        if known is None or known[0] != at:
            known = self._marks[symbol] = (at, self._mark(symbol, at))
        return known[1]

    def record(self, symbols: frozenset[str], sequence: int) -> Record | None:
        """The record at ``sequence`` where it is one of ``symbols``."""
        tape, row = self.tape, sequence - 1
        source = tape.sources[tape.source.item(row)]
        if source.symbol not in symbols or source.kind is _CLOCK:
            return None
        return tape.record(sequence)

    def _mark(self, symbol: str, at: int) -> Decimal | None:
        if symbol not in self._prices:
            self._prices[symbol] = self._prices_of(symbol)
        sequences, prices = self._prices[symbol]
        # On a tape of one source the row is known without a search.
        if 0 < at <= len(sequences) and sequences.item(at - 1) == at:
            row = at - 1
        else:
            row = int(sequences.searchsorted(at, side="right")) - 1
        if row < 0:
            return None
        price, since = prices.item(row), sequences.item(row)
        while self._splits and (since := self.next_split(since, symbol)) <= at:
            numerator, denominator = self.tape.values[since - 1, :2].tolist()
            price = price * denominator / numerator
        return decimal_of(price)

    def _prices_of(self, symbol: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """The sequences of a symbol's quotes, trades and bars, and the price that each left behind."""
        sources = self.tape.sources
        sequences = self._sequences(s.symbol == symbol and s.kind in PRICED for s in sources)
        column = np.array([3 if source.kind is Kind.BAR else 0 for source in sources])
        second = np.array([1 if source.kind is Kind.QUOTE else column[i] for i, source in enumerate(sources)])
        rows, source = sequences - 1, self.tape.source[sequences - 1]
        values = self.tape.values
        return sequences, (values[rows, column[source]] + values[rows, second[source]]) / 2

    def _wait(self, wake: Wake) -> NDArray[np.int64]:
        if wake not in self._waits:
            self._waits[wake] = self._sequences(wake.wants(source) for source in self.tape.sources)
        return self._waits[wake]

    def _sequences(self, wanted: Iterable[bool]) -> NDArray[np.int64]:
        chosen = np.fromiter(wanted, np.bool_, len(self.tape.sources))
        return np.flatnonzero(chosen[self.tape.source]).astype(np.int64) + 1


def next_through(timeline: Timeline, position: int, wakes: Iterable[Wake]) -> int:
    """How far a grant may go from ``position``: to the first wake, and never past a split (rule 32a).

    A split ends every cycle because what a strategy holds and waits for changes with it. A timer may give ``position``
    itself: a cycle without a record.
    """
    through = min(timeline.next_split(position), timeline.end)
    for wake in wakes:
        through = min(through, timeline.next_wake(wake, position))
    return through
