"""What becomes of an open order that is replaced (FIX cancel/replace): it keeps id, type, side and time in force."""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.orders.lists import aim, clash_of, sized_by_parent
from services.domain.orders.order import (
    TRIGGERED_STATES,
    ContingencyType,
    Order,
    OrderState,
    OrderType,
    Reservation,
)
from services.domain.orders.shape import BadShape, check_shape
from services.domain.orders.shrinking import share_of_reservation, size_of

_TRIGGERS = frozenset({"stop_price", "trailing_amount", "trailing_percent"})
BELOW_FILLED, TRIGGERED, IMPOSSIBLE = "QUANTITY_BELOW_FILLED", "ORDER_TRIGGERED", "INVALID_ARGUMENT"
OF_LIST, INVERTED = "LIST_QUANTITY_FIXED", "BRACKET_INVERTED"
REFUSED_QUIETLY = frozenset({BELOW_FILLED, TRIGGERED, INVERTED})
"""Reasons that a fill may have made, or one that has not come; the others are the asker's mistakes."""
_PRICES = ("limit_price", "stop_price", "trailing_amount", "trailing_percent")


class CannotReplace(ValueError):
    """The order cannot be what was asked; nothing was changed.

    Attributes:
        reason: the error reason on the wire: ``QUANTITY_BELOW_FILLED``, ``LIST_QUANTITY_FIXED``, ``ORDER_TRIGGERED``,
            ``BRACKET_INVERTED`` or ``INVALID_ARGUMENT``.
        field: the term that does not go with the order; empty for the other reasons.
    """

    def __init__(self, reason: str, message: str, field: str = "") -> None:
        super().__init__(message)
        self.reason, self.field = reason, field


class Replacement(NamedTuple):
    """New terms of an order; None leaves a term as it is.

    Attributes:
        quantity: the new total, what has filled included.
        cash_quantity: likewise, of an order by cash: what has been spent included, its commission not.
        expire_time: market time, ns.
    """

    quantity: Decimal | None = None
    cash_quantity: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_amount: Decimal | None = None
    trailing_percent: Decimal | None = None
    display_quantity: Decimal | None = None
    expire_time: int | None = None


def replaced(
    order: Order,
    terms: Replacement,
    reservation: Reservation | None = None,
    relatives: Sequence[Order] = (),
    reference: Decimal | None = None,
) -> Order:
    """``order`` on new terms.

    Args:
        reservation: what a check set aside for all of it, filled units included; without one each unit keeps what it
            has reserved.
        relatives: the open orders of its list.
        reference: the last price for the list's first order, where its exits are held against what it would fill at.

    Raises:
        CannotReplace: it would be no more than what has filled, or another quantity than its list's; its trigger has
            been reached, the terms do not go with its type, or they would make a bracket none.
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
    _check_size(order, terms)
    after = order._replace(**changes)
    if terms.quantity is not None:
        after = after._replace(leaves_quantity=terms.quantity - order.cum_quantity)
    _check_shape(after, terms)
    if order.contingency_type is ContingencyType.BRACKET:
        _check_bracket(order, after, relatives, reference)
    return after._replace(reservation=reservation or share_of_reservation(order, size_of(after)))


def needs_check(before: Order, after: Order) -> bool:
    """Whether new terms ask for more units, or for any other price: bands hold on both sides of the reference.

    Also of an order that only reduces: it reserves nothing, but what stops orders stops more of it too.
    """
    if any(getattr(after, name) != getattr(before, name) for name in _PRICES):
        return True
    return size_of(after) > size_of(before)


def keeps_priority(before: Order, after: Order) -> bool:
    """Whether nothing but the quantity changed, and that not upwards."""
    same = after._replace(
        quantity=before.quantity,
        cash_quantity=before.cash_quantity,
        leaves_quantity=before.leaves_quantity,
        reservation=before.reservation,
    )
    return same == before and size_of(after) <= size_of(before)


def _check_size(order: Order, terms: Replacement) -> None:
    by_cash = order.cash_quantity is not None
    other = "quantity" if by_cash else "cash_quantity"
    if getattr(terms, other) is not None:
        raise CannotReplace(IMPOSSIBLE, f"order {order.order_id} states a {'cash_' if by_cash else ''}quantity", other)
    wanted, done = (terms.cash_quantity, order.gross_amount) if by_cash else (terms.quantity, order.cum_quantity)
    if wanted is None:
        return
    if order.order_list_id:
        raise CannotReplace(OF_LIST, f"order {order.order_id} shares its quantity with its list {order.order_list_id}")
    if wanted <= done:
        raise CannotReplace(BELOW_FILLED, f"order {order.order_id} has filled {done}")


def _check_shape(after: Order, terms: Replacement) -> None:
    if after.cash_quantity is not None:
        # Sized by its last fill, it has a quantity of its own.
        after = after._replace(quantity=ZERO)
    try:
        check_shape(after)
    except BadShape as error:
        given = [name for name, value in terms._asdict().items() if value is not None]
        # Fewer units may fall below what an iceberg shows: then it is they that cannot be.
        field = error.field if error.field in given else given[0]
        raise CannotReplace(IMPOSSIBLE, str(error), field) from error


def _check_bracket(before: Order, after: Order, relatives: Sequence[Order], reference: Decimal | None) -> None:
    """Refuse prices, or an expiry, that ``check_list`` would; once the entry fills, its exits go where they like."""
    others = [each for each in relatives if each.order_id != after.order_id]
    for other in others:
        if not sized_by_parent(after):
            _check_entry(before, after, other, reference)
        elif sized_by_parent(other) or after.state is OrderState.HELD:
            _check_exit(before, after, other, reference)


def _check_entry(before: Order, after: Order, child: Order, reference: Decimal | None) -> None:
    moved = any(getattr(after, name) != getattr(before, name) for name in ("limit_price", "stop_price"))
    if moved and child.state is OrderState.HELD and (clash := clash_of(child, after, reference)):
        raise CannotReplace(INVERTED, f"the {clash.field} of its exit {child.order_id} {clash.message}")


def _check_exit(before: Order, after: Order, other: Order, reference: Decimal | None) -> None:
    if aim(after) != aim(before) and (clash := clash_of(after, other, reference)):
        raise CannotReplace(INVERTED, f"the {clash.field} {clash.message}")
    if after.expire_time not in {before.expire_time, other.expire_time} and sized_by_parent(other):
        raise CannotReplace(IMPOSSIBLE, f"must stay that of its twin {other.order_id}", "expire_time")
