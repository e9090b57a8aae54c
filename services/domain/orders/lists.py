"""Order lists (FIX 1385): orders that come together, and what one of them means for the others (rules 4, 6 and 13).

    OCO      two orders for the same units, its legs: what one fills the other no longer asks for, and where one ends
             otherwise the other does too
    OTO      a parent, and others that wait for it: they come to life when it is filled whole, or end with it
    BRACKET  a parent, and two that close what it opens: they come to life for what its fills bring it, reduce only, and
             are legs of an OCO among themselves; where they end but by a fill, so does what is left of the parent

The orders' own values say all of it, so a venue that takes them back after a restart knows no less. A list's id is its
first order's.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO, format_decimal
from services.domain.orders.order import (
    STOPS,
    TRIGGERED_STATES,
    ContingencyType,
    Order,
    OrderType,
    Refusal,
    Side,
    TimeInForce,
)
from services.domain.orders.shrinking import share_of_reservation

_OCO, _OTO, _BRACKET = ContingencyType.OCO, ContingencyType.OTO, ContingencyType.BRACKET
_RESTING = frozenset({TimeInForce.DAY, TimeInForce.GTC, TimeInForce.GTD})
_ADVERSE = STOPS | {OrderType.TRAILING_STOP}
MOST_ORDERS = 10
"""Of one list."""
SIZES = {_OCO: range(2, 3), _OTO: range(2, MOST_ORDERS + 1), _BRACKET: range(3, 4)}
"""How many orders a list of each kind has."""


class BadList(ValueError):
    """Orders that make no list.

    Attributes:
        place: of the order that does not fit, from 0; None where the list does not.
        field: of that order.
    """

    def __init__(self, message: str, place: int | None = None, field: str = "") -> None:
        super().__init__(message)
        self.place, self.field = place, field


def check_list(kind: ContingencyType, orders: Sequence[Order]) -> None:
    """Refuse orders that make no list of this kind; the shape of each by itself is ``check_shape``'s.

    Raises:
        BadList: naming the order and the field.
    """
    sizes = SIZES[kind]
    if len(orders) not in sizes:
        wanted = str(sizes[0]) if len(sizes) == 1 else f"{sizes[0]} to {sizes[-1]}"
        raise BadList(f"must be {wanted} for {kind.name}")
    first = orders[0]
    for place, order in enumerate(orders):
        if any(order.client_order_id == other.client_order_id for other in orders[:place]):
            raise BadList("must be another one for each order of a list", place, "client_order_id")
        if kind is _OCO or place:
            _check_waiting(kind, order, place)
        if kind is _OCO and place:
            _check_alike(order, first, place)
    if kind is _BRACKET:
        _check_bracket(orders)


def listed(kind: ContingencyType, orders: Sequence[Order]) -> list[Order]:
    """The orders of a list that ``check_list`` accepts, each saying what it is in it."""
    first = orders[0]
    made = []
    for place, order in enumerate(orders):
        parent_id = "" if kind is _OCO or not place else first.order_id
        member = order._replace(order_list_id=first.order_id, contingency_type=kind, parent_order_id=parent_id)
        if kind is _BRACKET and place:
            # Sized by what the parent fills; until then it says what that may become, where it is known.
            member = member._replace(quantity=first.quantity, reduce_only=True)
        made.append(member)
    return made


def paired(order: Order) -> bool:
    """Whether another order may be its twin, of which only one can fill."""
    return order.contingency_type is _OCO or sized_by_parent(order)


def sized_by_parent(order: Order) -> bool:
    """Whether it is for the units that its parent has filled."""
    return order.contingency_type is _BRACKET and bool(order.parent_order_id)


def exit_size(order: Order, units: Decimal, step: Decimal) -> Decimal:
    """What an exit must trade more to close so many more ``units``, in whole steps.

    A cover whose commission is taken in units does not get all that it buys: it buys others for those, or they would
    stay short (rule 21). Where it and its twin both fill, each is charged by itself, rounded down, so that together
    they may bring a step more; the position says when there is nothing left to close.
    """
    if order.costs is None or order.side is Side.SELL:
        return units
    traded = order.quantity
    return order.costs.gross(units, step, traded, order.costs.keep(ZERO, traded, step))


def stops_loss(order: Order) -> bool:
    """Whether it waits for a price that moves against who waits: of two legs the worse outcome (rule 10)."""
    return order.order_type in _ADVERSE


class Clash(NamedTuple):
    """An exit on the wrong side of where its parent enters, or of its twin: it would be reached at once.

    Attributes:
        field: the price that it waits for.
        bound: what that must lie beyond.
    """

    field: str
    price: Decimal
    bound: Decimal
    message: str


def clash_of(child: Order, other: Order, reference: Decimal | None = None) -> Clash | None:
    """How a bracket's exit clashes with another of its orders; None where it does not.

    Args:
        other: its twin, on whose side it is, or its parent.
        reference: the last price for the parent's side, where it is held against that too.
    """
    twin, stops = other.side is child.side, stops_loss(child)
    price, above = aim(child), stops is (child.side is Side.BUY)
    if twin:
        bounds = [None if stops_loss(other) is stops else aim(other)]
    else:
        bounds = [_entry(other, child), None if reference is None else _at_once(other, reference)]
    known = [each for each in bounds if each is not None]
    if price is None or not known:
        return None
    bound = max(known) if above else min(known)
    if price > bound if above else price < bound:
        return None
    field = "limit_price" if child.order_type is OrderType.LIMIT else "stop_price"
    where = "its twin is" if twin else "the entry is"
    return Clash(field, price, bound, f"must be {'above' if above else 'below'} {format_decimal(bound)}, where {where}")


def inverted(orders: Sequence[Order], reference: Decimal | None) -> Refusal | None:
    """Why a list asked for now is none: at its first order's ``reference`` price it would fill beyond an exit."""
    parent, *children = orders
    if parent.contingency_type is not _BRACKET:
        return None
    for child in children:
        if clash := clash_of(child, parent, reference):
            return Refusal("BRACKET_INVERTED", clash.field, clash.bound, clash.price)
    return None


def aim(child: Order) -> Decimal | None:
    """The price that an exit waits for; None for one that trails."""
    return child.limit_price if child.order_type is OrderType.LIMIT else child.stop_price


def cut(order: Order, units: Decimal) -> Order:
    """``order`` for so many units fewer, because its twin has filled them; what it reserved shrinks likewise."""
    quantity = order.quantity - units
    held = share_of_reservation(order, quantity)
    return order._replace(quantity=quantity, leaves_quantity=order.leaves_quantity - units, reservation=held)


def _check_waiting(kind: ContingencyType, order: Order, place: int) -> None:
    if order.time_in_force not in _RESTING:
        raise BadList(
            "must be DAY, GTC or GTD for an order that waits for another or has a twin", place, "time_in_force"
        )
    if kind is _OTO:
        return
    if order.order_type is OrderType.MARKET:
        raise BadList("must not be MARKET for an order that has a twin", place, "order_type")
    if order.cash_quantity is not None:
        raise BadList("must not be given for an order that has a twin", place, "cash_quantity")
    if order.display_quantity is not None:
        raise BadList("must not be given for an order that has a twin", place, "display_quantity")


def _check_alike(order: Order, first: Order, place: int) -> None:
    for field in ("symbol", "side", "quantity", "reduce_only"):
        if getattr(order, field) != getattr(first, field):
            raise BadList("must be the same for both orders of an OCO", place, field)


def _check_bracket(orders: Sequence[Order]) -> None:
    parent, *children = orders
    if parent.reduce_only:
        raise BadList("must not be given for the order that opens the position", 0, "reduce_only")
    for place, child in enumerate(children, start=1):
        if child.symbol != parent.symbol:
            raise BadList("must be that of the list's first order", place, "symbol")
        if child.side is parent.side:
            raise BadList("must be opposite to that of the list's first order", place, "side")
        if child.quantity != ZERO:
            raise BadList("must not be given: it is for what the list's first order fills", place, "quantity")
    first, second = children
    # One that expired would take the other with it, and leave the position bare.
    for field in ("time_in_force", "expire_time"):
        if getattr(first, field) != getattr(second, field):
            raise BadList("must be the same for both exits of a BRACKET", 2, field)
    for place, child, other in ((1, first, parent), (2, second, parent), (2, second, first)):
        if clash := clash_of(child, other):
            raise BadList(clash.message, place, clash.field)


def _entry(parent: Order, child: Order) -> Decimal | None:
    """Where a parent enters by its own prices, as far as it matters to an exit; None where it has none."""
    limit, trigger = parent.limit_price, parent.stop_price
    if limit is None or trigger is None:
        return trigger if limit is None else limit
    # It pays its limit at worst, and may fill at its trigger already.
    if not stops_loss(child):
        return limit
    return min(limit, trigger) if child.side is Side.SELL else max(limit, trigger)


def _at_once(parent: Order, reference: Decimal) -> Decimal | None:
    """What a parent fills at if the next price is ``reference``; None where it waits for another, or is canceled.

    A limit that the market has passed, or a trigger that it has reached, fills where the market is, as at MARKET.
    """
    limit, trigger, buys = parent.limit_price, parent.stop_price, parent.side is Side.BUY
    if parent.post_only or parent.order_type is OrderType.TRAILING_STOP:
        return None
    if limit is not None and (reference > limit if buys else reference < limit):
        return None
    if trigger is not None and parent.state not in TRIGGERED_STATES:
        rises = (parent.order_type in STOPS) is buys
        if reference < trigger if rises else reference > trigger:
            return None
    return reference
