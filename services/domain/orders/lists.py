"""Order lists (FIX 1385): orders that come together, and what one of them means for the others (rules 4, 6 and 13).

    OCO      two orders for the same units, its legs: what one fills the other no longer asks for, and where one ends
             otherwise the other does too
    OTO      a parent, and others that wait for it: they come to life when it is filled whole, or end with it
    BRACKET  a parent, and two that close what it opens: they come to life as far as it is filled, reduce only, and are
             legs of an OCO among themselves; where they end but by a fill, so does what is left of the parent

The orders' own values say all of it, so a venue that takes them back after a restart knows no less. A list's id is its
first order's.
"""

from collections.abc import Sequence
from decimal import Decimal

from services.domain.money import ZERO, at_most_places, format_decimal
from services.domain.orders.order import STOPS, ContingencyType, Order, OrderType, Side, TimeInForce

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


def stops_loss(order: Order) -> bool:
    """Whether it waits for a price that moves against who waits: of two legs the worse outcome (rule 10)."""
    return order.order_type in _ADVERSE


def cut(order: Order, units: Decimal) -> Order:
    """``order`` for so many units fewer, because its twin has filled them; what it reserved shrinks likewise."""
    quantity, held = order.quantity - units, order.reservation
    share = held._replace(
        cash=at_most_places(held.cash * quantity / order.quantity, 9),
        quantity=at_most_places(held.quantity * quantity / order.quantity, 9),
    )
    return order._replace(quantity=quantity, leaves_quantity=order.leaves_quantity - units, reservation=share)


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
    _check_sides(parent, *children)


def _check_sides(parent: Order, first: Order, second: Order) -> None:
    """Refuse an exit on the wrong side of where the parent enters, or of the other: it would be reached at once."""
    entry = parent.stop_price if parent.limit_price is None else parent.limit_price
    sides = [(1, first, entry, "the entry"), (2, second, entry, "the entry")]
    if stops_loss(first) is not stops_loss(second):
        sides.append((2, second, _aim(first), "its twin"))
    for place, child, other, whose in sides:
        price, above = _aim(child), stops_loss(child) is (child.side is Side.BUY)
        if price is None or other is None or (price > other if above else price < other):
            continue
        field = "limit_price" if child.order_type is OrderType.LIMIT else "stop_price"
        beyond = "above" if above else "below"
        raise BadList(f"must be {beyond} {format_decimal(other)}, where {whose} is", place, field)


def _aim(child: Order) -> Decimal | None:
    """The price that an exit waits for; None for one that trails."""
    return child.limit_price if child.order_type is OrderType.LIMIT else child.stop_price
