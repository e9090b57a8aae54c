"""What becomes of an open order that is replaced (FIX cancel/replace): it keeps id, type, side and time in force."""

from decimal import Decimal
from typing import NamedTuple

from services.domain.money import at_most_places
from services.domain.orders.order import TRIGGERED_STATES, Order, OrderType, Reservation
from services.domain.orders.shape import BadShape, check_shape

_TRIGGERS = frozenset({"stop_price", "trailing_amount", "trailing_percent"})
BELOW_FILLED, TRIGGERED, IMPOSSIBLE = "QUANTITY_BELOW_FILLED", "ORDER_TRIGGERED", "INVALID_ARGUMENT"
OF_LIST = "LIST_QUANTITY_FIXED"
REFUSED_QUIETLY = frozenset({BELOW_FILLED, TRIGGERED})
"""Reasons that a fill may have made; the others are the asker's mistakes."""
_PRICES = ("limit_price", "stop_price", "trailing_amount", "trailing_percent")


class CannotReplace(ValueError):
    """The order cannot be what was asked; nothing was changed.

    Attributes:
        reason: the error reason on the wire: ``QUANTITY_BELOW_FILLED``, ``LIST_QUANTITY_FIXED``, ``ORDER_TRIGGERED`` or
            ``INVALID_ARGUMENT``.
        field: the term that does not go with the order; empty for the other reasons.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.field = reason, field


class Replacement(NamedTuple):
    """New terms of an order; None leaves a term as it is.

    Attributes:
        quantity: the new total, what has filled included.
        expire_time: market time, ns.
    """

    quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_amount: Decimal | None = None
    trailing_percent: Decimal | None = None
    display_quantity: Decimal | None = None
    expire_time: int | None = None


def replaced(order: Order, terms: Replacement, reservation: Reservation | None = None) -> Order:
    """``order`` on new terms.

    Args:
        reservation: what a check set aside for all of it, filled units included; without one each unit keeps what it
            has reserved.

    Raises:
        CannotReplace: it would be no more than what has filled, or another quantity than its list's; its trigger has
            been reached, or the terms do not go with its type.
    """
    changes = {name: value for name, value in terms._asdict().items() if value is not None}
    triggered = order.state in TRIGGERED_STATES and order.order_type is not OrderType.LIMIT
    if triggered and not changes.keys().isdisjoint(_TRIGGERS):
        raise CannotReplace(TRIGGERED, f"order {order.order_id} has been triggered")
    # Who trails by an amount may go on by a percentage, and the other way round.
    if terms.trailing_amount is not None:
        changes.setdefault("trailing_percent", None)
    elif terms.trailing_percent is not None:
        changes["trailing_amount"] = None
    after = order._replace(**changes)
    if terms.quantity is not None and order.order_list_id:
        raise CannotReplace(OF_LIST, f"order {order.order_id} shares its quantity with its list {order.order_list_id}")
    if terms.quantity is not None and order.cash_quantity is None:
        if terms.quantity <= order.cum_quantity:
            raise CannotReplace(BELOW_FILLED, f"order {order.order_id} has filled {order.cum_quantity} units")
        after = after._replace(leaves_quantity=terms.quantity - order.cum_quantity)
    _check(order, after, terms)
    return after._replace(reservation=reservation or _in_proportion(order, after))


def needs_check(before: Order, after: Order) -> bool:
    """Whether new terms ask for more units, or for any other price: bands hold on both sides of the reference.

    Also of an order that only reduces: it reserves nothing, but what stops orders stops more of it too.
    """
    if any(getattr(after, name) != getattr(before, name) for name in _PRICES):
        return True
    return after.quantity > before.quantity


def keeps_priority(before: Order, after: Order) -> bool:
    """Whether nothing but the quantity changed, and that not upwards."""
    same = after._replace(
        quantity=before.quantity, leaves_quantity=before.leaves_quantity, reservation=before.reservation
    )
    return same == before and after.quantity <= before.quantity


def _check(order: Order, after: Order, terms: Replacement) -> None:
    if order.cash_quantity is not None:
        if terms.quantity is not None:
            raise CannotReplace(IMPOSSIBLE, f"order {order.order_id} states a cash_quantity", "quantity")
        # Sized by its last fill, it has a quantity of its own.
        after = after._replace(quantity=Decimal(0))
    try:
        check_shape(after)
    except BadShape as error:
        given = [name for name, value in terms._asdict().items() if value is not None]
        # Fewer units may fall below what an iceberg shows: then it is they that cannot be.
        field = error.field if error.field in given else given[0]
        raise CannotReplace(IMPOSSIBLE, str(error), field) from error


def _in_proportion(order: Order, after: Order) -> Reservation:
    held = order.reservation
    if after.quantity == order.quantity:
        return held
    cash = at_most_places(held.cash * after.quantity / order.quantity, 9)
    return held._replace(cash=cash, quantity=held.quantity * after.quantity / order.quantity)
