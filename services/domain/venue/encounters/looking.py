"""What one record lets each order do, before any of them had its turn (rules 8 to 12)."""

from collections.abc import Iterable
from decimal import Decimal

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.order import TRIGGERED_STATES, Order, OrderType, TimeInForce
from services.domain.prices import Prices
from services.domain.tape import Kind
from services.domain.tape_index import TapeIndex
from services.domain.venue.encounters.sessions import LEFT, begins_session
from services.domain.venue.offers.depth import NOTHING, Offer
from services.domain.venue.offers.paths import along, stated, trail_along
from services.domain.venue.offers.reach import BETTERED, MISSED, Attempt, at_close, attempt, trail
from services.domain.venue.offers.supply import Supply
from services.domain.venue.offers.trailing import best_price
from services.domain.venue.waiting.queues import queues
from services.domain.venue.waiting.resting import Book

_TRAILING, _OPG, _CLS = OrderType.TRAILING_STOP, TimeInForce.OPG, TimeInForce.CLS
_BAR, _TRADE, _AUCTION = Kind.BAR, Kind.TRADE, Kind.AUCTION
_MISSED = Attempt(MISSED, 0.0, 0)


class Look:
    """One record, as orders see it.

    Attributes:
        supply: what there is of it.
        touches: whether what trades at a limit may have used up the queue ahead of it (rule 9).
        refused: arrivals that would trade at once and may not.
        trailed: whether an order began to trail.
    """

    __slots__ = (
        "_ahead",
        "_book",
        "_index",
        "_instrument",
        "_kind",
        "_row",
        "_settings",
        "_start",
        "refused",
        "supply",
        "touches",
        "trailed",
    )

    def __init__(self, index: TapeIndex, row: int, book: Book, settings: VenueSettings, instrument: Instrument) -> None:
        tape, number = index.tape, index.tape.source.item(row)
        self._index, self._row, self._book = index, row, book
        self._kind, self._start = tape.sources[number].kind, tape.start.item(row)
        self._settings, self._instrument = settings, instrument
        step, sized = instrument.quantity_increment, index.sized(number)
        self.supply = Supply(self._kind, tape.values[row].tolist(), sized, step, tape.behind(row))
        self.touches = self._kind is _TRADE and sized and index.shows_queues(instrument.symbol)
        # Of arrivals whose turn is to come, the units before them: a number may be another order's soon after.
        self._ahead: dict[int, Decimal] = {}
        self.refused: dict[int, None] = {}
        self.trailed = False

    def at(self, order: Order, arrival: int) -> Attempt | None:
        """What an order tries, if it is live and its side of the record has a price (rule 12); None if not."""
        live = order.basis_time + order.latency
        prices, tif = self.supply.prices[order.side], order.time_in_force
        if order.basis_sequence > self._row or self._start < live or prices.first <= 0:
            return None
        if tif is _OPG or tif is _CLS:
            prices = self.prices(order)
        if tif is _OPG and self._kind is not _AUCTION and self._index.auctioned(order.symbol, opening=True):
            return None
        if tif is _OPG and not begins_session(self._index, self._row, self._instrument):
            how = _MISSED._replace(arrival=arrival)
        elif order.order_type is _TRAILING and order.state not in TRIGGERED_STATES:
            how = self._at_trail(order, arrival, prices)
        else:
            how = attempt(order, arrival, prices, self.admits_touch(order))
            if self._kind is _BAR and self.path_is_stated(order):
                how = along(how, prices)
            elif how.group == MISSED and self.touches and self._beyond_queue(order, arrival):
                how = how._replace(group=BETTERED)
        if order.post_only and not self._book.settled(arrival):
            met = self._index.met(order.symbol, order.side, self._instrument.calendar)
            crosses = how.group == BETTERED and arrival not in self._ahead
            if crosses and not met.any(order.basis_sequence, self._row, live):
                self.refused[arrival] = None
            self._book.settle(order, arrival)
        return at_close(how) if tif is _CLS and self._kind is _BAR else how

    def prices(self, order: Order) -> Prices:
        """What an order meets of the record: in its auction one price."""
        prices = self.supply.prices[order.side]
        if order.time_in_force is _OPG:
            return prices.at_first()
        return prices.at_last() if order.time_in_force is _CLS else prices

    def offers(self, order: Order, arrival: int) -> Iterable[Offer]:
        """What there is for an order in its turn, level by level (rules 9 and 11)."""
        found = self.supply.offers(order, self._share(order))
        if (ahead := self._ahead.pop(arrival, None)) is None:
            return found
        beyond = self.supply.beyond(ahead)
        return [Offer(beyond if each.units is None else min(each.units, beyond)) for each in found]

    def goes_on(self, order: Order, offer: Offer, quantity: Decimal) -> bool:
        """Whether there is still something for an order that took ``quantity`` of an offer."""
        if offer.units is None or offer.units > quantity:
            return True
        return offer.price is not None and self.supply.offer(order, self._share(order)) is not NOTHING

    def _share(self, order: Order) -> Decimal | None:
        return (order.fill_settings or self._settings).volume_share

    def admits_touch(self, order: Order) -> bool:
        """Whether a limit's own price will do: an auction trades at its one price with whoever asked for no better."""
        return self._kind is _AUCTION or (order.fill_settings or self._settings).fill_on_touch

    def path_is_stated(self, order: Order) -> bool:
        """Whether it is known which way prices went inside a bar (rule 10)."""
        return stated(order.fill_settings or self._settings)

    def _beyond_queue(self, order: Order, arrival: int) -> bool:
        """Whether more traded at a resting limit's price than was ahead of it."""
        price = self.supply.prices[order.side].first
        if not queues(order) or price != float(order.limit_price or 0):
            return False
        ahead = self._book.queues(self._index).ahead(order, arrival, self._row)
        if ahead is None or ahead >= self.supply.size(order.side):
            return False
        self._ahead[arrival] = ahead
        return True

    def _at_trail(self, order: Order, arrival: int, prices: Prices) -> Attempt:
        step, trails = self._instrument.price_increment, trail_along if self.path_is_stated(order) else trail
        if order.time_in_force in LEFT:
            # It meets one record, or auctions, which have nothing to do with each other.
            return trails(order, arrival, prices, prices.first, step)[0]
        if self._book.settled(arrival):
            return trails(order, arrival, prices, self._book.best(order, arrival), step)[0]
        best = best_price(self._index, order, self._instrument.calendar, self._row)
        how, after = trails(order, arrival, prices, prices.first if best is None else best, step)
        self._book.settle(order, arrival, after)
        self.trailed = True
        return how
