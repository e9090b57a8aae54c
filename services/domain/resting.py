"""Orders that wait at the venue for one symbol, held so that only those a price reached are ever touched (rule 11).

An order waits either for any record (``urgent``: MARKET, a triggered STOP, every IOC) or on one of four ladders, for a
price. A ladder's keys are signed so that all four read alike: what is reached is below the record's signed extreme.
"""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from services.domain.order import Order, OrderState, OrderType, Side, TimeInForce
from services.domain.tape import Kind
from services.domain.tape_index import NEVER, TapeIndex

TRIGGERED_STATES = frozenset({OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED})
_FIRST_SPAN, _LONGEST_SPAN = 1 << 8, 1 << 17
"""Rows looked through at once: few while orders come and go, many once a book is left alone."""


class Prices(NamedTuple):
    """What one side meets in a record: the first price there is, and how far prices went below and above it."""

    first: float
    low: float
    high: float


_BUY, _BAR, _QUOTE, _new_prices = Side.BUY, Kind.BAR, Kind.QUOTE, Prices.__new__
_MARKET, _STOP, _IOC = OrderType.MARKET, OrderType.STOP, TimeInForce.IOC


def prices_of(kind: Kind, values: list[float], side: Side) -> Prices:
    """The prices of a record's values for orders of ``side``: buys meet a quote's ask, sells its bid."""
    if kind is _BAR:
        return _new_prices(Prices, values[0], values[2], values[1])
    price = values[1] if kind is _QUOTE and side is _BUY else values[0]
    return Prices(price, price, price)


@dataclass(slots=True)
class Ladder:
    """Orders of one side that wait for falling prices (``sign`` -1: buy limits, sell stops) or rising ones (+1).

    ``inclusive`` says that a price touched is a price reached. Entries are (signed price, arrival), best first.
    """

    side: Side
    sign: int
    inclusive: bool
    entries: list[tuple[float, int]] = field(default_factory=list)

    def extreme(self, prices: Prices) -> float:
        return prices.high if self.sign > 0 else -prices.low

    def reached(self, prices: Prices) -> Iterator[int]:
        """Arrivals of the orders that ``prices`` reached, best first."""
        if self.inclusive:
            count = bisect_right(self.entries, (self.extreme(prices), NEVER))
        else:
            count = bisect_left(self.entries, (self.extreme(prices), -1))
        return (arrival for _, arrival in self.entries[:count])

    def column(self, kind: Kind) -> int:
        """The tape's value column that holds the extreme."""
        if kind is _BAR:
            return 1 if self.sign > 0 else 2
        return 1 if kind is _QUOTE and self.side is _BUY else 0


class Book:
    """The waiting orders of one symbol, by arrival number, and where on the tape the next of them may be reached."""

    def __init__(self, symbol: str, fill_on_touch: bool) -> None:
        self.symbol = symbol
        self.urgent: dict[int, None] = {}
        self._ladders = {
            (Side.BUY, OrderType.LIMIT): Ladder(Side.BUY, -1, fill_on_touch),
            (Side.SELL, OrderType.LIMIT): Ladder(Side.SELL, +1, fill_on_touch),
            (Side.BUY, OrderType.STOP): Ladder(Side.BUY, +1, True),
            (Side.SELL, OrderType.STOP): Ladder(Side.SELL, -1, True),
        }
        self._span = _FIRST_SPAN

    def add(self, order: Order, arrival: int) -> None:
        if (place := self._place(order, arrival)) is None:
            self.urgent[arrival] = None
        else:
            insort(place[0].entries, place[1])
        self._span = _FIRST_SPAN

    def remove(self, order: Order, arrival: int) -> None:
        if (place := self._place(order, arrival)) is None:
            del self.urgent[arrival]
        else:
            del place[0].entries[bisect_left(place[0].entries, place[1])]
        self._span = _FIRST_SPAN

    def _place(self, order: Order, arrival: int) -> tuple[Ladder, tuple[float, int]] | None:
        """The order's ladder and entry; None for one that any record may fill or end."""
        if order.order_type is _MARKET or order.time_in_force is _IOC:
            return None
        if order.order_type is _STOP and order.state in TRIGGERED_STATES:
            return None
        ladder = self._ladders[order.side, order.order_type]
        price = order.stop_price if order.order_type is _STOP else order.limit_price
        return ladder, (ladder.sign * float(price or 0), arrival)

    def reached(self, buys: Prices, sells: Prices) -> Iterator[int]:
        """Arrivals of the orders that a record of these prices may fill, trigger or end."""
        yield from list(self.urgent)
        for ladder in self._ladders.values():
            if ladder.entries:
                yield from ladder.reached(buys if ladder.side is _BUY else sells)

    def next_row(self, index: TapeIndex, row: int, calendar: str, through: int) -> int:
        """The first row from ``row`` on that may concern a waiting order, or an earlier bound of it.

        A bound because looking far ahead is wasted when orders change soon: it covers at least the rows before
        ``through``, and more each time the book was found unchanged.
        """
        ladders = [ladder for ladder in self._ladders.values() if ladder.entries]
        if not ladders and not self.urgent:
            return NEVER
        end = len(index.tape)
        horizon = min(max(through, row + self._span), end)
        self._span = min(self._span * 2, _LONGEST_SPAN)
        best = horizon if horizon < end else NEVER
        for source in index.data_sources(self.symbol):
            begin = row
            if index.tape.sources[source].kind is not _BAR:
                # Nothing but a bar reaches back into a session that has closed.
                edges = index.edges(calendar)
                begin = row if edges.open_at(row) else edges.next_row(row, opens=True)
            if self.urgent:
                best = min(best, index.next_row(source, begin))
            else:
                best = min(best, self._next_of(index, source, begin, min(best, horizon), ladders))
        return best

    def _next_of(self, index: TapeIndex, source: int, begin: int, end: int, ladders: list[Ladder]) -> int:
        rows = index.rows(source)
        first, last = rows.searchsorted((begin, max(begin, end))).tolist()
        kind, step = index.tape.sources[source].kind, _FIRST_SPAN
        while first < last:
            part = rows[first : min(first + step, last)]
            hit = np.zeros(len(part), np.bool_)
            for ladder in ladders:
                extreme = index.tape.values[part, ladder.column(kind)]
                price = ladder.sign * ladder.entries[0][0]
                if ladder.sign > 0:
                    hit |= extreme >= price if ladder.inclusive else extreme > price
                else:
                    hit |= extreme <= price if ladder.inclusive else extreme < price
            if hit.any():
                return int(part[hit.argmax()])
            first, step = first + step, min(step * 4, _LONGEST_SPAN)
        return NEVER
