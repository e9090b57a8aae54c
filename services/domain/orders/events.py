"""What happens to orders, told: each event with its number, its place on the tape and its time."""

from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.orders.lifecycle import check_transition
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderState, Refusal, Side
from services.domain.values import new

_Last = tuple[Decimal, Decimal, Decimal, Decimal]
"""Units, price and commission of a fill, and the units that it kept as commission."""
_NOTHING: _Last = (ZERO, ZERO, ZERO, ZERO)


class When(NamedTuple):
    """A tape sequence, and the market time (ns) of what happens there."""

    sequence: int
    time: int


def refuse(order: Order, refusal: Refusal, when: When) -> OrderEvent:
    """The event of an order that never became one of the venue's: REJECTED, with the bound it hit."""
    check_transition(order.state, ExecType.REJECTED, OrderState.REJECTED)
    after = order._replace(state=OrderState.REJECTED, refusal=refusal, event_count=order.event_count + 1)
    return event_of(ExecType.REJECTED, after, when)


def event_of(exec_type: ExecType, after: Order, when: tuple[int, int], last: _Last = _NOTHING) -> OrderEvent:
    """The event that made the order what it is ``after`` it; of a fill with what it took. ``when`` may be any pair."""
    sequence, time = when
    what = (exec_type, after, time, sequence)
    return new(OrderEvent, what + last)


def position_change(event: OrderEvent) -> Decimal:
    """The signed units by which a fill changes the position."""
    return (
        event.last_quantity - event.last_commission_quantity if event.order.side is Side.BUY else -event.last_quantity
    )
