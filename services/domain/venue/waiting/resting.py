"""Orders that wait at the venue for one symbol, held so that only those a price reached are ever touched (rule 11).

An order waits for any record (``urgent``), for a price on a ladder, for a trigger that trails, or for the close. For
any record: what needs no price, what may not wait, and what the first record it meets decides on: whether a post-only
order would trade, where a trailing stop starts.
"""

from collections.abc import Mapping

import numpy as np

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.order import LIMITED, STOPS, TRIGGERED_STATES, Order, OrderType, Side, TimeInForce
from services.domain.prices import Prices, column_of, prices_of
from services.domain.tape import Kind
from services.domain.tape_index import ALWAYS_OPEN, NEVER, Edges, TapeIndex
from services.domain.venue.offers.paths import stated
from services.domain.venue.waiting.ladder import Ladder, Watch
from services.domain.venue.waiting.queues import Queues
from services.domain.venue.waiting.trails import Trail

_FIRST_SPAN, _LONGEST_SPAN = 1 << 8, 1 << 17
"""Rows looked through at once: few while orders come and go, many once a book is left alone."""
_BUY, _SELL, _BAR, _TRADE, _AUCTION = Side.BUY, Side.SELL, Kind.BAR, Kind.TRADE, Kind.AUCTION
_MARKET, _LIMIT, _TRAILING = OrderType.MARKET, OrderType.LIMIT, OrderType.TRAILING_STOP
_CLS, _IMPATIENT = TimeInForce.CLS, frozenset({TimeInForce.IOC, TimeInForce.FOK, TimeInForce.OPG})
_TICKS, _INFINITE = frozenset({Kind.QUOTE, Kind.TRADE}), float("inf")
_NO_BAND = (-_INFINITE, _INFINITE, -_INFINITE, _INFINITE)
_BOUNDS = [(_BUY, -1), (_BUY, +1), (_SELL, -1), (_SELL, +1)]
_Place = Ladder | Trail | dict[int, None]


class Book:
    """The waiting orders of one symbol, by arrival number, and where on the tape the next of them may be reached.

    Attributes:
        instrument: of the symbol.
        edges, halts: the session edges of the tape that the venue reads, and whether that halts the symbol at all.
        urgent: those that any record concerns.
        closing: those that wait for the closing auction.
    """

    def __init__(self, instrument: Instrument, settings: VenueSettings) -> None:
        """An empty one; ``settings`` are the venue's own, which hold for orders without any of theirs."""
        self.instrument, self.symbol = instrument, instrument.symbol
        self.edges, self.halts = ALWAYS_OPEN, False
        self.urgent: dict[int, None] = {}
        self.closing: dict[int, None] = {}
        self._settings = settings
        self._limits = {
            (side, touch): Ladder(side, sign, touch)
            for side, sign in ((_BUY, -1), (_SELL, +1))
            for touch in (False, True)
        }
        self._stops = {_BUY: Ladder(_BUY, +1, True), _SELL: Ladder(_SELL, -1, True)}
        self._touched = {_BUY: Ladder(_BUY, -1, True), _SELL: Ladder(_SELL, +1, True)}
        self._ladders = (*self._limits.values(), *self._stops.values(), *self._touched.values())
        self._trails: dict[tuple[Side, bool, bool], Trail] = {}
        self._queues: Queues | None = None
        self._settled: set[int] = set()
        # What concerns any order but the urgent ones, and prices within which nothing does; None: to be found anew.
        self._watches: list[Watch] | None = None
        self._band = _NO_BAND
        self._span = _FIRST_SPAN

    def read(self, index: TapeIndex) -> None:
        """From now on its orders meet the records of this tape."""
        self.edges, self.halts = index.edges(self.instrument.calendar), index.halts(self.symbol)

    def add(self, order: Order, arrival: int) -> None:
        """An order begins to wait."""
        place = self._place(order, arrival)
        if place is self.urgent:
            self.urgent[arrival] = None
        elif isinstance(place, Ladder):
            place.entries.add(self._entry(place, order, arrival))
            self._watches = None
        else:
            self.closing[arrival] = None
        self._span = _FIRST_SPAN

    def remove(self, order: Order, arrival: int) -> None:
        """An order waits no more, or no more as it was."""
        place = self._place(order, arrival)
        if place is self.urgent:
            self.leave(arrival)
        elif isinstance(place, Ladder):
            place.entries.remove(self._entry(place, order, arrival))
            self._watches = None
        elif isinstance(place, Trail):
            place.remove(arrival)
            self._watches = None
        else:
            del self.closing[arrival]
        self._settled.discard(arrival)
        if self._queues is not None:
            self._queues.forget(arrival)
        self._span = _FIRST_SPAN

    def queues(self, index: TapeIndex) -> Queues:
        """Who stands before its resting limits, where the tape shows that."""
        if self._queues is None or self._queues.index is not index:
            self._queues = Queues(index, self.symbol, self.instrument.calendar)
        return self._queues

    def leave(self, arrival: int) -> None:
        """One of the urgent waits no more."""
        del self.urgent[arrival]
        if not self.urgent:
            # Else the next who looks for the first of them goes by the places of all that ever were: 20 us of 20,000.
            self.urgent.clear()
        self._span = _FIRST_SPAN

    def settled(self, arrival: int) -> bool:
        """Whether it is known that a post-only or trailing order has met a record."""
        return arrival in self._settled

    def settle(self, order: Order, arrival: int, best: float = 0.0) -> None:
        """A post-only or trailing order has met its first record; ``best`` is the best price that it trails since."""
        self.leave(arrival)
        self._settled.add(arrival)
        place = self._place(order, arrival)
        if isinstance(place, Trail):
            place.add(order, arrival, order.basis_time + order.latency, best)
            self._watches = None
        else:
            self.add(order, arrival)

    def unsettle(self, orders: dict[int, Order]) -> None:
        """The venue stands elsewhere: what its orders have met is read off the tape again."""
        self._queues = None
        for arrival in list(self._settled):
            self.remove(orders[arrival], arrival)
            self.add(orders[arrival], arrival)

    def best(self, order: Order, arrival: int) -> float:
        """The best price that a settled trailing stop has seen."""
        return self._trail(order).best(arrival)

    def passed(self, prices: Mapping[Side, Prices], start: int) -> bool:
        """A record that began at ``start`` (ns) has been met; whether that moved a trigger."""
        if not self._trails or self.passes(prices[_BUY], prices[_SELL]):
            return False
        moved = False
        for (side, *_), trail in self._trails.items():
            if trail and prices[side].first > 0:
                moved |= trail.passed(prices[side], start)
        if moved:
            self._watches = None
        return moved

    def reached(self, buys: Prices, sells: Prices, touched: bool) -> list[int]:
        """Arrivals of the orders that a record of these prices may fill, trigger or end; the close's are not here.

        With ``touched`` those too whose price it is at, whatever they ask for.
        """
        found = list(self.urgent)
        if self.passes(buys, sells):
            return found
        for ladder in self._ladders:
            if ladder.entries.runs:
                found += ladder.reached(buys if ladder.side is _BUY else sells, touched)
        for (side, *_), trail in self._trails.items():
            if trail:
                found += trail.reached(buys if side is _BUY else sells)
        return found

    def takes(self, index: TapeIndex, row: int, kind: Kind) -> bool:
        """Whether a row of this symbol, a record of ``kind``, may concern an order; if not, another row still may."""
        if kind is _AUCTION:
            return bool(self.urgent or self.closing)
        if kind is not _BAR and (kind not in _TICKS or (self.edges.rows and not self.edges.open_at(row))):
            return False
        if self.urgent:
            return True
        if not self._watched():
            return False
        values = index.tape.values[row].tolist()
        return not self.passes(prices_of(kind, values, _BUY), prices_of(kind, values, _SELL))

    def next_row(self, index: TapeIndex, row: int, through: int) -> int:
        """The first row from ``row`` on that may concern a waiting order, or an earlier bound of it.

        A bound because looking far ahead is wasted when orders change soon: it covers at least the rows before
        ``through``, and more each time the book was found unchanged.
        """
        end = index.end
        watches = self._watched()
        if not watches and not self.urgent and not self.closing:
            return NEVER
        horizon = min(max(through, row + self._span), end)
        self._span = min(self._span * 2, _LONGEST_SPAN)
        best = horizon if horizon < end else NEVER
        edges = self.edges
        if self.urgent or self.closing:
            best = min(best, index.next_auction(self.symbol, row))
        for source in index.data_sources(self.symbol):
            begin = row
            if index.kinds[source] is not _BAR:
                # Nothing but a bar reaches back into a session that has closed.
                begin = row if edges.open_at(row) else edges.next_row(row, opens=True)
            elif self.closing:
                best = min(best, _closing_row(index, source, row, edges))
            if self.urgent:
                best = min(best, index.next_row(source, begin))
            elif watches:
                best = min(best, _next_of(index, source, begin, min(best, horizon), self._seen_by(index, source)))
        return best

    def passes(self, buys: Prices, sells: Prices) -> bool:
        """Whether prices touch nobody on a ladder, and move no trigger."""
        return self.clear(buys.low, buys.high, sells.low, sells.high)

    def clear(self, low: float, high: float, lowest: float, highest: float) -> bool:
        """The same, of how far prices went for buys and for sells."""
        if self._watches is None:
            self._watched()
        band = self._band
        return band[0] < low and high < band[1] and band[2] < lowest and highest < band[3]

    def _watched(self) -> list[Watch]:
        """The nearest price of each side and direction that concerns an order: whatever concerns another passes it."""
        if self._watches is None:
            watches = [ladder.watch() for ladder in self._ladders if ladder.entries.runs]
            for trail in self._trails.values():
                watches += trail.watches()
            # Where two are at one price, who is content with a touch comes first.
            watches.sort(key=lambda watch: (-watch.price, watch.inclusive))
            nearest = {(watch.side, watch.sign): watch for watch in watches}
            bounds = [nearest[key].price if key in nearest else _INFINITE for key in _BOUNDS]
            self._watches, self._band = list(nearest.values()), (-bounds[0], bounds[1], -bounds[2], bounds[3])
        return self._watches

    def _seen_by(self, index: TapeIndex, source: int) -> list[Watch]:
        """What concerns any order in a source: a trade at a limit may have used up the queue ahead of it (rule 9)."""
        watches = self._watched()
        if index.kinds[source] is not _TRADE or not index.shows_queues(self.symbol):
            return watches
        return [watch._replace(inclusive=True) for watch in watches]

    def _place(self, order: Order, arrival: int) -> _Place:
        kind, tif = order.order_type, order.time_in_force
        if kind is _MARKET or tif in _IMPATIENT:
            return self.closing if tif is _CLS else self.urgent
        if tif is _CLS:
            return self.closing
        if kind is _LIMIT:
            waits = order.post_only and arrival not in self._settled
            return self.urgent if waits else self._limit(order)
        if order.state in TRIGGERED_STATES:
            return self._limit(order) if kind in LIMITED else self.urgent
        if kind is _TRAILING:
            return self._trail(order) if arrival in self._settled else self.urgent
        return (self._stops if kind in STOPS else self._touched)[order.side]

    def _limit(self, order: Order) -> Ladder:
        return self._limits[order.side, (order.fill_settings or self._settings).fill_on_touch]

    def _trail(self, order: Order) -> Trail:
        key = order.side, order.trailing_percent is not None, stated(order.fill_settings or self._settings)
        if key not in self._trails:
            self._trails[key] = Trail(*key, self.instrument.price_increment)
        return self._trails[key]

    def _entry(self, ladder: Ladder, order: Order, arrival: int) -> tuple[float, int]:
        kind = order.order_type
        waits = kind is not _LIMIT and order.state not in TRIGGERED_STATES
        return ladder.sign * float((order.stop_price if waits else order.limit_price) or 0), arrival


def _closing_row(index: TapeIndex, source: int, row: int, edges: Edges) -> int:
    """The next bar from ``row`` on that ends as the session does; NEVER, or the close, where there is none."""
    closes, time = edges.closing(row)
    if closes == NEVER:
        return edges.next_row(row, opens=True)
    found = index.next_row(source, max(row, index.before(time)))
    return min(found, closes)


def _next_of(index: TapeIndex, source: int, begin: int, end: int, watches: list[Watch]) -> int:
    rows = index.rows(source)
    first, last = rows.searchsorted((begin, max(begin, end))).tolist()
    kind, step = index.kinds[source], _FIRST_SPAN
    while first < last:
        part = rows[first : min(first + step, last)]
        hit = np.zeros(len(part), np.bool_)
        for side, sign, inclusive, price in watches:
            extreme = index.tape.values[part, column_of(kind, side, sign > 0)]
            if sign > 0:
                hit |= extreme >= price if inclusive else extreme > price
            else:
                hit |= extreme <= -price if inclusive else extreme < -price
        if hit.any():
            return int(part[hit.argmax()])
        first, step = first + step, min(step * 4, _LONGEST_SPAN)
    return NEVER
