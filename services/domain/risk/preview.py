"""What would become of an order, were it sent now: what the gate would say, and how many units it would let pass."""

from decimal import Decimal
from math import ceil
from typing import Final, NamedTuple

from services.domain.accounting.holding import round_up
from services.domain.costs import NO_SLIP, Slip
from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places
from services.domain.orders.order import Order, Refusal, Side
from services.domain.risk.gate import Gate, Verdict
from services.domain.risk.intents import slipping
from services.domain.risk.largest import largest
from services.domain.risk.walk import value_of, walk

# More units than the contract can say.
_MOST: Final = Decimal(10**18)


class Preview(NamedTuple):
    """An order that is only thought of.

    Attributes:
        verdict: what a check would say.
        price: what it may trade at, on average where it walks.
        quantity: its units; of one by cash those that it buys.
        notional: the value of these, of one that only reduces too, for which nothing is set aside.
        slippage: by how much a fill of all of it may be worse; of a buy that sets cash aside a part of that.
        initial_margin: what of it is the margin of a sale that opens a short.
        largest: the most units with which an order of these terms passes, zero where none do; None where nothing stops
            it.
        beyond: what refuses one increment more than ``largest``.
    """

    verdict: Verdict
    price: Decimal
    quantity: Decimal
    notional: Decimal
    largest: Decimal | None
    beyond: Refusal | None
    slippage: Decimal = ZERO
    initial_margin: Decimal = ZERO

    def unless(self, objection: Refusal | None) -> "Preview":
        """The same where somebody else, for ``objection``, refuses whatever passes the check, however many units."""
        if objection is None:
            return self
        verdict = self.verdict._replace(reservation=None, refusal=self.verdict.refusal or objection)
        beyond = self.beyond if self.largest == ZERO else objection
        return self._replace(verdict=verdict, largest=ZERO, beyond=beyond)


def preview(
    gate: Gate, order: Order, instrument: Instrument, reference_price: Decimal, time: int, *, slip: Slip = NO_SLIP
) -> Preview:
    """What ``gate`` would say of a new order at market ``time`` (ns), which changes nothing in it."""
    verdict, intent = gate.weigh(order, instrument, reference_price, time, slip=slip)
    if intent is None:
        return Preview(verdict, ZERO, ZERO, ZERO, ZERO, verdict.refusal)
    step = instrument.quantity_increment

    def answer(steps: int) -> Verdict:
        asked = order._replace(quantity=steps * step, cash_quantity=None)
        return gate.weigh(asked, instrument, reference_price, time, slip=slip)[0]

    covering = intent.funds.holding(order.symbol).uncovered if order.side is Side.BUY else ZERO
    steps, beyond = largest(answer, int(_MOST // step), ceil(covering / step))
    parts = walk(order, intent.price, slip, instrument, order.quantity if order.cash_quantity is None else None)
    units, notional, price = sum((each.units for each in parts), ZERO), value_of(parts, instrument), intent.price
    if any(each.price != price for each in parts):
        price = at_most_places(notional / (units * instrument.contract_multiplier), 9)
    slippage = ZERO
    if order.cash_quantity is None:
        slippage = abs(round_up(value_of(slipping(order, parts, slip, instrument), instrument)) - round_up(notional))
    most = None if beyond is None else steps * step
    return Preview(verdict, price, units, notional, most, beyond, slippage, intent.initial_margin)


def commission_of(order: Order, preview: Preview, instrument: Instrument) -> Decimal:
    """What all units of a preview would be charged at its price; the worth of the units where it is taken in those."""
    costs = order.costs
    if costs is None:
        return ZERO
    if costs.in_units and order.side is Side.BUY:
        kept = costs.keep(ZERO, preview.quantity, instrument.quantity_increment)
        return at_most_places(kept * preview.price * instrument.contract_multiplier, 9)
    return costs.charge(ZERO, preview.quantity, preview.notional)
