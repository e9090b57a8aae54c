"""Orders that nothing can come between, decided, checked, filled and folded in one go: for backtests.

A market order by quantity that will fill whole at the next bar's open passes through venue and gate with a dozen calls
each way. Where it is certain beforehand that it passes and fills, the same values follow from a few sums. Both methods
answer None wherever it is not: the order then takes the usual way. Tests hold the two ways equal, event by event.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from services.domain.accounting.holding import round_down, round_up
from services.domain.deployment.commands import NewOrder
from services.domain.instrument import Instrument
from services.domain.money import ZERO, decimal_of, snap
from services.domain.orders.events import event_of
from services.domain.orders.order import (
    INITIAL_MARGIN,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.risk.gate import Gate
from services.domain.tape import Kind, Tape
from services.domain.tape_index import NEVER, Edges, TapeIndex
from services.domain.values import new, place_of
from services.domain.venue.matching import Venue, VenueSettings


class CertainFill(NamedTuple):
    """Where and at what an order will fill: sequence and start (ns) of the bar, its open, and the last close."""

    sequence: int
    time: int
    price: Decimal
    last: float


_MARKET, _GTC, _BUY, _FILLED, _TRADE = (
    OrderType.MARKET,
    TimeInForce.GTC,
    Side.BUY,
    OrderState.FILLED,
    ExecType.TRADE,
)
(_CUM,) = place_of(Order, "cum_quantity")


@dataclass(frozen=True, slots=True)
class _Lane:
    """Where one symbol's orders may fill for certain: at the bars of its only source.

    Attributes:
        end: the tape's length.
        share: of a bar's volume that orders get; None for no limit.
    """

    index: TapeIndex
    tape: Tape
    end: int
    source: int
    share: Decimal | None
    instrument: Instrument
    edges: Edges


class ExpressVenue(Venue):
    """A venue that can tell a certain fill, and moves at once where no order waits."""

    def __init__(self, instruments: Mapping[str, Instrument], settings: VenueSettings | None = None) -> None:
        """See ``Venue``."""
        super().__init__(instruments, settings)
        self._lanes: dict[str, _Lane | None] = {}

    @property
    def waiting(self) -> bool:
        """Whether any order is open."""
        return bool(self._blotter.orders)

    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]:
        """See ``Venue``."""
        if self._blotter.orders or self._blotter.shorts or after != self._position:
            return super().advance(tape, after, through)
        self._position = max(after, min(through, len(tape)))
        return self._position, []

    def move(self, position: int) -> None:
        """Stand at ``position``; no order waits."""
        self._position = position

    def certain_fill(self, order: NewOrder) -> CertainFill | None:
        """The fill of an order that would be the only one here, if it surely fills whole at the next bar's open."""
        if (symbol := order.symbol) not in self._lanes:
            self._lanes[symbol] = self._lane(symbol)
        at, lane = self._position, self._lanes[symbol]
        if (
            lane is None
            or self._blotter.orders
            or order.order_type is not _MARKET
            or order.time_in_force is not _GTC
            or order.cash_quantity is not None
            or order.reduce_only
        ):
            return None
        tape, source, instrument = lane.tape, lane.source, lane.instrument
        # Decided on a bar of its own: no split lies between that price and now.
        if not 0 < at < lane.end or tape.source.item(at - 1) != source:
            return None
        row = at if tape.source.item(at) == source else lane.index.next_row(source, at)
        if row == NEVER or (start := tape.start.item(row)) < order.basis_time:
            return None
        if lane.edges.rows and not lane.edges.admits(row, start, tape.time.item(row)):
            return None
        if lane.share is not None:
            share, quantity = lane.share * decimal_of(tape.values.item(row, 4)), order.quantity
            if share < quantity or quantity % instrument.quantity_increment:
                return None
        price = _on_step(decimal_of(tape.values.item(row, 0)), instrument.price_increment)
        return new(CertainFill, (row + 1, start, price, tape.values.item(at - 1, 3))) if price > 0 else None

    def fill_at_once(self, order: Order, fill: CertainFill) -> OrderEvent:
        """The TRADE of an order just NEW; the venue then stands at the bar that filled it."""
        quantity, price, cash = order.quantity, fill.price, order.reservation.cash
        gross = quantity * price * self._instruments[order.symbol].contract_multiplier
        headroom = order.reservation.headroom + (cash - gross if order.side is _BUY else gross)
        self._blotter.headroom[order.portfolio_id] = headroom
        reservation = new(Reservation, (cash, order.reservation.quantity, headroom, ZERO, INITIAL_MARGIN))
        figures = (quantity, price, gross, ZERO, ZERO, reservation, _FILLED, ZERO, 2, order.priority)
        filled = new(Order, order[:_CUM] + figures)
        signed = quantity if order.side is _BUY else -quantity
        self._blotter.positions.trade((order.portfolio_id, order.symbol), signed, fill.sequence)
        self._position = fill.sequence
        self._agenda.quiet_until = fill.sequence - 1
        return event_of(_TRADE, filled, (fill.sequence, fill.time), (quantity, price, ZERO, ZERO))

    def _lane(self, symbol: str) -> _Lane | None:
        settings, index = self._settings, self._index
        if index is None or index.halts(symbol):
            return None
        sources, instrument = index.data_sources(symbol), self._instruments[symbol]
        if len(sources) != 1 or index.tape.sources[sources[0]].kind is not Kind.BAR:
            return None
        share = settings.volume_share if index.sized(sources[0]) else None
        tape, edges = index.tape, index.edges(instrument.calendar)
        return _Lane(index, tape, len(tape), sources[0], share, instrument, edges)

    def _forget(self) -> None:
        super()._forget()
        self._lanes.clear()


class ExpressGate(Gate):
    """A gate that can check an order and fold its whole fill in one step."""

    def trade_at_once(
        self, portfolio_id: str, order: NewOrder, instrument: Instrument, fill: CertainFill
    ) -> Reservation | None:
        """What the order reserves, if the default limits alone decide and it passes; its fill is folded already.

        Only for portfolios without open orders and shorts, and fills that the reservation and what is left can pay.
        """
        funds = self._funds.get(portfolio_id)
        if funds is None or not funds.opened or self._limits or self._kills or funds.reserved or funds.collateral:
            return None
        holding, multiplier = funds.holding(order.symbol), instrument.contract_multiplier
        cash, spendable, signed = ZERO, round_down(funds.cash), order.quantity
        if order.side is _BUY:
            step = instrument.price_increment
            reference = max(step, _on_step(decimal_of(fill.last), step))
            cash, paid = round_up(signed * reference * multiplier), signed * fill.price * multiplier
            if cash > spendable or paid > spendable:
                return None
        elif signed > holding.quantity or holding.pending_sell:
            return None
        else:
            signed = -signed
            paid = signed * fill.price * multiplier
        funds.cash -= paid
        holding.quantity += signed
        # The cash has at most nine places, so what is left is rounded down as the whole was.
        headroom = spendable - cash
        holding.multiplier = multiplier
        self._marks.begin(order.symbol, fill.last)
        funds.rate.count(order.basis_time, order.symbol)
        return new(Reservation, (cash, signed, headroom, ZERO, INITIAL_MARGIN))


def _on_step(price: Decimal, step: Decimal) -> Decimal:
    return snap(price, step) if price % step else price
