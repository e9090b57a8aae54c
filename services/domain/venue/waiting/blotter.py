"""The venue's open orders, where each waits, and what each portfolio can spend; whatever happens to one happens here.

The lifecycle table is asked at each event, so an illegal one changes nothing (rule 6).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.events import When, event_of
from services.domain.orders.lifecycle import check_transition
from services.domain.orders.lists import paired
from services.domain.orders.order import (
    TERMINAL,
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    Reservation,
    Side,
    TimeInForce,
    reserved_together,
)
from services.domain.tape_index import NEVER, TapeIndex
from services.domain.values import new, place_of
from services.domain.venue.offers.fills import cash_moved
from services.domain.venue.waiting.groups import Groups
from services.domain.venue.waiting.ladder import Entries
from services.domain.venue.waiting.positions import Holder, Positions
from services.domain.venue.waiting.resting import Book
from services.domain.venue.waiting.shorts import Shorts

# Bound once, for what every order passes (see ``ledger``).
_BUY, _TRADE, _HELD, _FILLED = Side.BUY, ExecType.TRADE, OrderState.HELD, OrderState.FILLED
# Where what a fill changes begins, what any event may, and what a venue's order always has otherwise than a new one.
_CUM, _RESERVATION, _STATE = place_of(Order, "cum_quantity", "reservation", "state")
_STAYING = frozenset({TimeInForce.GTC, TimeInForce.GTD})
_SLACK = 64
"""Numbers of finished orders that may stay in the queue, beside as many as there are open ones."""


class Blotter:
    """Open orders by arrival number, which is their priority: in time order, and anew for one that goes to the back.

    A new one is one more than the highest of the open orders, so that orders taken back go on with the same numbers.

    Attributes:
        orders: by arrival number, in that order.
        books: by symbol, the orders that wait for a price or a record.
        timed: by (calendar, opens), the arrivals that this session edge concerns.
        expiries: (market time in ns, arrival) of the GTD orders.
        headroom: by portfolio, cash that buys may use beyond their reservations (rule 19).
        positions: what the fills made.
        shorts: what of them is held as collateral.
        changed: symbols whose books changed since the owner last cleared it.
    """

    def __init__(self, instruments: Mapping[str, Instrument], settings: VenueSettings) -> None:
        self._instruments, self._settings = instruments, settings
        self._arrivals: dict[str, int] = {}
        self._queue: list[int] = []
        self._lists, self._holders = Groups[str](), Groups[Holder]()
        self._awaiting: set[int] = set()
        self.orders: dict[int, Order] = {}
        self.books: dict[str, Book] = {}
        self.timed: dict[tuple[str, bool], dict[int, None]] = {}
        self.expiries = Entries()
        self.headroom: dict[str, Decimal] = {}
        self.positions = Positions(instruments)
        self.shorts = Shorts(instruments, self._open_of)
        self.changed: set[str] = set()

    def read(self, index: TapeIndex) -> None:
        """From now on orders meet the records of this tape."""
        self.positions.index = index
        for book in self.books.values():
            book.read(index)

    def arrival(self, order_id: str) -> int | None:
        """An open order's arrival number; None if it isn't open."""
        return self._arrivals.get(order_id)

    def order(self, order_id: str) -> Order | None:
        """An open order; None if it isn't open."""
        arrival = self._arrivals.get(order_id)
        return None if arrival is None else self.orders[arrival]

    def instrument(self, symbol: str) -> Instrument:
        """What a symbol names."""
        return self._instruments[symbol]

    def twin(self, order: Order) -> Order | None:
        """The open order of which no more can fill than of this one, both together; None where it has none."""
        if paired(order):
            for other in self.members(order):
                if other.parent_order_id == order.parent_order_id and other.order_id != order.order_id:
                    return other
        return None

    def children(self, order: Order) -> list[Order]:
        """The open orders whose parent this one is."""
        return [other for other in self.members(order) if other.parent_order_id == order.order_id]

    def restore(self, orders: Iterable[Order]) -> None:
        """Take open orders as they are, by priority; those that have none come last, in the order given.

        Raises:
            ValueError: one is here already.
        """
        known = sorted(orders, key=lambda each: each.priority or NEVER)
        last = max([self.last_place() - 1, *(order.priority for order in known)])
        for place, order in enumerate(known):
            if not order.priority:
                last += 1
                known[place] = order._replace(priority=last)
        # Who waits for a parent must find it.
        for order in sorted(known, key=lambda each: bool(each.parent_order_id)):
            self._take_in(order)
        self.orders = dict(sorted(self.orders.items()))
        self._queue = list(self.orders)

    def accept(self, order: Order, exec_type: ExecType, state: OrderState, when: tuple[int, int]) -> OrderEvent:
        """A checked order arrives, NEW or HELD; its verdict states its portfolio's headroom.

        Raises:
            ValueError: it is here already.
        """
        check_transition(order.state, exec_type, state)
        after = new(Order, (*order[:_STATE], state, order.quantity, order.event_count + 1, self.last_place()))
        self._take_in(after)
        if self.shorts:
            twin = self.twin(after)
            self.shorts.claim((twin,), (after, twin))
        self.headroom[order.portfolio_id] = order.reservation.headroom
        return event_of(exec_type, after, when)

    def change(self, arrival: int, exec_type: ExecType, after: Order, when: When) -> OrderEvent:
        """``after`` takes its order's place: a state, a split, new terms."""
        return event_of(exec_type, self._replace(arrival, exec_type, after), when)

    def replace(self, arrival: int, after: Order, reservation: Reservation | None, when: When) -> OrderEvent:
        """``after`` takes its order's place on new terms; a verdict on them states its portfolio's headroom."""
        stated = None if reservation is None else reservation.headroom
        return event_of(ExecType.REPLACED, self._replace(arrival, ExecType.REPLACED, after, stated=stated), when)

    def end(self, arrival: int, exec_type: ExecType, reason: CancelReason, when: When) -> OrderEvent:
        """The order is CANCELED or EXPIRED with what is left of it."""
        state = OrderState.EXPIRED if exec_type is ExecType.EXPIRED else OrderState.CANCELED
        after = self.orders[arrival]._replace(state=state, leaves_quantity=ZERO, cancel_reason=reason)
        return self.change(arrival, exec_type, after, when)

    def trade(self, arrival: int, after: Order, price: Decimal, when: When) -> OrderEvent:
        """The order is filled; its cost or proceeds move the headroom, and so does the collateral of a short."""
        before = self.orders[arrival]
        check_transition(before.state, _TRADE, after.state)
        quantity, commission = after.cum_quantity - before.cum_quantity, after.commission - before.commission
        kept = after.commission_quantity - before.commission_quantity
        signed = quantity - kept if before.side is _BUY else -quantity
        holder = (before.portfolio_id, before.symbol)
        units, gained = self.positions.units(holder, when.sequence), cash_moved(before, after)
        gained -= self.shorts.trade(before, signed, price, units)
        self.positions.trade(holder, signed, when.sequence)
        filled = self._replace(arrival, _TRADE, after, gained)
        return event_of(_TRADE, filled, when, (quantity, price, commission, kept))

    def follow(self, holder: Holder, units: Decimal, collateral: Decimal) -> None:
        """Count what is held against a short from here on; its splits are met, whether or not an order waits."""
        self._book(holder[1])
        self.changed.add(holder[1])
        self.shorts.follow(holder, units, collateral)

    def finish(
        self, order: Order, price: Decimal, gross: Decimal, headroom: Decimal, when: tuple[int, int]
    ) -> OrderEvent:
        """An order that any record concerns is filled whole, at no cost; its portfolio has so much headroom then."""
        check_transition(order.state, _TRADE, _FILLED)
        quantity, (cash, units, _, fee, margin) = order.leaves_quantity, order.reservation
        reservation = new(Reservation, (cash, units, headroom, fee, margin))
        arrival, holder = order.priority, (order.portfolio_id, order.symbol)
        figures = (quantity, price, gross, ZERO, ZERO, reservation, _FILLED, ZERO, order.event_count + 1, arrival)
        self.headroom[order.portfolio_id] = headroom
        self.positions.trade(holder, quantity if order.side is _BUY else -quantity, when[0])
        self.books[order.symbol].leave(arrival)
        self._forget(arrival, order)
        self._holders.remove(holder, order.order_id)
        del self.orders[arrival], self._arrivals[order.order_id]
        return event_of(_TRADE, new(Order, order[:_CUM] + figures), when, (quantity, price, ZERO, ZERO))

    def last_place(self) -> int:
        """The priority behind all open orders."""
        queue, orders = self._queue, self.orders
        while queue:
            if (last := queue[-1]) in orders:
                return last + 1
            queue.pop()
        return 1

    def _replace(
        self, arrival: int, exec_type: ExecType, after: Order, gained: Decimal = ZERO, stated: Decimal | None = None
    ) -> Order:
        """``after`` takes its order's place; what it no longer reserves, and what was ``gained``, move the headroom.

        So does what of a short's collateral then pays for open orders. Or the headroom is what a verdict ``stated``.
        """
        before = self.orders[arrival]
        check_transition(before.state, exec_type, after.state)
        freed = self._freed(before, after)
        headroom = self.headroom[before.portfolio_id] + gained + freed if stated is None else stated
        self.headroom[before.portfolio_id] = headroom
        (cash, units, _, *rest), state, count = after.reservation, after.state, before.event_count + 1
        reservation = new(Reservation, (cash, units, headroom, *rest))
        figures = (reservation, state, after.leaves_quantity, count, after.priority)
        after = new(Order, after[:_RESERVATION] + figures)
        self._take(arrival, before)
        if state in TERMINAL:
            del self.orders[arrival], self._arrivals[after.order_id]
            self._holders.remove((after.portfolio_id, after.symbol), after.order_id)
            if after.order_list_id:
                self._lists.remove(after.order_list_id, after.order_id)
        elif after.priority == arrival:
            self._put(arrival, after)
        else:
            del self.orders[arrival], self._arrivals[after.order_id]
            self._take_in(after)
        return after

    def _freed(self, before: Order, after: Order) -> Decimal:
        """What an order's change releases of what it reserved, less what a short's collateral then pays no more."""
        twin = self.twin(before) if before.order_list_id else None
        released = reserved_together(before, twin) - reserved_together(after, twin)
        return released - self.shorts.claim((before, twin), (after, twin)) if self.shorts else released

    def _take_in(self, order: Order) -> None:
        arrival, queue = order.priority, self._queue
        if order.order_id in self._arrivals:
            raise ValueError(f"order {order.order_id} is here already")
        self._arrivals[order.order_id] = arrival
        queue.append(arrival)
        self._put(arrival, order)
        if len(queue) > 2 * len(self.orders) + _SLACK:
            self._queue = list(self.orders)
        self._holders.add((order.portfolio_id, order.symbol), order.order_id)
        if order.order_list_id:
            self._lists.add(order.order_list_id, order.order_id)

    def members(self, order: Order) -> list[Order]:
        """The open orders of its list, by priority."""
        return self._named(self._lists.of(order.order_list_id))

    def _open_of(self, holder: Holder) -> list[Order]:
        return self._named(self._holders.of(holder))

    def _named(self, ids: Iterable[str]) -> list[Order]:
        return [self.orders[arrival] for arrival in sorted(self._arrivals[order_id] for order_id in ids)]

    def _put(self, arrival: int, order: Order) -> None:
        symbol, held = order.symbol, order.state is _HELD
        self.orders[arrival] = order
        book = self._book(symbol)
        if not held:
            book.add(order, arrival)
        if held and order.parent_order_id in self._arrivals:
            self._awaiting.add(arrival)
        elif held or order.time_in_force not in _STAYING:
            self.timed.setdefault(self._edge(order), {})[arrival] = None
        if order.expire_time:
            self.expiries.add((order.expire_time, arrival))
        self.changed.add(symbol)

    def _book(self, symbol: str) -> Book:
        book = self.books.get(symbol)
        if book is None:
            book = self.books[symbol] = Book(self._instruments[symbol], self._settings)
            if self.positions.index is not None:
                book.read(self.positions.index)
        return book

    def _take(self, arrival: int, order: Order) -> None:
        if order.state is not _HELD:
            self.books[order.symbol].remove(order, arrival)
        self._forget(arrival, order)

    def _forget(self, arrival: int, order: Order) -> None:
        if arrival in self._awaiting:
            self._awaiting.remove(arrival)
        elif order.time_in_force not in _STAYING or order.state is _HELD:
            del self.timed[self._edge(order)][arrival]
        if order.expire_time:
            self.expiries.remove((order.expire_time, arrival))
        self.changed.add(order.symbol)

    def _edge(self, order: Order) -> tuple[str, bool]:
        """The session edge (calendar, opens) it awaits: HELD waits for the open, all but GTC and GTD end at a close.

        One that waits for its parent awaits none: how long it works counts from when that releases it.
        """
        return self._instruments[order.symbol].calendar, order.state is _HELD
