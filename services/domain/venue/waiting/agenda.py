"""Where on the tape the venue's orders are concerned next: all records before that are passed over unseen."""

from heapq import heapify, heappop, heappush, heapreplace

from services.domain.tape_index import NEVER, TapeIndex
from services.domain.venue.waiting.blotter import Blotter

_UNKNOWN = -1
_SLACK = 64
"""Outdated entries that may stay among the soonest, beside as many as there are symbols."""


class Agenda:
    """The next rows that concern the orders as they are now: of each symbol, the soonest first, and of all.

    Attributes:
        quiet_until: rows before it concern no order, unless one changes.
    """

    def __init__(self, blotter: Blotter) -> None:
        self._blotter = blotter
        self._rows: dict[str, int] = {}
        self._soonest: list[tuple[int, str]] = []
        self.quiet_until = _UNKNOWN

    def forget(self) -> None:
        """Look anew: the tape is another one, or the venue stands elsewhere."""
        self._rows = dict.fromkeys(self._blotter.books, _UNKNOWN)
        self._soonest = [(_UNKNOWN, symbol) for symbol in self._rows]
        self.quiet_until = _UNKNOWN

    def next_row(self, index: TapeIndex, row: int, through: int) -> int:
        """The first row from ``row`` on that may concern an order; at or after ``through`` where none does."""
        blotter = self._blotter
        if blotter.changed:
            # Who takes any record most often meets the very next one, and so does who follows the market.
            if row < index.end:
                number = index.numbers[row]
                symbol = index.symbols[number]
                if symbol in blotter.changed and blotter.books[symbol].takes(index, row, index.kinds[number]):
                    return row
            self._outdate()
        elif self.quiet_until > row:
            return self.quiet_until
        rows, soonest = self._rows, self._soonest
        while soonest and soonest[0][0] < row:
            known, symbol = soonest[0]
            if known != rows[symbol]:
                heappop(soonest)
                continue
            found = blotter.books[symbol].next_row(index, row, through)
            # A book can be empty while an order is HELD, and a split restates that one too.
            found = rows[symbol] = min(found, index.next_split(symbol, row))
            heapreplace(soonest, (found, symbol))
        while soonest and soonest[0][0] != rows[soonest[0][1]]:
            heappop(soonest)
        found = soonest[0][0] if soonest else NEVER
        for (calendar, opens), waiting in blotter.timed.items():
            if waiting:
                found = min(found, index.edges(calendar).next_row(row, opens))
        self.quiet_until = found
        return found

    def next_expiry(self, index: TapeIndex, position: int) -> tuple[int, int]:
        """Position and market time (ns) of the next GTD expiry: after the last record before its time (rule 31)."""
        if not self._blotter.expiries.runs:
            return NEVER, 0
        time = int(self._blotter.expiries.first[0])
        return max(position, index.before(time)), time

    def _outdate(self) -> None:
        """What is known of the books that changed holds no longer."""
        rows = self._rows
        for symbol in self._blotter.changed:
            if rows.get(symbol) != _UNKNOWN:
                rows[symbol] = _UNKNOWN
                heappush(self._soonest, (_UNKNOWN, symbol))
        self._blotter.changed.clear()
        if len(self._soonest) > 2 * len(rows) + _SLACK:
            self._soonest[:] = [(found, symbol) for symbol, found in rows.items()]
            heapify(self._soonest)
