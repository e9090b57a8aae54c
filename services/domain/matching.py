"""The paper venue of one environment: orders meet bars, quotes and trades (rules 7 to 15, 19 and 20).

The venue stands at a position of a tape. ``accept``, ``refuse`` and ``cancel`` act there; ``advance`` moves it on.
Its whole state is its open orders, each portfolio's headroom and the position: sessions and last prices are read off
the tape, so a venue rebuilt by ``prime`` and ``restore`` cannot differ from one that ran through.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal

from services.domain.blotter import Blotter, When, refuse
from services.domain.fills import Attempt, Supply, VenueSettings, attempt, fill, fill_price, restated, supply_of
from services.domain.instrument import Instrument
from services.domain.money import ZERO, decimal_of, snap
from services.domain.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind, Tape
from services.domain.tape_index import NEVER, TapeIndex

__all__ = ["MARKET_CLOSED", "Venue", "VenueSettings"]

MARKET_CLOSED = "MARKET_CLOSED"
"""Reason of the refusal of an order that may not wait for its session."""

_UNKNOWN = -1
# Bound once, for what every order passes (see ``ledger``).
_BUY, _SELL, _NEW, _IOC = Side.BUY, Side.SELL, OrderState.NEW, TimeInForce.IOC
_LIMIT, _STOP, _CLOCK, _SPLIT = OrderType.LIMIT, OrderType.STOP, Kind.CLOCK, Kind.SPLIT


class Venue:
    """The orders of one environment and what becomes of them.

    Every call returns the events it made, in order. A tape handed in must be whole, or a prefix that holds every record
    of the times asked about: the timetable, and whether a source states sizes, are read off it.
    """

    def __init__(self, instruments: Mapping[str, Instrument], settings: VenueSettings | None = None) -> None:
        self._instruments = instruments
        self._settings = settings or VenueSettings()
        self._blotter = Blotter(instruments, self._settings.fill_on_touch)
        self._index: TapeIndex | None = None
        self._position = 0
        # Rows before these concern no order as the orders are now: of each symbol, and of all.
        self._next_rows: dict[str, int] = {}
        self._quiet_until = _UNKNOWN

    @property
    def position(self) -> int:
        """The tape sequence the venue stands at."""
        return self._position

    @property
    def headroom(self) -> dict[str, Decimal]:
        """By portfolio: cash that buys may use beyond their reservations (rule 19)."""
        return dict(self._blotter.headroom)

    def open_orders(self) -> list[Order]:
        """The orders that are not finished, in the order they were accepted."""
        return list(self._blotter.orders.values())

    def order(self, order_id: str) -> Order | None:
        """An open order by its id; None if there is none."""
        arrival = self._blotter.arrival(order_id)
        return None if arrival is None else self._blotter.orders[arrival]

    def reference_price(self, symbol: str, side: Side = Side.BUY) -> Decimal | None:
        """The last price at the position, snapped to the increment; of a quote the ask for buys, the bid for sells."""
        price = self._index.last_price(symbol, side, self._position) if self._index else None
        if price is None:
            return None
        increment = self._instruments[symbol].price_increment
        return max(increment, snap(decimal_of(price), increment))

    def prime(self, tape: Tape, through: int) -> None:
        """Stand at ``through`` without meeting the records before it: history, or what was met before a restart."""
        self._read(tape)
        self._position = through
        self._forget()

    def restore(self, orders: Iterable[Order], headroom: Mapping[str, Decimal]) -> None:
        """Take back open orders, in the order they were accepted, each as it was after its last event."""
        self._blotter.headroom.update(headroom)
        for order in orders:
            self._blotter.restore(order)

    def accept(self, order: Order, at: int, time: int) -> list[OrderEvent]:
        """Take a checked order in: NEW, or HELD for its session, or REJECTED because it may not wait (rule 15).

        An IOC outside its session is refused with MARKET_CLOSED, as exchanges do: it may never rest, and taking it only
        to cancel it would look like a try.

        Raises:
            ValueError: the order lacks the price its type needs, states not one quantity, or is here already.
            KeyError: its symbol is unknown.
        """
        _check_shape(order)
        when, state, exec_type = When(at, time), _NEW, ExecType.NEW
        if not self._in_session(self._instruments[order.symbol].calendar, at, time):
            day = order.time_in_force is TimeInForce.DAY
            if order.time_in_force is _IOC or (day and not self._settings.hold_day_orders):
                return [refuse(order, Refusal(MARKET_CLOSED, "session", ZERO, ZERO), when)]
            if day:
                state, exec_type = OrderState.HELD, ExecType.HELD
        return [self._blotter.accept(order, exec_type, state, when)]

    def refuse(self, order: Order, refusal: Refusal, at: int, time: int) -> list[OrderEvent]:
        """Record an order that a check refused: REJECTED, with the bound it hit."""
        return [refuse(order, refusal, When(at, time))]

    def cancel(
        self, order_id: str, at: int, time: int, reason: CancelReason = CancelReason.REQUESTED
    ) -> list[OrderEvent]:
        """Cancel what is left of an order; nothing where it isn't open: a fill was first, or it was never here."""
        arrival = self._blotter.arrival(order_id)
        return [] if arrival is None else [self._blotter.end(arrival, ExecType.CANCELED, reason, When(at, time))]

    def expire_all(self, at: int, time: int) -> list[OrderEvent]:
        """The tape has ended: no order will meet another record (rule 33)."""
        when, reason = When(at, time), CancelReason.END_OF_TAPE
        return [self._blotter.end(arrival, ExecType.EXPIRED, reason, when) for arrival in list(self._blotter.orders)]

    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]:
        """Meet the records after ``after`` up to ``through``, stopping after the first that makes an event.

        Returns:
            The position reached and that record's events; no events where ``through`` was reached without one.

        Raises:
            ValueError: ``after`` is not where the venue stands; ``prime`` is for that.
        """
        index = self._read(tape)
        if after != self._position:
            raise ValueError(f"the venue stands at {self._position}, not {after}")
        through = min(through, len(tape))
        while (row := self._next_row(index, through)) < through:
            self._position = row + 1
            if events := self._meet(index, row):
                return row + 1, events
        self._position = max(after, through)
        return self._position, []

    def _read(self, tape: Tape) -> TapeIndex:
        if self._index is None or self._index.tape is not tape:
            self._index = TapeIndex(tape)
            self._forget()
        return self._index

    def _forget(self) -> None:
        self._next_rows = dict.fromkeys(self._blotter.books, _UNKNOWN)
        self._quiet_until = _UNKNOWN

    def _next_row(self, index: TapeIndex, through: int) -> int:
        """The first row from the position on that may concern an order; at or after ``through`` where none does."""
        row, blotter = self._position, self._blotter
        if blotter.changed:
            self._next_rows.update(dict.fromkeys(blotter.changed, _UNKNOWN))
            blotter.changed.clear()
        elif self._quiet_until > row:
            return self._quiet_until
        soonest = NEVER
        for symbol, known in self._next_rows.items():
            found = known
            if known < row:
                found = blotter.books[symbol].next_row(index, row, self._instruments[symbol].calendar, through)
                # A book can be empty while an order is HELD, and a split restates that one too.
                found = self._next_rows[symbol] = min(found, index.next_split(symbol, row))
            soonest = min(soonest, found)
        for (calendar, opens), waiting in blotter.timed.items():
            if waiting:
                soonest = min(soonest, index.edges(calendar).next_row(row, opens))
        self._quiet_until = soonest
        return soonest

    def _meet(self, index: TapeIndex, row: int) -> list[OrderEvent]:
        """One record happens. Any row may be asked; one that concerns no order makes no event."""
        source = index.tape.sources[index.tape.source.item(row)]
        values = index.tape.values[row].tolist()
        if source.kind is _CLOCK:
            return self._clock(source.symbol, values[0] == 1.0, When(row + 1, index.tape.time.item(row)))
        if source.kind is _SPLIT:
            ratio = decimal_of(values[0]) / decimal_of(values[1])
            return self._split(source.symbol, ratio, When(row + 1, index.tape.time.item(row)))
        return self._match(index, row, values) if source.symbol in self._blotter.books else []

    def _clock(self, calendar: str, opens: bool, when: When) -> list[OrderEvent]:
        blotter, events = self._blotter, []
        for arrival in sorted(blotter.timed.get((calendar, opens), ())):
            order = blotter.orders[arrival]
            if opens:
                events.append(blotter.change(arrival, ExecType.NEW, order._replace(state=OrderState.NEW), when))
            elif order.time_in_force is TimeInForce.IOC:
                events.append(blotter.end(arrival, ExecType.CANCELED, CancelReason.IOC_REMAINDER, when))
            else:
                events.append(blotter.end(arrival, ExecType.EXPIRED, CancelReason.END_OF_SESSION, when))
        return events

    def _split(self, symbol: str, ratio: Decimal, when: When) -> list[OrderEvent]:
        blotter, events = self._blotter, []
        for arrival, order in list(blotter.orders.items()):
            if order.symbol != symbol:
                continue
            after = restated(order, ratio, self._instruments[symbol])
            if order.leaves_quantity and not after.leaves_quantity:
                events.append(blotter.end(arrival, ExecType.CANCELED, CancelReason.CORPORATE_ACTION, when))
            else:
                events.append(blotter.change(arrival, ExecType.RESTATED, after, when))
        return events

    def _match(self, index: TapeIndex, row: int, values: list[float]) -> list[OrderEvent]:
        """Orders meet a bar, a quote or a trade, by price and time."""
        number = index.tape.source.item(row)
        source, start = index.tape.sources[number], index.tape.start.item(row)
        instrument = self._instruments[source.symbol]
        if not self._in_session(instrument.calendar, row, start):
            return []
        share = self._settings.volume_share if index.sized(number) else None
        supply = supply_of(source.kind, values, share, instrument.quantity_increment)
        attempts = []
        for arrival in self._blotter.books[source.symbol].reached(supply.prices[_BUY], supply.prices[_SELL]):
            order = self._blotter.orders[arrival]
            prices = supply.prices[order.side]
            live = order.basis_sequence <= row and start >= order.basis_time + self._settings.latency
            # A side of a quote that nobody takes has no price.
            if live and prices.first > 0:
                attempts.append(attempt(order, arrival, prices, self._settings.fill_on_touch))
        if not attempts:
            return []
        first, last = When(row + 1, start), When(row + 1, index.tape.time.item(row))
        events = []
        for how in sorted(attempts):
            events += self._try(how, supply, instrument, first if how.at_first else last)
        return events

    def _try(self, how: Attempt, supply: Supply, instrument: Instrument, when: When) -> list[OrderEvent]:
        """One order meets the record: triggered, filled as far as units and cash go, ended where it may not wait."""
        blotter, arrival, events = self._blotter, how.arrival, []
        order = blotter.orders[arrival]
        if how.reached:
            if order.order_type is _STOP and order.state is _NEW:
                triggered = order._replace(state=OrderState.TRIGGERED)
                events.append(blotter.change(arrival, ExecType.TRIGGERED, triggered, when))
                order = blotter.orders[arrival]
            price = fill_price(order, how, supply.prices[order.side], instrument)
            units, headroom = supply.units[order.side], blotter.headroom[order.portfolio_id]
            quantity, after, unpaid = fill(
                order, price, instrument, units=units, headroom=headroom, commission=self._settings.commission
            )
            if quantity:
                supply.take(order.side, quantity)
                events.append(blotter.trade(arrival, after, price, when))
            if unpaid:
                events.append(blotter.end(arrival, ExecType.CANCELED, CancelReason.INSUFFICIENT_CASH, when))
        if order.time_in_force is _IOC and blotter.arrival(order.order_id) is not None:
            events.append(blotter.end(arrival, ExecType.CANCELED, CancelReason.IOC_REMAINDER, when))
        return events

    def _in_session(self, calendar: str, position: int, start: int) -> bool:
        return self._index is None or self._index.edges(calendar).admits(position, start)


def _check_shape(order: Order) -> None:
    if (order.quantity > 0) is (order.cash_quantity is not None):
        raise ValueError("an order states either a quantity or a cash_quantity")
    if (order.order_type is _LIMIT) is (order.limit_price is None):
        raise ValueError("a LIMIT order needs its limit_price, another has none")
    if (order.order_type is _STOP) is (order.stop_price is None):
        raise ValueError("a STOP order needs its stop_price, another has none")
