"""What an order gets of a record: how many units are there, at what price, and what it can pay.

Pure functions of an order's value and a record's figures; whether its price was reached is ``reach``'s.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import NamedTuple

from services.domain.costs import slipped
from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places, decimal_of, floor_to, snap
from services.domain.orders.lists import cut
from services.domain.orders.order import LIMITED, Order, OrderState, Side, TimeInForce, reserved_together
from services.domain.prices import Prices, prices_of
from services.domain.tape import Kind
from services.domain.venue.reach import AT_CLOSE, Attempt

_BUY, _SELL, _BAR, _QUOTE = Side.BUY, Side.SELL, Kind.BAR, Kind.QUOTE
_AUCTIONS = frozenset({TimeInForce.OPG, TimeInForce.CLS})


class Supply:
    """What a record offers: prices for each side, and how many units the orders may still take of its sizes (rule 11).

    A bar's volume and a trade's size are one supply for both sides, a quote's sizes are two.
    """

    __slots__ = ("_kind", "_most", "_sized", "_step", "_taken", "_values", "prices", "shared")

    def __init__(self, kind: Kind, values: list[float], sized: bool, step: Decimal) -> None:
        """Of a record of these values; unless its source is ``sized``, orders get all they want."""
        self._kind, self._values, self._sized, self._step = kind, values, sized, step
        self._most: dict[tuple[Side, Decimal], Decimal] = {}
        self._taken = {_BUY: ZERO, _SELL: ZERO}
        self.shared = kind is not _QUOTE
        sells = prices_of(kind, values, _SELL)
        self.prices: Mapping[Side, Prices] = {
            _BUY: sells if self.shared else prices_of(kind, values, _BUY),
            _SELL: sells,
        }

    def units(self, side: Side, share: Decimal | None) -> Decimal | None:
        """How many units orders of ``side`` may still take, in whole steps, if all together get ``share`` of the size.

        None for no limit.
        """
        if share is None or not self._sized:
            return None
        if self.shared:
            side = _BUY
        most = self._most.get((side, share))
        if most is None:
            most = self._most[side, share] = floor_to(share * self.size(side), self._step)
        return max(ZERO, most - self._taken[side])

    def beyond(self, ahead: Decimal) -> Decimal:
        """How many units of a trade are left of what went beyond those ahead of an order at its price (rule 9)."""
        return max(ZERO, floor_to(self.size(_BUY) - ahead, self._step) - self._taken[_BUY])

    def size(self, side: Side) -> Decimal:
        """The record's own size for orders of ``side``; 0 where it states none."""
        return decimal_of(self._values[4 if self._kind is _BAR else 1 if self.shared else 3 if side is _BUY else 2])

    @property
    def spread(self) -> Decimal:
        """What lies between a quote's two sides; none in bars and trades, or where a side is missing."""
        bid, ask = self._values[:2]
        return decimal_of(ask) - decimal_of(bid) if self._kind is _QUOTE and bid > 0 and ask > 0 else ZERO

    def take(self, side: Side, quantity: Decimal) -> None:
        """Use units up that ``units`` told of."""
        self._taken[_BUY if self.shared else side] += quantity


def fill_price(how: Attempt, prices: Prices, instrument: Instrument) -> Decimal:
    """The order's own price where it was reached inside the bar, else the record's first, at its close the last."""
    if how.price is not None:
        return how.price
    price = prices.last if how.group == AT_CLOSE else prices.first
    return snap(decimal_of(price), instrument.price_increment)


def slipped_price(
    order: Order, price: Decimal, supply: Supply, most: Decimal | None, instrument: Instrument
) -> Decimal:
    """What ``order`` gets instead of ``price`` where the venue slips (rule 14); ``most`` units may be filled.

    Auctions have one price for all. An order by cash counts as as many units as it affords at ``price``.
    """
    slippage = None if order.costs is None else order.costs.slippage
    if slippage is None or order.time_in_force in _AUCTIONS:
        return price
    units = order.leaves_quantity
    if order.cash_quantity is not None:
        unit_cost = price * instrument.contract_multiplier
        units = _units_for(order.cash_quantity - order.gross_amount, unit_cost, instrument.quantity_increment)
    size = supply.size(order.side)
    share = min(Decimal(1), (units if most is None else min(units, most)) / size) if size else ZERO
    distance = slippage.distance(price, supply.spread, share)
    limit = order.limit_price if order.order_type in LIMITED else None
    return slipped(price, distance, instrument.price_increment, buys=order.side is _BUY, limit=limit)


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


_new_fill = Fill.__new__


def fill(
    order: Order,
    price: Decimal,
    instrument: Instrument,
    *,
    units: Decimal | None,
    headroom: Decimal,
    twin: Order | None = None,
) -> Fill:
    """Fill ``order`` at ``price`` as far as ``units`` go and cash pays.

    An order by ``cash_quantity`` is sized here, anew at each fill, by the cash it has not used (rule 12). A buy may
    cost the share of its reservation that the fill releases, and ``headroom``; one that costs more is cut to what all
    of its reservation and the headroom pay, because the rest is canceled and gives back its share (rule 19). A
    reduce-only buy that reserved nothing covers a short, and is paid from what the short holds as collateral. A sale
    that brings less than its commission is canceled where the cash does not pay the difference. What an
    order's ``twin`` has reserved is there for either of them: only one can fill (rule 4).
    """
    step, unit_cost = instrument.quantity_increment, price * instrument.contract_multiplier
    leaves = order.leaves_quantity
    if order.cash_quantity is not None:
        leaves = _units_for(order.cash_quantity - order.gross_amount, unit_cost, step)
        if not leaves:
            return _new_fill(Fill, ZERO, order, True)
    quantity = leaves if units is None else min(leaves, units)
    after = _filled(order, quantity, leaves, price, instrument)
    if order.side is _SELL:
        unpaid = order.costs is not None and not _pays_commission(order, after, headroom, twin)
        return Fill(ZERO, order, unpaid=True) if unpaid else _new_fill(Fill, quantity, after, False)
    if not quantity or (order.reduce_only and not order.reservation.cash):
        return _new_fill(Fill, quantity, after, False)
    cost = _cost(order, after)
    reserved, smaller = reserved_together(order, twin), None if twin is None else cut(twin, quantity)
    if cost <= reserved - reserved_together(after, smaller) + headroom:
        return _new_fill(Fill, quantity, after, False)
    spendable = reserved + headroom
    quantity = min(quantity, _units_for(spendable, unit_cost, step))
    if order.costs is not None:
        quantity = _affordable(order, quantity, price, instrument, spendable)
    return Fill(quantity, _filled(order, quantity, leaves, price, instrument), unpaid=True)


def restated(order: Order, ratio: Decimal, instrument: Instrument, best: float | None = None) -> Order:
    """``order`` after a split of ``ratio`` new units for an old one (rule 20); ``best`` is the price that it trails.

    Units are floored, prices snapped. The money of past fills stays what it was.
    """
    step = instrument.quantity_increment

    def units(quantity: Decimal) -> Decimal:
        return floor_to(quantity * ratio, step)

    def price(old: Decimal | None) -> Decimal | None:
        tick = instrument.price_increment
        return None if old is None else max(tick, snap(old / ratio, tick))

    cum, leaves = units(order.cum_quantity), units(order.leaves_quantity)
    return order._replace(
        quantity=cum + leaves,
        cum_quantity=cum,
        leaves_quantity=leaves,
        avg_price=at_most_places(order.avg_price / ratio, 9),
        commission_quantity=units(order.commission_quantity),
        limit_price=price(order.limit_price),
        stop_price=price(order.stop_price),
        trailing_amount=price(order.trailing_amount),
        display_quantity=None if order.display_quantity is None else max(step, units(order.display_quantity)),
        trail_price=None if best is None else at_most_places(decimal_of(best) / ratio, 9),
        reservation=order.reservation._replace(quantity=order.reservation.quantity * ratio),
    )


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


def _affordable(order: Order, most: Decimal, price: Decimal, instrument: Instrument, cash: Decimal) -> Decimal:
    """The most units, up to ``most``, that ``cash`` pays with their commission; found by halving whole steps."""
    step, none, all_of_it = instrument.quantity_increment, 0, int(most / instrument.quantity_increment)
    while none < all_of_it:
        middle = (none + all_of_it + 1) // 2
        after = _filled(order, middle * step, order.leaves_quantity, price, instrument)
        if _cost(order, after) <= cash:
            none = middle
        else:
            all_of_it = middle - 1
    return none * step


def _filled(order: Order, quantity: Decimal, leaves: Decimal, price: Decimal, instrument: Instrument) -> Order:
    cum = order.cum_quantity + quantity
    gross = order.gross_amount + quantity * price * instrument.contract_multiplier
    if order.gross_amount or not quantity:
        avg_price = at_most_places(gross / (cum * instrument.contract_multiplier), 9) if cum else ZERO
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
