"""What an order gets of a record: how many units are there, at what price, and what it can pay.

Pure functions of an order's value and a record's figures; whether its price was reached is ``reach``'s.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple, Protocol

from services.domain.instrument import Instrument
from services.domain.money import ZERO, at_most_places, decimal_of, floor_to, snap
from services.domain.order import Order, OrderState, Side, reserved_cash
from services.domain.prices import Prices, prices_of
from services.domain.reach import AT_CLOSE, Attempt
from services.domain.tape import Kind


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
            A source whose size columns are all zero states no sizes and limits nothing; elsewhere a zero fills nothing.
        latency: ns from the decision until an order is live (rule 12).
        hold_day_orders: DAY orders outside their session wait HELD for the open; else they are refused (rule 15).
        commission: what a fill costs.
    """

    fill_on_touch: bool = False
    volume_share: Decimal | None = Decimal("0.10")
    latency: int = 0
    hold_day_orders: bool = True
    commission: Commission = field(default_factory=NoCommission)


_BUY, _SELL, _BAR, _QUOTE = Side.BUY, Side.SELL, Kind.BAR, Kind.QUOTE


class Supply:
    """What a record offers: prices for each side, and how many units the orders may still take of its sizes (rule 11).

    A bar's volume and a trade's size are one supply for both sides, a quote's sizes are two.
    """

    __slots__ = ("_kind", "_left", "_share", "_step", "_values", "prices", "shared")

    def __init__(self, kind: Kind, values: list[float], share: Decimal | None, step: Decimal) -> None:
        """Of a record of these values, orders get ``share`` of its size in whole steps; without one all they want."""
        self._kind, self._values, self._share, self._step = kind, values, share, step
        self._left: dict[Side, Decimal] = {}
        self.shared = kind is not _QUOTE
        sells = prices_of(kind, values, _SELL)
        self.prices: Mapping[Side, Prices] = {
            _BUY: sells if self.shared else prices_of(kind, values, _BUY),
            _SELL: sells,
        }

    def units(self, side: Side) -> Decimal | None:
        """How many units orders of ``side`` may still take; None for no limit."""
        if self._share is None:
            return None
        if self.shared:
            side = _BUY
        left = self._left.get(side)
        if left is None:
            column = 4 if self._kind is _BAR else 1 if self.shared else 3 if side is _BUY else 2
            left = self._left[side] = floor_to(self._share * decimal_of(self._values[column]), self._step)
        return left

    def take(self, side: Side, quantity: Decimal) -> None:
        """Use units up that ``units`` told of."""
        if self._share is not None:
            self._left[_BUY if self.shared else side] -= quantity


def fill_price(how: Attempt, prices: Prices, instrument: Instrument) -> Decimal:
    """The order's own price where it was reached inside the bar, else the record's first, at its close the last."""
    if how.price is not None:
        return how.price
    price = prices.last if how.group == AT_CLOSE else prices.first
    return snap(decimal_of(price), instrument.price_increment)


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
    commission: Commission,
) -> Fill:
    """Fill ``order`` at ``price`` as far as ``units`` go and cash pays.

    An order by ``cash_quantity`` is sized here, anew at each fill, by the cash it has not used (rule 12). A buy may
    cost the share of its reservation that the fill releases, and ``headroom``; one that costs more is cut to what all
    of its reservation and the headroom pay, because the rest is canceled and gives back its share (rule 19). A
    reduce-only buy that reserved nothing covers a short, and is paid from what the short holds as collateral.
    """
    step, unit_cost = instrument.quantity_increment, price * instrument.contract_multiplier
    leaves = order.leaves_quantity
    if order.cash_quantity is not None:
        leaves = _units_for(order.cash_quantity - order.gross_amount, unit_cost, step)
        if not leaves:
            return _new_fill(Fill, ZERO, order, True)
    quantity = leaves if units is None else min(leaves, units)
    after = _filled(order, quantity, leaves, price, instrument=instrument, commission=commission)
    if order.side is _SELL or not quantity or (order.reduce_only and not order.reservation.cash):
        return _new_fill(Fill, quantity, after, False)
    cost = after.gross_amount - order.gross_amount + after.commission - order.commission
    if cost <= reserved_cash(order) - reserved_cash(after) + headroom:
        return _new_fill(Fill, quantity, after, False)
    spendable = reserved_cash(order) + headroom - commission.charge(quantity, price)
    quantity = min(quantity, _units_for(spendable, unit_cost, step))
    return Fill(
        quantity, _filled(order, quantity, leaves, price, instrument=instrument, commission=commission), unpaid=True
    )


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


def _filled(
    order: Order,
    quantity: Decimal,
    leaves: Decimal,
    price: Decimal,
    *,
    instrument: Instrument,
    commission: Commission,
) -> Order:
    cum = order.cum_quantity + quantity
    gross = order.gross_amount + quantity * price * instrument.contract_multiplier
    if order.gross_amount or not quantity:
        avg_price = at_most_places(gross / (cum * instrument.contract_multiplier), 9) if cum else ZERO
    else:
        avg_price = price
    return order._replace(
        state=OrderState.FILLED if quantity == leaves else OrderState.PARTIALLY_FILLED,
        quantity=order.cum_quantity + leaves,
        cum_quantity=cum,
        leaves_quantity=leaves - quantity,
        gross_amount=gross,
        avg_price=avg_price,
        commission=order.commission + (commission.charge(quantity, price) if quantity else ZERO),
    )
