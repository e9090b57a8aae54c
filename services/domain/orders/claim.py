"""What one open order lays claim to (rule 4)."""

from collections.abc import Iterable
from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.orders.order import ContingencyType, Order, OrderState, Side, reserved_cash
from services.domain.values import new


class Claim(NamedTuple):
    """What one open order lays claim to.

    Attributes:
        quantity: signed units that may still be traded.
        cash: still reserved.
        covering: units of a short that a reduce-only order may cover, with their collateral.
        confirmed: an event has said that it exists.
        pair: of an order with a twin, both orders' list; the two claim the larger of what each does. Else empty.
        strategy_id: whose order it is; empty where no strategy decided it.
        closing: signed units that it may trade, and that can only close; see ``only_closes``.
    """

    portfolio_id: str
    symbol: str
    quantity: Decimal
    cash: Decimal
    covering: Decimal
    confirmed: bool
    pair: str = ""
    strategy_id: str = ""
    closing: Decimal = ZERO


_BUY, _OCO, _BRACKET = Side.BUY, ContingencyType.OCO, ContingencyType.BRACKET
_WAITING = frozenset({OrderState.PENDING_NEW, OrderState.HELD})


def claim_of(order: Order) -> Claim:
    """What an open order claims, from its value alone (an event's, so confirmed)."""
    if order.reduce_only:
        units = ZERO
    elif order.cash_quantity is None:
        units = order.quantity - order.cum_quantity
    else:
        units = max(ZERO, abs(order.reservation.quantity) - order.cum_quantity)
    signed = units if order.side is _BUY else -units
    closing = closing_of(order, signed) if only_closes(order) else ZERO
    whose, told = (order.portfolio_id, order.symbol), (True, pair_of(order), order.strategy_id)
    return new(Claim, (*whose, signed, reserved_cash(order), covering_of(order), *told, closing))


def only_closes(order: Order) -> bool:
    """Whether the order may not open or enlarge a position.

    It says so, or it is a sale that has nothing set aside for a short: it passed its check because it only closed what
    was held then, and an order that reserves nothing may have closed that since (rules 4 and 19).
    """
    reserved = order.reservation
    return order.reduce_only or (order.side is Side.SELL and bool(reserved.quantity) and not reserved.cash)


def closing_of(order: Order, signed: Decimal) -> Decimal:
    """The signed units that an order which ``only_closes`` may trade; a plain one's are ``signed``.

    A bracket's exits count from when they come to life. With them come the units that they close, so what the entry
    brings and they close again lets nobody go further than before.
    """
    if not order.reduce_only:
        return signed
    if order.contingency_type is _BRACKET and order.state in _WAITING:
        return ZERO
    units = order.quantity - order.cum_quantity
    return units if order.side is _BUY else -units


def covering_of(order: Order) -> Decimal:
    """The units of a short that a reduce-only order may still cover."""
    return order.quantity - order.cum_quantity if order.reduce_only and order.side is _BUY else ZERO


def pair_of(order: Order) -> str:
    """The list of an order that has a twin: of an OCO's legs, and of a bracket's exits."""
    kind = order.contingency_type
    return order.order_list_id if kind is _OCO or (kind is _BRACKET and order.reduce_only) else ""


def alike(one: Claim, other: Claim) -> bool:
    """Whether two claims of an order count the same, whether or not an event has said so."""
    return one[:5] == other[:5] and one.closing == other.closing


def together(claims: Iterable[Claim]) -> Claim | None:
    """What orders of which only one can fill claim; None for none of them."""
    legs = list(claims)
    if len(legs) < 2:
        return legs[0] if legs else None
    quantity, cash = max((leg.quantity for leg in legs), key=abs), max(leg.cash for leg in legs)
    closing = max((leg.closing for leg in legs), key=abs)
    if quantity and not all(leg.closing for leg in legs):
        closing = ZERO
    covering = max(leg.covering for leg in legs)
    return legs[0]._replace(quantity=quantity, cash=cash, covering=covering, closing=closing)
