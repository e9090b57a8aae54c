"""What an order gets of a record: how many units are there, at what price, and what it can pay.

Pure functions of an order's value and a record's figures; whether its price was reached is ``reach``'s.
"""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from services.domain.costs import slipped
from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places, decimal_of, snap
from services.domain.orders.lists import cut
from services.domain.orders.order import (
    Order,
    OrderState,
    Side,
    TimeInForce,
    reserved_cash,
    reserved_together,
)
from services.domain.values import new
from services.domain.venue.offers.cover import Cover
from services.domain.venue.offers.depth import Offer
from services.domain.venue.offers.reach import AT_CLOSE, Attempt
from services.domain.venue.offers.supply import Supply, worst_price

_BUY, _SELL = Side.BUY, Side.SELL
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})


def fill_price(order: Order, how: Attempt, supply: Supply, offer: Offer, instrument: Instrument) -> Decimal:
    """What ``order`` gets: its own price where it was reached inside the bar, else the record's, moved by slippage.

    That is the record's first, at its close the last, or that of the level that is offered, which has so many units.
    """
    price = how.price
    if price is None:
        prices = supply.prices[order.side]
        met = offer.price or (prices.last if how.group == AT_CLOSE else prices.first)
        price = snap(decimal_of(met), instrument.price_increment)
    return price if order.costs is None else _slipped(order, price, supply, offer.units, instrument)


def _slipped(order: Order, price: Decimal, supply: Supply, most: Decimal | None, instrument: Instrument) -> Decimal:
    """What ``order`` gets instead of ``price`` where the venue slips (rule 14).

    Auctions have one price for all. An order by cash counts as as many units as it affords at ``price``. Where the
    levels behind the best price are known, an order's own impact is that it walks them: the model's would count twice.
    """
    slippage = None if order.costs is None else order.costs.slippage
    if slippage is None or order.time_in_force in _AUCTIONS:
        return price
    units = order.leaves_quantity
    if order.cash_quantity is not None:
        unit_cost = price * instrument.contract_multiplier
        units = _units_for(order.cash_quantity - order.gross_amount, unit_cost, instrument.quantity_increment)
    size = ZERO if order.side in supply.depth else supply.size(order.side)
    share = min(Decimal(1), (units if most is None else min(units, most)) / size) if size else ZERO
    distance = slippage.distance(price, supply.spread, share)
    return slipped(price, distance, instrument.price_increment, buys=order.side is _BUY, limit=worst_price(order))


class Fill(NamedTuple):
    """What an order takes at a price.

    Attributes:
        quantity: units; zero where units or cash allow none.
        order: the order after it.
        unpaid: cash ends here: what is left of the order cannot be paid and is canceled (rule 19).
    """

    quantity: Decimal
    order: Order
    unpaid: bool


def fill(
    order: Order,
    price: Decimal,
    instrument: Instrument,
    *,
    units: Decimal | None,
    headroom: Decimal,
    twin: Order | None = None,
    cover: Cover | None = None,
) -> Fill:
    """Fill ``order`` at ``price`` as far as ``units`` go and cash pays.

    An order by ``cash_quantity`` is sized here, anew at each fill, by the cash it has not used (rule 12). A buy may
    cost the share of its reservation that the fill releases, and ``headroom``; one that costs more is cut to what all
    of its reservation and the headroom pay, because the rest is canceled and gives back its share (rule 19). Where it
    may ``cover`` a short, it is paid from what that sets free too; a reduce-only one, which reserved nothing, always
    is. A sale that brings less than its commission is canceled where the cash does not pay the difference. What an
    order's ``twin`` has reserved is there for either of them: only one can fill (rule 4).
    """
    step, unit_cost = instrument.quantity_increment, price * instrument.contract_multiplier
    leaves = order.leaves_quantity
    if order.cash_quantity is not None:
        leaves = _units_for(order.cash_quantity - order.gross_amount, unit_cost, step)
        if not leaves:
            return new(Fill, (ZERO, order, True))
    quantity = leaves if units is None else min(leaves, units)
    after = _filled(order, quantity, leaves, price, instrument)
    if order.side is _SELL:
        unpaid = order.costs is not None and not _pays_commission(order, after, headroom, twin)
        return Fill(ZERO, order, unpaid=True) if unpaid else new(Fill, (quantity, after, False))
    if not quantity or (order.reduce_only and not order.reservation.cash):
        return new(Fill, (quantity, after, False))
    cost = _cost(order, after)
    reserved, smaller = reserved_together(order, twin), None if twin is None else cut(twin, quantity)
    freed = ZERO if cover is None else cover.held - cover.after(after, smaller).held
    # A short that was sold above what its check foresaw may leave less than nothing: what is set aside is there still.
    if cost <= reserved - reserved_together(after, smaller) + freed + max(ZERO, headroom):
        return new(Fill, (quantity, after, False))
    spendable = reserved + headroom
    if cover is None:
        quantity = min(quantity, _units_for(spendable, unit_cost, step))
    if order.costs is not None or cover is not None:
        quantity = _affordable(order, quantity, price, instrument, cash=spendable, cover=cover)
    return Fill(quantity, _filled(order, quantity, leaves, price, instrument), unpaid=True)


def fills_whole(
    order: Order,
    offers: Iterable[tuple[Decimal | None, Decimal]],
    instrument: Instrument,
    headroom: Decimal,
    cover: Cover | None = None,
) -> bool:
    """Whether units at a price, and then others, fill an order that has no twin whole."""
    for units, price in offers:
        _, after, unpaid = fill(order, price, instrument, units=units, headroom=headroom, cover=cover)
        if unpaid or not after.leaves_quantity:
            return not unpaid
        headroom += reserved_cash(order) - reserved_cash(after) + cash_moved(order, after)
        if cover is not None:
            held, cover = cover.held, cover.after(after)
            headroom += held - cover.held
        order = after
    return False


def cash_moved(before: Order, after: Order) -> Decimal:
    """By how much a fill's cost or proceeds move a portfolio's cash; what of it is collateral is the holding's."""
    if before.side is _BUY:
        return -_cost(before, after)
    return after.gross_amount - before.gross_amount - (after.commission - before.commission)


def _units_for(cash: Decimal, unit_cost: Decimal, step: Decimal) -> Decimal:
    """The most units, in whole steps, that ``cash`` pays. ``//`` is exact where ``/`` would round up at 28 digits."""
    return max(ZERO, cash // (unit_cost * step) * step)


def _cost(order: Order, after: Order) -> Decimal:
    """The money that a buy pays by becoming ``after``."""
    in_units = order.costs is not None and order.costs.in_units
    return after.gross_amount - order.gross_amount + (ZERO if in_units else after.commission - order.commission)


def _pays_commission(order: Order, after: Order, headroom: Decimal, twin: Order | None) -> bool:
    """Whether what a sale brings and sets free, and the headroom, cover what it is charged."""
    smaller = None if twin is None else cut(twin, after.cum_quantity - order.cum_quantity)
    freed = reserved_together(order, twin) - reserved_together(after, smaller)
    brought = after.gross_amount - order.gross_amount + freed
    return after.commission - order.commission <= brought + max(ZERO, headroom)


def _affordable(
    order: Order, most: Decimal, price: Decimal, instrument: Instrument, *, cash: Decimal, cover: Cover | None
) -> Decimal:
    """The most units, up to ``most``, that ``cash`` pays with their commission; found by halving whole steps.

    What they cover pays too, once what is left of the order has ended.
    """
    step, none, all_of_it = instrument.quantity_increment, 0, int(most / instrument.quantity_increment)
    while none < all_of_it:
        middle = (none + all_of_it + 1) // 2
        after = _filled(order, middle * step, order.leaves_quantity, price, instrument)
        freed = ZERO if cover is None else cover.held - cover.after(after._replace(state=OrderState.CANCELED)).held
        if _cost(order, after) <= cash + freed:
            none = middle
        else:
            all_of_it = middle - 1
    return none * step


def _filled(order: Order, quantity: Decimal, leaves: Decimal, price: Decimal, instrument: Instrument) -> Order:
    cum = order.cum_quantity + quantity
    gross = order.gross_amount + quantity * price * instrument.contract_multiplier
    if order.gross_amount or not quantity:
        paid = gross - order.fraction_amount
        avg_price = at_most_places(paid / (cum * instrument.contract_multiplier), 9) if cum else ZERO
    else:
        avg_price = price
    commission, kept, costs = order.commission, order.commission_quantity, order.costs
    if costs is not None and quantity:
        if order.side is _BUY and costs.in_units:
            units = costs.keep(kept, cum, instrument.quantity_increment)
            kept, commission = kept + units, commission + units * price * instrument.contract_multiplier
        else:
            commission += costs.charge(commission, cum, gross)
    return order._replace(
        state=OrderState.FILLED if quantity == leaves else OrderState.PARTIALLY_FILLED,
        quantity=order.cum_quantity + leaves,
        cum_quantity=cum,
        leaves_quantity=leaves - quantity,
        gross_amount=gross,
        avg_price=avg_price,
        commission=commission,
        commission_quantity=kept,
    )
