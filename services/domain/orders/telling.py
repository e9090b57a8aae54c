"""Why orders were refused, ended or changed, in words that need nothing but the orders themselves."""

from decimal import Decimal
from typing import Final

from services.domain.money import format_decimal as _plain
from services.domain.orders.order import CancelReason, Order, OrderEvent
from services.domain.orders.replacing import INVERTED, Replacement

_ENDS: Final = {
    CancelReason.IOC_REMAINDER: "It is IOC: what its first record did not fill is canceled.",
    CancelReason.INSUFFICIENT_CASH: "It came to cost more than was set aside, and the cash affords no more.",
    CancelReason.KILL_SWITCH: "A kill switch was engaged.",
    CancelReason.END_OF_SESSION: "Its session closed.",
    CancelReason.END_OF_TAPE: "The tape ended.",
    CancelReason.CORPORATE_ACTION: "A split left less than one increment of it.",
    CancelReason.DISCONNECTED: "The session that created it ended, and had asked for this.",
    CancelReason.FOK_UNFILLED: "It is FOK, and its first record could not fill all of it.",
    CancelReason.POST_ONLY: "It is post-only, and would have filled at once.",
    CancelReason.NOTHING_TO_REDUCE: "It only reduces, and there is no position left to.",
    CancelReason.TWIN_FILLED: "Its twin filled.",
    CancelReason.END_OF_TIME: "Its time came.",
    CancelReason.AUCTION_OVER: "Its auction is over.",
    CancelReason.PARENT_ENDED: "The order that it waited for ended.",
    CancelReason.TWIN_ENDED: "Its twin ended.",
    CancelReason.CHILD_FILLED: "One of its children filled: who leaves enters no more.",
    CancelReason.CHILD_ENDED: "One of its exits was canceled or expired: nothing enters without them.",
    CancelReason.CANCEL_TIMER: "A cancel timer was not armed again in time.",
}


def refusal_told(order: Order) -> str:
    """Why an order was refused: by which bound, and what it came to."""
    refusal = order.refusal
    if refusal is None:
        return "It was refused."
    if refusal.reason == INVERTED:
        return f"It was refused: {inversion_told(refusal.limit, _plain(refusal.value), _plain(refusal.bound))}."
    refused, who = "It was refused", "the order"
    if refusal.order_id not in {"", order.order_id}:
        refused, who = f"It was refused with its list: order {refusal.order_id} was refused", "that order"
    if not refusal.measured:
        why = f" ({refusal.kill_switch_reason})" if refusal.kill_switch_reason else ""
        return f"{refused} by {refusal.limit}: {refusal.reason}{why}."
    missing = f", {_plain(refusal.missing)} is missing" if refusal.missing else ""
    bound, value = _plain(refusal.bound), _plain(refusal.value)
    return f"{refused} by {refusal.limit}, which allows {bound}: {who} makes it {value}{missing}."


def inversion_told(term: str, price: str, entry: str) -> str:
    """What is wrong with a bracket whose entry would fill beyond one of its exits."""
    return f"the {term} {price} of an exit is on the wrong side of {entry}, where the entry would fill"


def end_told(order: Order, principal: str) -> str:
    """Why what was left of an order was canceled or expired; ``principal`` is who asked for it."""
    reason = order.cancel_reason
    if reason is CancelReason.REQUESTED:
        return f"{principal or 'Somebody'} asked for its end."
    if reason is CancelReason.INSUFFICIENT_CASH and order.cash_quantity is not None:
        return "What is left of its cash affords no whole increment."
    if reason is CancelReason.NOTHING_TO_REDUCE and not order.reduce_only:
        return "Nothing was set aside for it to open a position, and there is none left that it could reduce."
    return _ENDS.get(reason, f"{reason.name}.")


def terms_told(order: Order, previous: OrderEvent | None) -> str:
    """Which terms of an order its owner changed, and from what; ``previous`` is its event before."""
    if previous is None:
        return "Its owner put it on new terms."
    pairs = ((name, getattr(previous.order, name), getattr(order, name)) for name in Replacement._fields)
    changed = [f"{name} from {_term(before)} to {_term(after)}" for name, before, after in pairs if before != after]
    return f"Its owner changed its {', '.join(changed)}." if changed else "Its owner put it on new terms."


def _term(value: Decimal | int | None) -> str:
    return _plain(value) if isinstance(value, Decimal) else str(value or "nothing")
