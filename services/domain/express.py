"""Orders that nothing can come between, decided, checked, filled and folded in one go: for backtests.

A market order by quantity that will fill whole at the next bar's open passes through venue and gate with a dozen calls
each way. Where it is certain beforehand that it passes and fills, the same values follow from a few sums. Both methods
answer None wherever it is not: the order then takes the usual way. Tests hold the two ways equal, event by event.
"""

from decimal import Decimal, localcontext
from typing import NamedTuple

from services.domain.buying_power import round_down, round_up
from services.domain.context import NewOrder
from services.domain.fills import NoCommission
from services.domain.gate import Gate
from services.domain.instrument import Instrument
from services.domain.ledger import EXACT
from services.domain.matching import Venue
from services.domain.money import ZERO, decimal_of, snap
from services.domain.order import (
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind, Tape


class CertainFill(NamedTuple):
    """Where and at what an order will fill: sequence and start (ns) of the bar, its open, and the last close."""

    sequence: int
    time: int
    price: Decimal
    last: float


class ExpressVenue(Venue):
    """A venue that can tell a certain fill, and moves at once where no order waits."""

    @property
    def waiting(self) -> bool:
        """Whether any order is open."""
        return bool(self._blotter.orders)

    def advance(self, tape: Tape, after: int, through: int) -> tuple[int, list[OrderEvent]]:
        """See ``Venue``."""
        if self._blotter.orders or after != self._position:
            return super().advance(tape, after, through)
        self._position = max(after, min(through, len(tape)))
        return self._position, []

    def move(self, position: int) -> None:
        """Stand at ``position``; no order waits."""
        self._position = position

    def certain_fill(self, order: NewOrder) -> CertainFill | None:
        """The fill of an order that would be the only one here, if it surely fills whole at the next bar's open."""
        settings, index = self._settings, self._index
        if (
            index is None
            or self._blotter.orders
            or order.order_type is not OrderType.MARKET
            or order.time_in_force is not TimeInForce.GTC
            or order.cash_quantity is not None
            or settings.latency
            or type(settings.commission) is not NoCommission
        ):
            return None
        sources, tape = index.data_sources(order.symbol), index.tape
        if len(sources) != 1 or tape.sources[sources[0]].kind is not Kind.BAR:
            return None
        rows = index.rows(sources[0])
        place = int(rows.searchsorted(self._position))
        if not 0 < place < len(rows):
            return None
        row, at = int(rows[place]), self._position
        start, instrument = int(tape.start[row]), self._instruments[order.symbol]
        # Decided on a bar of its own: no split lies between that price and now.
        if int(rows[place - 1]) != at - 1 or start < order.basis_time:
            return None
        edges = index.edges(instrument.calendar)
        if edges.rows and not edges.admits(row, start):
            return None
        opening, _, _, _, volume = tape.values[row].tolist()
        if settings.volume_share is not None and index.sized(sources[0]):
            share, quantity = settings.volume_share * decimal_of(volume), order.quantity
            if share < quantity or quantity % instrument.quantity_increment:
                return None
        price = _on_step(decimal_of(opening), instrument.price_increment)
        return CertainFill(row + 1, start, price, float(tape.values[at - 1, 3])) if price > 0 else None

    def fill_at_once(self, new: Order, fill: CertainFill) -> OrderEvent:
        """The TRADE of an order just NEW; the venue then stands at the bar that filled it."""
        quantity, reservation = new.quantity, new.reservation
        gross = quantity * fill.price * self._instruments[new.symbol].contract_multiplier
        moved = reservation.cash - gross if new.side is Side.BUY else gross
        headroom = self._blotter.headroom[new.portfolio_id] = reservation.headroom + moved
        filled = new._replace(
            state=OrderState.FILLED,
            cum_quantity=quantity,
            leaves_quantity=ZERO,
            gross_amount=gross,
            avg_price=fill.price,
            reservation=Reservation(reservation.cash, reservation.quantity, headroom),
            event_count=2,
        )
        self._position = fill.sequence
        self._quiet_until = fill.sequence - 1
        exec_id = f"{new.order_id}-2"
        return OrderEvent(exec_id, ExecType.TRADE, filled, fill.time, fill.sequence, quantity, fill.price, ZERO)


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
        holding = funds.holding(order.symbol)
        with localcontext(EXACT):
            cash, spendable, quantity = ZERO, round_down(funds.cash), order.quantity
            signed = quantity if order.side is Side.BUY else -quantity
            paid = signed * fill.price * instrument.contract_multiplier
            if order.side is Side.BUY:
                step = instrument.price_increment
                reference = max(step, _on_step(decimal_of(fill.last), step))
                cash = round_up(quantity * reference * instrument.contract_multiplier)
                if max(cash, paid) > spendable:
                    return None
            elif quantity > holding.quantity or holding.pending_sell:
                return None
            reservation = Reservation(cash, signed, round_down(funds.cash - cash))
            funds.cash -= paid
            holding.quantity += signed
            holding.multiplier = instrument.contract_multiplier
            self._marks.setdefault(order.symbol, fill.last)
        funds.count_order(order.basis_time)
        return reservation


def _on_step(price: Decimal, step: Decimal) -> Decimal:
    return snap(price, step) if price % step else price
