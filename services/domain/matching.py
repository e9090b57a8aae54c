"""The paper venue of one environment: orders meet bars, quotes and trades (rules 7 to 15, 19 and 20).

The venue stands at a position of a tape. ``accept``, ``refuse`` and ``cancel`` act at that position; ``advance`` moves it.
Its whole state is its open orders, each portfolio's headroom and the position: sessions and marks are read off the tape,
so a venue rebuilt by ``prime`` and ``restore`` cannot differ from one that ran through.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any, NamedTuple, Protocol

from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places, decimal_of, floor_to, snap
from services.domain.order import (
    TERMINAL,
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
    check_transition,
    reserved_cash,
)
from services.domain.resting import TRIGGERED_STATES, Book, Prices, prices_of
from services.domain.tape import Kind, Source, Tape
from services.domain.tape_index import NEVER, TapeIndex

MARKET_CLOSED = "MARKET_CLOSED"
"""Reason of the refusal of an order that cannot wait for the session."""

_HANDED = frozenset({OrderState.HELD, OrderState.NEW})


class Commission(Protocol):
    """What a fill costs beyond its price. Never less for more units."""

    def charge(self, quantity: Decimal, price: Decimal) -> Decimal:
        """The commission, in the instrument's currency."""
        ...


class NoCommission:
    """Trading for nothing."""

    def charge(self, quantity: Decimal, price: Decimal) -> Decimal:
        return ZERO


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """How the venue fills.

    Attributes:
        fill_on_touch: a limit fills when its price was touched; default: only when it was passed (rule 9).
        volume_share: most of a record's size or volume that all orders together get; None for no limit (rule 11).
            A source whose size columns are all zero states no sizes and limits nothing; in any other a zero fills nothing.
        latency: ns from the decision until an order is live (rule 12).
        hold_day_orders: DAY orders outside their session wait HELD for the open; else they are refused (rule 15).
    """

    fill_on_touch: bool = False
    volume_share: Decimal | None = Decimal("0.10")
    latency: int = 0
    hold_day_orders: bool = True
    commission: Commission = field(default_factory=NoCommission)


class Attempt(NamedTuple):
    """How an order stands in a record. Attempts sort by price, then time, the way orders get their share of it.

    At the record's first price come first what needs no price (0), stops it jumped (1), limits it bettered, the best
    first (2); then, inside a bar, what prices reached, the nearest to the open first (3); last what was not reached (4).
    """

    group: int
    distance: float
    arrival: int

    @property
    def at_first(self) -> bool:
        return self.group <= 2

    @property
    def reached(self) -> bool:
        return self.group <= 3


def attempt(order: Order, arrival: int, prices: Prices, fill_on_touch: bool) -> Attempt:
    """What ``prices`` let ``order`` do (rules 8 and 9). Pure: liveness, sessions and sizes are the caller's."""
    first = prices.first
    if order.order_type is OrderType.MARKET or order.state in TRIGGERED_STATES and order.order_type is OrderType.STOP:
        return Attempt(0, 0.0, arrival)
    rising = order.side is Side.BUY
    if order.order_type is OrderType.STOP:
        trigger = float(order.stop_price or 0)
        if first >= trigger if rising else first <= trigger:
            return Attempt(1, 0.0, arrival)
        if prices.high >= trigger if rising else prices.low <= trigger:
            return Attempt(3, abs(first - trigger), arrival)
        return Attempt(4, 0.0, arrival)
    limit = float(order.limit_price or 0)
    if (first < limit if rising else first > limit) or (fill_on_touch and first == limit):
        return Attempt(2, -abs(first - limit), arrival)
    extreme = prices.low if rising else prices.high
    if (extreme < limit if rising else extreme > limit) or (fill_on_touch and extreme == limit):
        return Attempt(3, abs(first - limit), arrival)
    return Attempt(4, 0.0, arrival)


@dataclass(slots=True)
class Moment:
    """The record being met: its sequence, its times (ns), and the units of it still to be had by either side."""

    sequence: int
    start: int
    time: int
    prices: dict[Side, Prices]
    units: dict[Side, Decimal | None]
    shared: bool

    def take(self, side: Side, quantity: Decimal) -> None:
        """Uses up units: a bar's volume and a trade's size are one supply for both sides, a quote's are two."""
        for each in Side if self.shared else (side,):
            if (left := self.units[each]) is not None:
                self.units[each] = left - quantity


class Venue:
    """The orders of one environment and what becomes of them.

    Every call returns the events it made, in order. The tape must be the whole one, or a prefix that holds every record
    of the times asked about: the timetable and whether a source has sizes are read off it.
    """

    def __init__(self, instruments: Mapping[str, Instrument], settings: VenueSettings | None = None) -> None:
        self._instruments = instruments
        self._settings = settings or VenueSettings()
        self._index: TapeIndex | None = None
        self._position = 0
        self._orders: dict[int, Order] = {}
        self._arrivals: dict[str, int] = {}
        self._arrived = 0
        self._headroom: dict[str, Decimal] = {}
        self._books: dict[str, Book] = {}
        self._next_rows: dict[str, int] = {}
        self._timed: dict[tuple[str, bool], dict[int, None]] = {}
        self._quiet_until = -1

    # What is here.

    @property
    def position(self) -> int:
        """The tape sequence the venue stands at."""
        return self._position

    @property
    def headroom(self) -> dict[str, Decimal]:
        """By portfolio: cash that market fills may use beyond their reservations (rule 19)."""
        return dict(self._headroom)

    def open_orders(self) -> list[Order]:
        """The orders that are not finished, in the order they were accepted."""
        return list(self._orders.values())

    def order(self, order_id: str) -> Order | None:
        """An open order by its id; None if there is none."""
        return self._orders.get(self._arrivals.get(order_id, -1))

    def reference_price(self, symbol: str, side: Side = Side.BUY) -> Decimal | None:
        """The last price at the position, snapped to the increment; of a quote the ask for buys, the bid for sells."""
        price = self._index.last_price(symbol, side, self._position) if self._index else None
        if price is None:
            return None
        increment = self._instruments[symbol].price_increment
        return max(increment, snap(decimal_of(price), increment))

    # Where it stands.

    def prime(self, tape: Tape, through: int) -> None:
        """Stand at ``through`` without meeting the records before it: history, or what was met before a restart."""
        self._observe(tape)
        self._position = through
        self._forget_rows()

    def restore(self, orders: Iterable[Order], headroom: Mapping[str, Decimal]) -> None:
        """Take back open orders, in the order they were accepted, as they were after their last event."""
        self._headroom.update(headroom)
        for order in orders:
            self._admit(order)

    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]:
        """Meet the records after ``after`` up to ``through``, stopping after the first that makes an event.

        Returns:
            The position reached and that record's events; no events when ``through`` was reached.

        Raises:
            ValueError: ``after`` is not where the venue stands; ``prime`` is for that.
        """
        self._observe(tape)
        if after != self._position:
            raise ValueError(f"the venue stands at {self._position}, not {after}")
        through = min(through, len(tape))
        while (row := self._next_row(through)) < through:
            self._position = row + 1
            if events := self._meet(row):
                return row + 1, events
        self._position = max(after, through)
        return self._position, []

    # Commands.

    def accept(self, order: Order, at: int, time: int) -> list[OrderEvent]:
        """Take a checked order in: NEW, HELD for its session, or REJECTED because it can't wait (IOC, rule 15).

        Raises:
            ValueError: the order lacks the price its type needs, or states not exactly one quantity, or is here already.
            KeyError: its symbol is unknown.
        """
        _check_shape(order)
        if order.order_id in self._arrivals:
            raise ValueError(f"order {order.order_id} is here already")
        calendar = self._instruments[order.symbol].calendar
        state, exec_type = OrderState.NEW, ExecType.NEW
        if not self._in_session(calendar, at, time):
            if order.time_in_force is TimeInForce.IOC or self._refuses_day(order):
                return self.refuse(order, Refusal(MARKET_CLOSED, "session", ZERO, ZERO), at, time)
            if order.time_in_force is TimeInForce.DAY:
                state, exec_type = OrderState.HELD, ExecType.HELD
        check_transition(order.state, exec_type, state)
        self._headroom[order.portfolio_id] = order.reservation.headroom
        after = replace(order, state=state, leaves_quantity=order.quantity, event_count=order.event_count + 1)
        self._admit(after)
        return [OrderEvent(f"{order.order_id}-{after.event_count}", exec_type, after, time, at)]

    def refuse(self, order: Order, refusal: Refusal, at: int, time: int) -> list[OrderEvent]:
        """Record a refused order: REJECTED, with the bound it hit and without a reservation."""
        check_transition(order.state, ExecType.REJECTED, OrderState.REJECTED)
        count = order.event_count + 1
        after = replace(order, state=OrderState.REJECTED, refusal=refusal, event_count=count)
        return [OrderEvent(f"{order.order_id}-{count}", ExecType.REJECTED, after, time, at)]

    def cancel(
        self, order_id: str, at: int, time: int, reason: CancelReason = CancelReason.REQUESTED
    ) -> list[OrderEvent]:
        """Cancel what is left of an order; nothing when it isn't open: a fill was first, or it was never here."""
        arrival = self._arrivals.get(order_id)
        return [] if arrival is None else [self._end(arrival, ExecType.CANCELED, reason, at, time)]

    def expire_all(self, at: int, time: int) -> list[OrderEvent]:
        """The tape has ended: no order will meet another record (rule 33)."""
        return [self._end(arrival, ExecType.EXPIRED, CancelReason.END_OF_TAPE, at, time) for arrival in list(self._orders)]

    # The walk: rows before _quiet_until cannot concern any order as they are now.

    def _observe(self, tape: Tape) -> None:
        if self._index is None or self._index.tape is not tape:
            self._index = TapeIndex(tape)
            self._forget_rows()

    def _forget_rows(self) -> None:
        self._next_rows = dict.fromkeys(self._next_rows, -1)
        self._quiet_until = -1

    def _next_row(self, through: int) -> int:
        """The first row from the position on that may concern an order; some row at or after ``through`` if none."""
        row = self._position
        if self._quiet_until > row:
            return self._quiet_until
        assert self._index is not None
        soonest = NEVER
        for symbol, known in self._next_rows.items():
            if known < row:
                calendar = self._instruments[symbol].calendar
                found = self._books[symbol].next_row(self._index, row, calendar, through)
                known = self._next_rows[symbol] = min(found, self._index.next_split(symbol, row))
            soonest = min(soonest, known)
        for (calendar, opens), waiting in self._timed.items():
            if waiting:
                soonest = min(soonest, self._index.edges(calendar).next_row(row, opens))
        self._quiet_until = soonest
        return soonest

    def _meet(self, row: int) -> list[OrderEvent]:
        assert self._index is not None
        tape = self._index.tape
        source = int(tape.source[row])
        name, values = tape.sources[source], tape.values[row].tolist()
        match name.kind:
            case Kind.CLOCK:
                return self._clock(name.symbol, values[0] == 1.0, row + 1, int(tape.time[row]))
            case Kind.SPLIT:
                ratio = decimal_of(values[0]) / decimal_of(values[1])
                return self._split(name.symbol, ratio, row + 1, int(tape.time[row]))
            case _:
                return self._match(row, source, name, values) if name.symbol in self._books else []

    def _clock(self, calendar: str, opens: bool, at: int, time: int) -> list[OrderEvent]:
        events = []
        for arrival in list(self._timed.get((calendar, opens), ())):
            order = self._orders[arrival]
            if opens:
                events.append(self._change(arrival, ExecType.NEW, at, time, state=OrderState.NEW))
            elif order.time_in_force is TimeInForce.IOC:
                events.append(self._end(arrival, ExecType.CANCELED, CancelReason.IOC_REMAINDER, at, time))
            else:
                events.append(self._end(arrival, ExecType.EXPIRED, CancelReason.END_OF_SESSION, at, time))
        return events

    def _split(self, symbol: str, ratio: Decimal, at: int, time: int) -> list[OrderEvent]:
        instrument = self._instruments.get(symbol)
        events: list[OrderEvent] = []
        for arrival, order in list(self._orders.items()):
            if order.symbol != symbol or instrument is None:
                continue
            changes = _restated(order, ratio, instrument)
            if order.quantity and not changes["leaves_quantity"]:
                events.append(self._end(arrival, ExecType.CANCELED, CancelReason.CORPORATE_ACTION, at, time))
            else:
                events.append(self._change(arrival, ExecType.RESTATED, at, time, state=order.state, **changes))
        return events

    # The match.

    def _match(self, row: int, source: int, name: Source, values: list[float]) -> list[OrderEvent]:
        assert self._index is not None
        tape, instrument = self._index.tape, self._instruments[name.symbol]
        start, time = int(tape.start[row]), int(tape.time[row])
        if not self._in_session(instrument.calendar, row, start):
            return []
        prices = {side: prices_of(name.kind, values, side) for side in Side}
        attempts = []
        for arrival in self._books[name.symbol].reached(prices[Side.BUY], prices[Side.SELL]):
            order = self._orders[arrival]
            live = order.basis_sequence <= row and start >= order.basis_time + self._settings.latency
            # A side of a quote that nobody takes has no price.
            if live and prices[order.side].first > 0:
                attempts.append(attempt(order, arrival, prices[order.side], self._settings.fill_on_touch))
        if not attempts:
            return []
        units = self._units(source, name.kind, values, instrument)
        moment = Moment(row + 1, start, time, prices, units, name.kind is not Kind.QUOTE)
        return [event for each in sorted(attempts) for event in self._try(each, moment)]

    def _units(self, source: int, kind: Kind, values: list[float], instrument: Instrument) -> dict[Side, Decimal | None]:
        assert self._index is not None
        share = self._settings.volume_share
        if share is None or not self._index.sized(source):
            return {Side.BUY: None, Side.SELL: None}
        bought, sold = {Kind.BAR: (4, 4), Kind.QUOTE: (3, 2)}.get(kind, (1, 1))
        return {
            side: floor_to(share * decimal_of(values[column]), instrument.quantity_increment)
            for side, column in ((Side.BUY, bought), (Side.SELL, sold))
        }

    def _try(self, how: Attempt, moment: Moment) -> list[OrderEvent]:
        """One order meets the record: triggered, filled as far as units and cash go, ended where it may not wait."""
        arrival, at = how.arrival, moment.sequence
        time = moment.start if how.at_first else moment.time
        order, events = self._orders[arrival], []
        if how.reached:
            instrument = self._instruments[order.symbol]
            price = snap(decimal_of(moment.prices[order.side].first), instrument.price_increment)
            if not how.at_first:
                price = order.stop_price or order.limit_price or price
            if order.order_type is OrderType.STOP and order.state is OrderState.NEW:
                events.append(self._change(arrival, ExecType.TRIGGERED, at, time, state=OrderState.TRIGGERED))
            events += self._fill(arrival, price, instrument, moment, time)
        if arrival in self._orders and order.time_in_force is TimeInForce.IOC:
            events.append(self._end(arrival, ExecType.CANCELED, CancelReason.IOC_REMAINDER, at, time))
        return events

    def _fill(
        self, arrival: int, price: Decimal, instrument: Instrument, moment: Moment, time: int
    ) -> list[OrderEvent]:
        order, step, at = self._orders[arrival], instrument.quantity_increment, moment.sequence
        unit_cost = price * instrument.contract_multiplier
        leaves = order.leaves_quantity
        if order.cash_quantity is not None:
            leaves = _units_for(order.cash_quantity - order.gross_amount, unit_cost, step)
        units = moment.units[order.side]
        quantity = leaves if units is None else min(leaves, units)
        if leaves and not quantity:
            return []
        filled = self._filled(order, quantity, leaves, price, unit_cost)
        affordable = True
        if order.side is Side.BUY:
            headroom = self._headroom[order.portfolio_id]
            cost = filled.gross_amount - order.gross_amount + filled.commission - order.commission
            affordable = cost <= reserved_cash(order) - reserved_cash(filled) + headroom
            if not affordable:
                spendable = reserved_cash(order) + headroom - self._settings.commission.charge(quantity, price)
                quantity = min(quantity, _units_for(spendable, unit_cost, step))
                filled = self._filled(order, quantity, leaves, price, unit_cost)
        events = []
        if quantity:
            moment.take(order.side, quantity)
            events.append(self._trade(arrival, filled, quantity, price, at, time))
        if arrival in self._orders and (not quantity or not affordable):
            events.append(self._end(arrival, ExecType.CANCELED, CancelReason.INSUFFICIENT_CASH, at, time))
        return events

    def _filled(self, order: Order, quantity: Decimal, leaves: Decimal, price: Decimal, unit_cost: Decimal) -> Order:
        """``order`` after a fill of ``quantity`` of its ``leaves``."""
        cum = order.cum_quantity + quantity
        gross = order.gross_amount + quantity * unit_cost
        return replace(
            order,
            state=OrderState.FILLED if quantity == leaves else OrderState.PARTIALLY_FILLED,
            quantity=order.cum_quantity + leaves,
            cum_quantity=cum,
            leaves_quantity=leaves - quantity,
            gross_amount=gross,
            avg_price=at_most_places(gross * price / (cum * unit_cost), 9) if cum else ZERO,
            commission=order.commission + self._settings.commission.charge(quantity, price),
        )

    def _trade(
        self, arrival: int, filled: Order, quantity: Decimal, price: Decimal, at: int, time: int
    ) -> OrderEvent:
        before = self._orders[arrival]
        proceeds = filled.gross_amount - before.gross_amount
        cash = before.commission - filled.commission
        if before.side is Side.BUY:
            cash -= proceeds
        elif not before.reservation.cash:
            # A sale that reserved cash opens a short, at least in part: its proceeds are collateral (rule 19). The next
            # verdict states the headroom anew, so leaving them out can only be too careful, never too free.
            cash += proceeds
        self._headroom[before.portfolio_id] += cash
        return self._replace(
            arrival, filled, ExecType.TRADE, at, time, quantity, price, filled.commission - before.commission
        )

    # Bookkeeping: every event passes through _replace.

    def _change(self, arrival: int, exec_type: ExecType, at: int, time: int, **changes: Any) -> OrderEvent:
        return self._replace(arrival, replace(self._orders[arrival], **changes), exec_type, at, time)

    def _end(self, arrival: int, exec_type: ExecType, reason: CancelReason, at: int, time: int) -> OrderEvent:
        state = OrderState.EXPIRED if exec_type is ExecType.EXPIRED else OrderState.CANCELED
        return self._change(arrival, exec_type, at, time, state=state, leaves_quantity=ZERO, cancel_reason=reason)

    def _replace(
        self,
        arrival: int,
        after: Order,
        exec_type: ExecType,
        at: int,
        time: int,
        last_quantity: Decimal = ZERO,
        last_price: Decimal = ZERO,
        last_commission: Decimal = ZERO,
    ) -> OrderEvent:
        before = self._orders[arrival]
        check_transition(before.state, exec_type, after.state)
        self._headroom[before.portfolio_id] += reserved_cash(before) - reserved_cash(after)
        reservation = replace(after.reservation, headroom=self._headroom[before.portfolio_id])
        after = replace(after, reservation=reservation, event_count=before.event_count + 1)
        self._leave(before, arrival)
        if after.state in TERMINAL:
            del self._orders[arrival], self._arrivals[after.order_id]
        else:
            self._orders[arrival] = after
            self._enter(after, arrival)
        exec_id = f"{after.order_id}-{after.event_count}"
        return OrderEvent(exec_id, exec_type, after, time, at, last_quantity, last_price, last_commission)

    def _admit(self, order: Order) -> None:
        self._arrived += 1
        self._orders[self._arrived] = order
        self._arrivals[order.order_id] = self._arrived
        self._enter(order, self._arrived)

    def _enter(self, order: Order, arrival: int) -> None:
        book = self._books.get(order.symbol)
        if book is None:
            book = self._books[order.symbol] = Book(order.symbol, self._settings.fill_on_touch)
        if order.state is not OrderState.HELD:
            book.add(order, arrival)
        if (edge := self._edge(order)) is not None:
            self._timed.setdefault(edge, {})[arrival] = None
        self._next_rows[order.symbol] = self._quiet_until = -1

    def _leave(self, order: Order, arrival: int) -> None:
        if order.state is not OrderState.HELD:
            self._books[order.symbol].remove(order, arrival)
        if (edge := self._edge(order)) is not None:
            del self._timed[edge][arrival]
        self._next_rows[order.symbol] = self._quiet_until = -1

    def _edge(self, order: Order) -> tuple[str, bool] | None:
        """The session edge (calendar, opens) that concerns the order: HELD waits for the open, DAY and IOC end by the close."""
        if order.time_in_force is TimeInForce.GTC:
            return None
        return self._instruments[order.symbol].calendar, order.state is OrderState.HELD

    def _in_session(self, calendar: str, position: int, start: int) -> bool:
        return self._index is None or self._index.edges(calendar).admits(position, start)

    def _refuses_day(self, order: Order) -> bool:
        return order.time_in_force is TimeInForce.DAY and not self._settings.hold_day_orders


def _check_shape(order: Order) -> None:
    if (order.quantity > 0) is (order.cash_quantity is not None):
        raise ValueError("an order states either a quantity or a cash_quantity")
    if (order.order_type is OrderType.LIMIT) is (order.limit_price is None):
        raise ValueError("limit_price is for LIMIT orders, which need it")
    if (order.order_type is OrderType.STOP) is (order.stop_price is None):
        raise ValueError("stop_price is for STOP orders, which need it")


def _units_for(cash: Decimal, unit_cost: Decimal, step: Decimal) -> Decimal:
    """The most units, in whole steps, that ``cash`` pays."""
    return max(ZERO, cash // (unit_cost * step) * step)


def _restated(order: Order, ratio: Decimal, instrument: Instrument) -> dict[str, Any]:
    """What a split of ``ratio`` new units for an old one changes in an order (rule 20)."""

    def units(quantity: Decimal) -> Decimal:
        return floor_to(quantity * ratio, instrument.quantity_increment)

    def price(old: Decimal | None) -> Decimal | None:
        step = instrument.price_increment
        return None if old is None else max(step, snap(old / ratio, step))

    cum, leaves = units(order.cum_quantity), units(order.leaves_quantity)
    return {
        "quantity": cum + leaves,
        "cum_quantity": cum,
        "leaves_quantity": leaves,
        "avg_price": at_most_places(order.avg_price / ratio, 9),
        "limit_price": price(order.limit_price),
        "stop_price": price(order.stop_price),
        "reservation": replace(order.reservation, quantity=order.reservation.quantity * ratio),
    }
