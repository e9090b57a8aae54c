"""What an auction did to the orders that waited for it, in words (rule 15)."""

from decimal import Decimal

from services.domain.market import Auction, Clock, Record
from services.domain.money import decimal_of
from services.domain.money import format_decimal as _plain
from services.domain.orders.order import CancelReason, Order, Side, TimeInForce


def auction_met(order: Order, price: Decimal) -> str:
    """Why an order fills in an auction as it does."""
    limit = order.limit_price
    better = "" if limit is None or limit == price else f", better than its limit {_plain(limit)}"
    return f"It fills in the {_auction(order)} auction, which has one price for all: {_plain(price)}{better}."


def auction_missed(order: Order, record: Record | None) -> str:
    """Why an order that nothing of filled ended with its auction, by the record that ended it; empty of any other."""
    if order.cancel_reason is not CancelReason.AUCTION_OVER or order.cum_quantity:
        return ""
    which, limit = _auction(order), order.limit_price
    match record:
        case Auction():
            price = decimal_of(record.price)
            if limit is not None and (price > limit if order.side is Side.BUY else price < limit):
                return f"The {which} auction came to {_plain(price)}, beyond its limit {_plain(limit)}."
            return f"The {which} auction traded too little to give it any."
        case Clock():
            return f"Its session closed, and no {which} auction had filled it."
    return ""


def _auction(order: Order) -> str:
    return "opening" if order.time_in_force is TimeInForce.OPG else "closing"
