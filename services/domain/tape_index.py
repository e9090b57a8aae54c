"""Where things are on a tape: a symbol's rows, a calendar's edges, the last price before a position.

All of it is a function of the tape and a position, so whoever stands on it has no marks or session state to keep or to
restore. Positions are tape sequences: the number of records seen. Row ``i`` is the record of sequence ``i + 1``.
"""

from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from services.domain.market import Quote, requoted
from services.domain.met import Met
from services.domain.orders.order import Side
from services.domain.prices import column_of
from services.domain.tape import Kind, Tape

NEVER = 2**63 - 1
"""A row or a time (ns) that no tape reaches."""

_BAR, _QUOTE, _TRADE, _BUY = Kind.BAR, Kind.QUOTE, Kind.TRADE, Side.BUY
_SIZE_COLUMNS = {Kind.BAR: (4,), Kind.QUOTE: (2, 3), Kind.TRADE: (1,), Kind.AUCTION: (1,)}


class Edges:
    """A calendar's CLOCK records.

    Attributes:
        rows, times, opens: of each its row, market time (ns) and whether it opens.
        bounds: after as many edges as the place says, what begins before this time (ns) belongs to a session.
        floors: and what ends after this time (ns), or begins at it; what ended by then was before the session.
    """

    __slots__ = ("bounds", "floors", "opens", "rows", "times")

    def __init__(self, rows: list[int], times: list[int], opens: list[bool]) -> None:
        self.rows, self.times, self.opens = rows, times, opens
        self.bounds = [NEVER] * (len(rows) + 1)
        self.floors = [-1, *(time if opened else -1 for time, opened in zip(times, opens, strict=True))]
        closes = NEVER
        for seen in range(len(rows), -1, -1):
            if seen < len(rows) and not opens[seen]:
                closes = times[seen]
            self.bounds[seen] = closes if seen == 0 or opens[seen - 1] else times[seen - 1]

    def open_at(self, position: int) -> bool:
        """Whether the session is open after ``position`` records; before the first edge it counts as open."""
        seen = bisect_left(self.rows, position)
        return seen == 0 or self.opens[seen - 1]

    def admits(self, position: int, start: int, end: int = NEVER) -> bool:
        """Whether what goes from ``start`` to ``end`` (ns), met after ``position`` records, is of a session (rule 15).

        At the closing instant the session is over, although its CLOCK record sorts after the data of that time; a bar
        that began in a session still belongs to it when it ends later. One that ended as the session opened is of the
        time before, although it is met after the open.
        """
        if not self.rows:
            return True
        seen = bisect_left(self.rows, position)
        return start < self.bounds[seen] and (end > self.floors[seen] or start >= self.floors[seen])

    def opened(self, position: int) -> int:
        """When the session that is open after ``position`` records opened, ns; -1 where no edge says so."""
        seen = bisect_left(self.rows, position)
        return self.times[seen - 1] if seen and self.opens[seen - 1] else -1

    def closing(self, position: int) -> tuple[int, int]:
        """Row and time (ns) of the close that ends what is open after ``position`` records; NEVER without one."""
        seen = bisect_left(self.rows, position)
        if seen < len(self.rows) and not self.opens[seen]:
            return self.rows[seen], self.times[seen]
        return NEVER, NEVER

    def next_row(self, row: int, opens: bool) -> int:
        """The first row from ``row`` on that opens (or closes) the session; NEVER if none does."""
        for i in range(bisect_left(self.rows, row), len(self.rows)):
            if self.opens[i] is opens:
                return self.rows[i]
        return NEVER


ALWAYS_OPEN = Edges([], [], [])


class TapeIndex:
    """Finds rows of one tape, of ``end`` rows. What it holds is made on first use: an unused source costs nothing.

    Attributes:
        numbers, times, starts, values: the tape's ``source``, ``time``, ``start`` and ``values``, for who looks at one
            row: in half the time that it takes of an array.
        kinds, symbols: of its sources, by number.
    """

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self.end = len(tape)
        self.numbers, self.times, self.starts = tape.source.data, tape.time.data, tape.start.data
        self.values: memoryview[float] = tape.values.data  # type: ignore[assignment]
        self.kinds = [source.kind for source in tape.sources]
        self.symbols = [source.symbol for source in tape.sources]
        self._rows: dict[int, NDArray[np.int64]] = {}
        self._edges: dict[str, Edges] = {}
        self._sized: dict[int, bool] = {}
        self._queued: dict[str, bool] = {}
        self._met: dict[tuple[str, Side], Met] = {}
        self._data: dict[str, list[int]] = defaultdict(list)
        self._splits: dict[str, list[int]] = defaultdict(list)
        self._clocks: dict[str, list[int]] = defaultdict(list)
        self._auctions: dict[str, list[int]] = defaultdict(list)
        self._halts: dict[str, list[int]] = defaultdict(list)
        self._halted: dict[str, tuple[list[int], list[bool]]] = {}
        self._called: dict[tuple[str, bool], bool] = {}
        self._own = {
            Kind.CLOCK: self._clocks,
            Kind.SPLIT: self._splits,
            Kind.AUCTION: self._auctions,
            Kind.HALT: self._halts,
        }
        for i, source in enumerate(tape.sources):
            self._own.get(source.kind, self._data)[source.symbol].append(i)

    def rows(self, source: int) -> NDArray[np.int64]:
        """The rows of a source, by its index in ``tape.sources``."""
        if source not in self._rows:
            self._rows[source] = np.flatnonzero(self.tape.source == source)
        return self._rows[source]

    def rows_of(self, kind: Kind, symbol: str) -> NDArray[np.int64]:
        """The rows of a symbol's splits, auctions or halts, or of a calendar's edges, in order."""
        own = self._own[kind].get(symbol, ())
        return np.sort(np.concatenate([np.empty(0, np.int64), *(self.rows(i) for i in own)]))

    def data_sources(self, symbol: str) -> list[int]:
        """The sources that can fill an order of ``symbol``: its bars, quotes and trades."""
        return self._data.get(symbol, [])

    def edges(self, calendar: str) -> Edges:
        """A calendar's session edges; of one without CLOCK records: none, it counts as open."""
        if calendar not in self._clocks:
            return ALWAYS_OPEN
        if calendar not in self._edges:
            rows = self.rows_of(Kind.CLOCK, calendar)
            opens = self.tape.values[rows, 0] == 1.0
            self._edges[calendar] = Edges(rows.tolist(), self.tape.time[rows].tolist(), opens.tolist())
        return self._edges[calendar]

    def sized(self, source: int) -> bool:
        """Whether a source states sizes: a column of zeros only says that it has none, not that nothing was there."""
        if source not in self._sized:
            columns = _SIZE_COLUMNS[self.tape.sources[source].kind]
            self._sized[source] = any(self.tape.values[self.rows(source), column].any() for column in columns)
        return self._sized[source]

    def next_row(self, source: int, row: int) -> int:
        """The first row from ``row`` on of a source; NEVER after its last."""
        # Mostly it is this very row, and a look takes a tenth of a search.
        if row < self.end and self.numbers[row] == source:
            return row
        rows = self.rows(source)
        place = int(rows.searchsorted(row))
        return rows.item(place) if place < len(rows) else NEVER

    def next_split(self, symbol: str, row: int) -> int:
        """The first row from ``row`` on that splits ``symbol``; NEVER if none does."""
        splits = self._splits.get(symbol)
        return min(self.next_row(i, row) for i in splits) if splits else NEVER

    def split_before(self, symbol: str, row: int) -> int:
        """The last row before ``row`` that splits ``symbol``; -1 if none does."""
        return max((self._row_before(i, row) for i in self._splits.get(symbol, ())), default=-1)

    def splits(self, symbol: str) -> bool:
        """Whether the tape splits ``symbol`` at all."""
        return symbol in self._splits

    def auctioned(self, symbol: str, opening: bool) -> bool:
        """Whether the tape has ``symbol``'s opening (or closing) auctions: then no bar stands for them."""
        key = symbol, opening
        if key not in self._called:
            flags = [self.tape.values[self.rows(i), 2] == float(opening) for i in self._auctions.get(symbol, ())]
            self._called[key] = any(each.any() for each in flags)
        return self._called[key]

    def next_auction(self, symbol: str, row: int) -> int:
        """The first row from ``row`` on that is an auction of ``symbol``; NEVER if none is."""
        return min((self.next_row(i, row) for i in self._auctions.get(symbol, ())), default=NEVER)

    def halts(self, symbol: str) -> bool:
        """Whether the tape halts ``symbol`` at all."""
        return symbol in self._halts

    def halted(self, symbol: str, time: int) -> bool:
        """Whether trading in ``symbol`` is halted at ``time`` (ns): what begins then fills nothing."""
        if symbol not in self._halts:
            return False
        times, states = self._halts_of(symbol)
        seen = bisect_right(times, time)
        return seen > 0 and states[seen - 1]

    def before(self, time: int) -> int:
        """The last sequence whose time is before ``time`` (ns): where what happens at that time sits (rule 31)."""
        return int(self.tape.time.searchsorted(time))

    def admitted(self, rows: NDArray[np.int64], symbol: str, calendar: str) -> NDArray[np.bool_]:
        """Of rows of a symbol, which are of its sessions, and of no halt: those that can fill."""
        edges, starts = self.edges(calendar), self.tape.start[rows]
        seen = np.searchsorted(np.array(edges.rows, np.int64), rows)
        bounds, floors = np.array(edges.bounds)[seen], np.array(edges.floors)[seen]
        found: NDArray[np.bool_] = (starts < bounds) & ((self.tape.time[rows] > floors) | (starts >= floors))
        if self.halts(symbol):
            found &= np.array([not self.halted(symbol, start) for start in starts.tolist()], np.bool_)
        return found

    def shows_queues(self, symbol: str) -> bool:
        """Whether its quotes and its trades state sizes: then they show who waits at a price, and what traded there."""
        if symbol not in self._queued:
            kinds = {self.tape.sources[i].kind for i in self.data_sources(symbol) if self.sized(i)}
            self._queued[symbol] = {_QUOTE, _TRADE} <= kinds
        return self._queued[symbol]

    def met(self, symbol: str, side: Side, calendar: str) -> Met:
        """The records that orders of ``side`` can meet."""
        key = symbol, side
        if key not in self._met:
            self._met[key] = _met(self, symbol, side, calendar)
        return self._met[key]

    def last_price(self, symbol: str, side: Side, position: int) -> float | None:
        """What ``side`` last paid (a quote's ask) or got (its bid), in today's units; None before the first price."""
        row = source = -1
        for each in self.data_sources(symbol):
            if (before := self._row_before(each, position)) > row:
                row, source = before, each
        if row < 0:
            return None
        kind = self.tape.sources[source].kind
        price = self.values[row, 3 if kind is _BAR else int(kind is _QUOTE and side is _BUY)]
        return self.restated(symbol, price, row, position)

    def last_quote(self, symbol: str, position: int) -> Quote | None:
        """The last quote within ``position`` records, in today's units; None before the first."""
        quotes = [each for each in self.data_sources(symbol) if self.tape.sources[each].kind is _QUOTE]
        row = max((self._row_before(each, position) for each in quotes), default=-1)
        quote = self.tape.record(row + 1) if row >= 0 else None
        if not isinstance(quote, Quote):
            return None
        for numerator, denominator in self._splits_between(symbol, row, position):
            quote = requoted(quote, numerator, denominator)
        return quote

    def restated(self, symbol: str, price: float, row: int, position: int) -> float:
        """A price of ``row`` after the splits before ``position``."""
        for numerator, denominator in self._splits_between(symbol, row, position):
            price = price * denominator / numerator
        return price

    def _splits_between(self, symbol: str, row: int, position: int) -> Iterator[tuple[float, float]]:
        split = self.next_split(symbol, row)
        while split < position:
            numerator, denominator = self.tape.values[split, :2].tolist()
            yield numerator, denominator
            split = self.next_split(symbol, split + 1)

    def _halts_of(self, symbol: str) -> tuple[list[int], list[bool]]:
        """When trading in ``symbol`` stops or goes on, and which of them it does."""
        if symbol not in self._halted:
            rows = self.rows_of(Kind.HALT, symbol)
            self._halted[symbol] = self.tape.time[rows].tolist(), (self.tape.values[rows, 0] == 1.0).tolist()
        return self._halted[symbol]

    def _row_before(self, source: int, position: int) -> int:
        if 0 < position <= self.end and self.numbers[position - 1] == source:
            return position - 1
        rows = self.rows(source)
        place = int(rows.searchsorted(position)) - 1
        return rows.item(place) if place >= 0 else -1


def _met(index: TapeIndex, symbol: str, side: Side, calendar: str) -> Met:
    tape, empty = index.tape, np.empty(0, np.int64)
    parts = [(tape.sources[i].kind, index.rows(i)) for i in index.data_sources(symbol)]
    rows = np.concatenate([part for _, part in parts] or [empty])
    lows = np.concatenate([tape.values[part, column_of(kind, side, False)] for kind, part in parts] or [empty * 1.0])
    highs = np.concatenate([tape.values[part, column_of(kind, side, True)] for kind, part in parts] or [empty * 1.0])
    order = np.argsort(rows, kind="stable")
    met = index.admitted(rows, symbol, calendar) & (lows > 0)
    order = order[met[order]]
    return Met(rows[order], tape.start[rows[order]], lows[order], highs[order])
