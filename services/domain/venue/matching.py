"""The paper venue of one environment: orders meet bars, quotes and trades (rules 7 to 15, 19 and 20).

The venue stands at a position of a tape. ``accept``, ``refuse``, ``cancel`` and ``replace`` act there; ``advance`` goes
on. Its whole state is its open orders, each portfolio's headroom and positions, and where it stands. Sessions, last
prices and what orders have met are read off the tape: so one rebuilt by ``prime`` and ``restore`` cannot differ.
"""

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import decimal_of
from services.domain.orders.events import When, refuse
from services.domain.orders.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    Refusal,
    Reservation,
)
from services.domain.orders.replacing import CannotReplace, Replacement, keeps_priority, replaced
from services.domain.orders.shape import check_shape
from services.domain.tape import Kind, Tape
from services.domain.tape_index import NEVER, TapeIndex
from services.domain.venue.encounters.alone import fill_alone
from services.domain.venue.encounters.encounter import Encounter
from services.domain.venue.encounters.linked import end
from services.domain.venue.encounters.sessions import CLOSED, MARKET_CLOSED, first_state, strike
from services.domain.venue.encounters.splitting import split, trailed
from services.domain.venue.standing import Standing
from services.domain.venue.waiting.agenda import Agenda
from services.domain.venue.waiting.positions import Holder

__all__ = ["MARKET_CLOSED", "CannotReplace", "Replacement", "Venue", "VenueSettings"]

# Bound once, for what every order passes (see ``ledger``).
_NEW, _REJECTED, _IS_NEW, _IS_HELD = OrderState.NEW, OrderState.REJECTED, ExecType.NEW, ExecType.HELD
_CLOCK, _SPLIT, _AUCTION, _HALT = Kind.CLOCK, Kind.SPLIT, Kind.AUCTION, Kind.HALT


class Venue(Standing):
    """The orders of one environment and what becomes of them.

    Every call returns the events it made, in order. A tape handed in must be whole, or a prefix that holds every record
    of the times asked about: the timetable, and whether a source states sizes, are read off it.
    """

    def __init__(self, instruments: Mapping[str, Instrument], settings: VenueSettings | None = None) -> None:
        super().__init__(instruments, settings)
        self._agenda = Agenda(self._blotter)

    def prime(self, tape: Tape, through: int) -> None:
        """Stand at ``through`` without meeting the records before it: history, or what was met before a restart."""
        self._read(tape)
        self._position = through
        self._blotter.positions.stand_at(through)
        for book in self._blotter.books.values():
            book.unsettle(self._blotter.orders)
        self._forget()

    def restore(
        self,
        orders: Iterable[Order],
        headroom: Mapping[str, Decimal],
        positions: Mapping[Holder, Decimal] | None = None,
        collateral: Mapping[Holder, Decimal] | None = None,
    ) -> None:
        """Take back open orders, each as it was after its last event, and what portfolios have and hold.

        Those without a priority are taken to come in the order they were accepted, behind the others.
        """
        self._blotter.headroom.update(headroom)
        self._blotter.positions.restore(positions or {}, self._position)
        self._blotter.restore(orders)
        for holder, held in (collateral or {}).items():
            if held:
                self._blotter.follow(holder, self.held(*holder), held)

    def accept(self, order: Order, at: int, time: int) -> list[OrderEvent]:
        """Take a checked order in: NEW, or HELD for its session, or REJECTED because it may not wait (rule 15).

        An IOC or FOK outside its session is refused with MARKET_CLOSED, as exchanges do: it may never rest, and taking
        it only to cancel it would look like a try. So is an OPG or CLS of an instrument without sessions.

        Raises:
            ValueError: its shape is impossible, or it is here already.
            KeyError: its symbol is unknown.
        """
        check_shape(order)
        instrument = self._instruments[order.symbol]
        state = first_state(order, (at, time), self._index, instrument, self._settings)
        if state is _REJECTED:
            return [refuse(order, CLOSED, When(at, time))]
        return [self._blotter.accept(order, _IS_NEW if state is _NEW else _IS_HELD, state, (at, time))]

    def objection(self, order: Order, at: int, time: int) -> Refusal | None:
        """Why ``accept`` would refuse a checked order; None where it would take it in."""
        return CLOSED if self._first_state(order, at, time) is _REJECTED else None

    def accept_list(self, orders: Sequence[Order], at: int, time: int) -> list[OrderEvent]:
        """Take in all the checked orders of a list, as ``listed`` makes them, or REJECTED every one of them.

        Raises:
            ValueError, KeyError: as ``accept``; nothing was taken in.
        """
        when = When(at, time)
        for order in orders:
            check_shape(order)
        states = [OrderState.HELD if each.parent_order_id else self._first_state(each, at, time) for each in orders]
        if _REJECTED in states:
            return [refuse(order, CLOSED, when) for order in orders]
        types = [_IS_NEW if state is _NEW else _IS_HELD for state in states]
        return [self._blotter.accept(*each, when) for each in zip(orders, types, states, strict=True)]

    def refuse(self, order: Order, refusal: Refusal, at: int, time: int) -> list[OrderEvent]:
        """Record an order that a check refused: REJECTED, with the bound it hit."""
        return [refuse(order, refusal, When(at, time))]

    def cancel(
        self, order_id: str, at: int, time: int, reason: CancelReason = CancelReason.REQUESTED
    ) -> list[OrderEvent]:
        """Cancel what is left of an order; nothing where it isn't open: a fill was first, or it was never here.

        What goes with it of its list is canceled next.
        """
        arrival = self._blotter.arrival(order_id)
        return [] if arrival is None else end(self._blotter, [arrival], ExecType.CANCELED, reason, When(at, time))

    def cancel_all(
        self, order_ids: Iterable[str], at: int, time: int, reason: CancelReason = CancelReason.REQUESTED
    ) -> list[OrderEvent]:
        """Cancel orders together, for one reason; then what goes with them of their lists."""
        arrivals = [arrival for each in order_ids if (arrival := self._blotter.arrival(each)) is not None]
        return end(self._blotter, arrivals, ExecType.CANCELED, reason, When(at, time))

    def replace(
        self, order_id: str, terms: Replacement, at: int, time: int, reservation: Reservation | None = None
    ) -> list[OrderEvent]:
        """Put an open order on new terms: REPLACED; nothing where it isn't open.

        It keeps its priority only where nothing but its quantity changes, and falls. Else it goes behind the orders of
        its price, and its new terms hold for records that begin later, as a new order's would (rule 12).

        Args:
            reservation: what a check set aside for it on the new terms; without one it keeps its share.

        Raises:
            CannotReplace: it would be no more than what has filled, its trigger has been reached, or the terms do not
                go with its type or its list.
        """
        if (order := self._blotter.order(order_id)) is None:
            return []
        after = replaced(order, terms, reservation, self._blotter.members(order))
        if not keeps_priority(order, after):
            calendar = self._instruments[order.symbol].calendar
            trails = None if self._index is None else trailed(order, self._index, calendar, at)
            after = after._replace(
                basis_sequence=at,
                basis_time=time,
                trail_price=None if trails is None else decimal_of(trails),
                priority=self._blotter.last_place(),
            )
        return [self._blotter.replace(order.priority, after, reservation, When(at, time))]

    def replaced(self, order: Order, terms: Replacement) -> Order:
        """What ``replace`` would make of an open order, for who asks.

        Raises:
            CannotReplace: as ``replace``; or a bracket's entry would fill at the last price, beyond one of its exits.
        """
        entry, members = self._blotter.order(order.parent_order_id) or order, self._blotter.members(order)
        return replaced(order, terms, None, members, self.reference_price(entry.symbol, entry.side))

    def expire_all(self, at: int, time: int) -> list[OrderEvent]:
        """The tape has ended: no order will meet another record (rule 33)."""
        return end(
            self._blotter, list(self._blotter.orders), ExecType.EXPIRED, CancelReason.END_OF_TAPE, When(at, time)
        )

    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]:
        """Meet the records after ``after`` up to ``through``, stopping after the first that makes an event.

        Returns:
            The position reached and that record's events; no events where ``through`` was reached without one.

        Raises:
            ValueError: ``after`` is not where the venue stands; ``prime`` is for that.
        """
        index = self._index
        if index is None or index.tape is not tape:
            index = self._read(tape)
        if after != self._position:
            raise ValueError(f"the venue stands at {self._position}, not {after}")
        agenda, expiries, through = self._agenda, self._blotter.expiries.runs, min(through, index.end)
        while (row := agenda.next_row(index, self._position, through)) < through or expiries:
            if expiries:
                due, time = agenda.next_expiry(index, self._position)
                if due <= row and due < through:
                    self._position = due
                    return due, self._expire(time, index)
                if row >= through:
                    break
            self._position = row + 1
            if events := self._meet(index, row):
                return row + 1, events
        self._position = max(after, through)
        return self._position, []

    def _read(self, tape: Tape) -> TapeIndex:
        if self._index is None or self._index.tape is not tape:
            self._index = TapeIndex(tape)
            self._blotter.read(self._index)
            self._forget()
        return self._index

    def _forget(self) -> None:
        self._agenda.forget()

    def _expire(self, time: int, index: TapeIndex) -> list[OrderEvent]:
        """The orders good till ``time`` (ns) expire; later only where they came when it had passed."""
        blotter, position = self._blotter, self._position
        now = max(time, index.times[position - 1]) if position else time
        arrivals = [arrival for _, arrival in blotter.expiries.below((time, NEVER))]
        return end(blotter, arrivals, ExecType.EXPIRED, CancelReason.END_OF_TIME, When(position, now))

    def _meet(self, index: TapeIndex, row: int) -> list[OrderEvent]:
        """One record happens. Any row may be asked; one that concerns no order makes no event."""
        number = index.numbers[row]
        kind, symbol = index.kinds[number], index.symbols[number]
        if kind is _CLOCK:
            return strike(self._blotter, symbol, index.values[row, 0] == 1.0, When(row + 1, index.times[row]))
        if kind is _SPLIT:
            return split(self._blotter, index, symbol, row)
        book = self._blotter.books.get(symbol)
        if book is None or kind is _HALT or (book.halts and index.halted(symbol, index.starts[row])):
            return []
        if kind is not _AUCTION:
            edges = book.edges
            if edges.rows and not edges.admits(row, index.starts[row], index.times[row]):
                return []
            if (filled := fill_alone(index, row, book, self._blotter, self._settings)) is not None:
                return [filled]
        return Encounter(index, row, self._blotter, self._settings, book.instrument).run()

    def _first_state(self, order: Order, at: int, time: int) -> OrderState:
        return first_state(order, (at, time), self._index, self._instruments[order.symbol], self._settings)
