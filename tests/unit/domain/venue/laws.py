"""What the paper venue's laws say of one order or event."""

from decimal import Decimal

from services.domain.orders.lists import sized_by_parent
from services.domain.orders.order import STOPS, Order, OrderEvent, OrderType, Side, TimeInForce
from tests.unit.domain.venue.matching_reference import RESTING


def in_parents_bar(event: OrderEvent) -> bool:
    """Whether it is of a stop that the bar which filled its parent reached too (rule 13)."""
    order = event.order
    stop = order.order_type in STOPS and sized_by_parent(order)
    return stop and event.tape_sequence <= order.basis_sequence


def plain_limit(order: Order) -> bool:
    """Whether an order takes all that it gets at its limit; one that is post-only may be canceled instead."""
    patient = order.time_in_force in {*RESTING, TimeInForce.IOC}
    instructed = order.reduce_only or order.display_quantity or order.post_only or order.order_list_id
    return order.order_type is OrderType.LIMIT and patient and not instructed


def rank(order: Order) -> tuple[Decimal, int]:
    """By price, then time."""
    return (order.limit_price or Decimal(0)) * (-1 if order.side is Side.BUY else 1), order.priority
