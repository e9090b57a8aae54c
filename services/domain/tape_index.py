"""Where things are on a tape: a symbol's rows, a calendar's edges, the last price before a position.

All of it is a function of the tape and a position, so whoever stands on it has no marks or session state to keep or to
restore. Positions are tape sequences: the number of records seen. Row ``i`` is the record of sequence ``i + 1``.
"""

from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from services.domain.order import Side
from services.domain.tape import Kind, Tape

NEVER = 2**63 - 1
"""A row or a time (ns) that no tape reaches."""

_BAR, _QUOTE, _BUY = Kind.BAR, Kind.QUOTE, Side.BUY
_SIZE_COLUMNS = {Kind.BAR: (4,), Kind.QUOTE: (2, 3), Kind.TRADE: (1,)}


@dataclass(frozen=True, slots=True)
class Edges:
    """A calendar's CLOCK records: row, market time and whether it opens."""

    rows: list[int]
    times: list[int]
    opens: list[bool]

    def open_at(self, position: int) -> bool:
        """Whether the session is open after ``position`` records; before the first edge it counts as open."""
        seen = bisect_left(self.rows, position)
        return seen == 0 or self.opens[seen - 1]

    def admits(self, position: int, start: int) -> bool:
        """Whether what begins at ``start`` (ns), met after ``position`` records, belongs to a session (rule 15).

        At the closing instant the session is over, although its CLOCK record sorts after the data of that time; a bar
        that began in a session still belongs to it when it ends later.
        """
        if not self.rows:
            return True
        seen = bisect_left(self.rows, position)
        if seen == 0 or self.opens[seen - 1]:
            return start < next((self.times[i] for i in range(seen, len(self.rows)) if not self.opens[i]), NEVER)
        return start < self.times[seen - 1]

    def next_row(self, row: int, opens: bool) -> int:
        """The first row from ``row`` on that opens (or closes) the session; NEVER if none does."""
        for i in range(bisect_left(self.rows, row), len(self.rows)):
            if self.opens[i] is opens:
                return self.rows[i]
        return NEVER


_ALWAYS_OPEN = Edges([], [], [])


class TapeIndex:
    """Finds rows of one tape. What it holds is made on first use: an index of an unused source costs nothing."""

    def __init__(self, tape: Tape) -> None:
        self.tape = tape
        self._end = len(tape)
        self._rows: dict[int, NDArray[np.int64]] = {}
        self._edges: dict[str, Edges] = {}
        self._sized: dict[int, bool] = {}
        self._data: dict[str, list[int]] = defaultdict(list)
        self._splits: dict[str, list[int]] = defaultdict(list)
        self._clocks: dict[str, list[int]] = defaultdict(list)
        for i, source in enumerate(tape.sources):
            by_symbol = {Kind.CLOCK: self._clocks, Kind.SPLIT: self._splits}.get(source.kind, self._data)
            by_symbol[source.symbol].append(i)

    def rows(self, source: int) -> NDArray[np.int64]:
        """The rows of a source, by its index in ``tape.sources``."""
        if source not in self._rows:
            self._rows[source] = np.flatnonzero(self.tape.source == source)
        return self._rows[source]

    def data_sources(self, symbol: str) -> list[int]:
        """The sources that can fill an order of ``symbol``: its bars, quotes and trades."""
        return self._data.get(symbol, [])

    def edges(self, calendar: str) -> Edges:
        """A calendar's session edges; of one without CLOCK records: none, it counts as open."""
        if calendar not in self._clocks:
            return _ALWAYS_OPEN
        if calendar not in self._edges:
            rows = np.sort(np.concatenate([self.rows(i) for i in self._clocks[calendar]]))
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
        if row < self._end and self.tape.source.item(row) == source:
            return row
        rows = self.rows(source)
        place = int(rows.searchsorted(row))
        return rows.item(place) if place < len(rows) else NEVER

    def next_split(self, symbol: str, row: int) -> int:
        """The first row from ``row`` on that splits ``symbol``; NEVER if none does."""
        splits = self._splits.get(symbol)
        return min(self.next_row(i, row) for i in splits) if splits else NEVER

    def last_price(self, symbol: str, side: Side, position: int) -> float | None:
        """What ``side`` last had to pay or got within ``position`` records, in today's units; None before the first.

        A quote's ask for buys and bid for sells, a trade's price, a bar's close; a split since then is applied.
        """
        row = source = -1
        for each in self.data_sources(symbol):
            if (before := self._row_before(each, position)) > row:
                row, source = before, each
        if row < 0:
            return None
        kind = self.tape.sources[source].kind
        price = self.tape.values.item(row, 3 if kind is _BAR else int(kind is _QUOTE and side is _BUY))
        split = self.next_split(symbol, row)
        while split < position:
            numerator, denominator = self.tape.values[split, :2].tolist()
            price = price * denominator / numerator
            split = self.next_split(symbol, split + 1)
        return price

    def _row_before(self, source: int, position: int) -> int:
        if 0 < position <= self._end and self.tape.source.item(position - 1) == source:
            return position - 1
        rows = self.rows(source)
        place = int(rows.searchsorted(position)) - 1
        return rows.item(place) if place >= 0 else -1
