"""Who stands before a resting limit at its price, where quotes and trades with their sizes show it (rule 9).

When the limit came to stand at a price that the quote displays, the best one or a level behind it, the units there
were before it; if it bettered the best one, or came between two levels, nobody. What trades exactly there from then on
takes these first, they are never more than a later quote displays there, and what trades beyond has taken all of them.
So who came earlier never waits longer, and an order whose level becomes the best one keeps its place: that quote's size
bounds those ahead as any other's does. A quote whose levels end before the price tells nothing of it. Read off the tape
and the order's value alone: an order taken back after a restart stands where it stood.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.money import ZERO, decimal_of
from services.domain.orders.order import Order, OrderType, Side, TimeInForce
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex

_BUY, _LIMIT = Side.BUY, OrderType.LIMIT
_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD})


def queues(order: Order) -> bool:
    """Whether the order rests at its price from when it is live; hidden slices queue behind who knows whom."""
    return order.order_type is _LIMIT and order.time_in_force in _RESTING and order.display_quantity is None


class _Columns(NamedTuple):
    """Records of a symbol's sessions: their rows, and of each a price and the size at it."""

    rows: NDArray[np.int64]
    prices: NDArray[np.float64]
    sizes: NDArray[np.float64]

    def between(self, first: int, end: int) -> "_Columns":
        part = slice(*self.rows.searchsorted((first, end)).tolist())
        return _Columns(self.rows[part], self.prices[part], self.sizes[part])


@dataclass(frozen=True, slots=True)
class _Displayed:
    """What a symbol's quotes display on one side: where that side's limits rest.

    Attributes:
        best: the best prices; 0 where the side is missing.
        behind: the levels behind them, each quote's best first.
        ends: of each quote the last price that it displays.
    """

    side: Side
    best: _Columns
    behind: _Columns
    ends: NDArray[np.float64]

    def at(self, limit: float, first: int, end: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Rows from ``first`` up to before ``end`` that tell how many units there are at ``limit``, and how many."""
        part = slice(*self.best.rows.searchsorted((first, end)).tolist())
        best, behind, ends = self.best.between(first, end), self.behind.between(first, end), self.ends[part]
        units = np.where(best.prices == limit, best.sizes, -1.0)
        there = behind.prices == limit
        units[best.rows.searchsorted(behind.rows[there])] = behind.sizes[there]
        # A price that is displayed without a size tells nothing, one that is passed over that nobody is there.
        known = (best.prices > 0) & (ends <= limit if self.side is _BUY else ends >= limit) & (units != 0)
        return best.rows[known], np.maximum(units[known], 0.0)


@dataclass(slots=True)
class _Place:
    """How many units are ahead of an order after the records before ``row``; None while that is not known."""

    row: int
    ahead: Decimal | None = None


class Queues:
    """Those of one symbol on one tape; what was read of an order is kept until it is forgotten."""

    def __init__(self, index: TapeIndex, symbol: str, calendar: str) -> None:
        self.index = index
        self._symbol, self._calendar = symbol, calendar
        self._places: dict[int, _Place] = {}
        self._trades = self._columns(Kind.TRADE, 0, 1)
        self._displayed = {side: self._display(side) for side in Side}

    def forget(self, arrival: int) -> None:
        """An order waits no more, or no more as it was."""
        self._places.pop(arrival, None)

    def ahead(self, order: Order, arrival: int, row: int) -> Decimal | None:
        """Units ahead of a resting limit when ``row`` comes; None where nothing shows how many."""
        place = self._places.get(arrival)
        if place is None:
            place = self._places[arrival] = self._begin(order, row)
        if place.ahead != 0 and place.row < row:
            self._go_on(order, place, row)
        place.row = row
        return place.ahead

    def _begin(self, order: Order, row: int) -> _Place:
        """Where an order stood when it became live, by the last quote of its session before that."""
        live, split = self.index.before(order.basis_time + order.latency), self.index.split_before(self._symbol, row)
        first = max(order.basis_sequence, live, split + 1)
        edges, displayed = self.index.edges(self._calendar).rows, self._displayed[order.side]
        quotes = displayed.best.rows
        last = int(quotes.searchsorted(first)) - 1
        if last < 0 or quotes[last] <= split or np.searchsorted(edges, quotes[last]) != np.searchsorted(edges, first):
            return _Place(first)
        units = displayed.at(float(order.limit_price or 0), quotes.item(last), quotes.item(last) + 1)[1]
        return _Place(first, decimal_of(units.item(0)) if len(units) else None)

    def _go_on(self, order: Order, place: _Place, row: int) -> None:
        limit, first, buys = float(order.limit_price or 0), place.row, order.side is _BUY
        met = self.index.met(self._symbol, order.side, self._calendar)
        extremes = met.extremes(first, row, order.basis_time + order.latency)
        if extremes is not None and (extremes[0] < limit if buys else extremes[1] > limit):
            place.ahead = ZERO
            return
        rows, shown = self._displayed[order.side].at(limit, first, row)
        trades = self._trades.between(first, row)
        there = trades.prices == limit
        traded = [*zip(trades.rows[there].tolist(), trades.sizes[there].tolist(), strict=True), (row, 0.0)]
        for at, size in traded:
            seen = shown[rows.searchsorted(first) : rows.searchsorted(at)]
            if len(seen):
                fewest = decimal_of(float(seen.min()))
                place.ahead = fewest if place.ahead is None else min(place.ahead, fewest)
            if place.ahead is not None:
                place.ahead = max(ZERO, place.ahead - decimal_of(size))
            first = at

    def _columns(self, kind: Kind, price: int, size: int) -> _Columns:
        index, values = self.index, self.index.tape.values
        sources = [i for i in index.data_sources(self._symbol) if index.tape.sources[i].kind is kind and index.sized(i)]
        rows = np.sort(np.concatenate([index.rows(i) for i in sources]))
        rows = rows[index.admitted(rows, self._symbol, self._calendar)]
        return _Columns(rows, values[rows, price], values[rows, size])

    def _display(self, side: Side) -> _Displayed:
        """The sides of all quotes; of the levels those of the quotes that count."""
        price = 0 if side is _BUY else 1
        best, levels = self._columns(Kind.QUOTE, price, price + 2), self.index.tape.levels
        rows, prices, sizes = levels.rows, levels.values[:, 2 * price], levels.values[:, 2 * price + 1]
        own = np.isin(rows, best.rows) & (prices > 0)
        behind, ends = _Columns(rows[own], prices[own], sizes[own]), best.prices.copy()
        farther = np.minimum if side is _BUY else np.maximum
        farther.at(ends, best.rows.searchsorted(behind.rows), behind.prices)
        return _Displayed(side, best, behind, ends)
