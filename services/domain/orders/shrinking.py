"""What an order has set aside once it is for less, of which no check is asked (rules 4 and 14)."""

from decimal import Decimal

from services.domain.money import at_most_places
from services.domain.orders.order import Order, Reservation, Side


def size_of(order: Order) -> Decimal:
    """What the order asks for: units, or cash."""
    return order.quantity if order.cash_quantity is None else order.cash_quantity


def share_of_reservation(order: Order, size: Decimal) -> Reservation:
    """What an order has set aside if it is for ``size`` in all, what has filled included.

    Cash and units are in proportion. The commission is what the order's model takes of so much at the price that they
    were set aside at: a minimum or what is charged by order stays. Never more than it was, nor less than was charged.
    """
    held, before = order.reservation, size_of(order)
    if size == before:
        return held
    after = held._replace(
        cash=at_most_places(held.cash * size / before, 9), quantity=at_most_places(held.quantity * size / before, 9)
    )
    return after._replace(commission=_commission(order, size)) if held.commission else after


def _commission(order: Order, size: Decimal) -> Decimal:
    """What stays set aside for the commission of all of it."""
    model, held = None if order.costs is None else order.costs.commission, order.reservation
    if model is None:
        return held.commission
    if order.cash_quantity is not None:
        units, amount = abs(held.quantity) * size / order.cash_quantity, size
    else:
        # A sale sets its margin aside, which says nothing of its price: that follows from its commission.
        buys = order.side is Side.BUY
        planned = held.cash if buys else model.most_traded(order.quantity, held.commission)
        units, amount = size, order.gross_amount + planned * (size - order.cum_quantity) / order.quantity
    return max(order.commission, min(held.commission, model.total(units, amount)))
