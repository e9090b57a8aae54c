"""Which price level of a quote a fill came from, as the quote shows it (rules 11 and 14)."""

from decimal import Decimal
from typing import NamedTuple

from services.domain.costs import slipped
from services.domain.market import Quote
from services.domain.money import ZERO, decimal_of, format_decimal, snap
from services.domain.orders.order import LIMITED, ExecType, Order, OrderEvent, Side


class LevelMet(NamedTuple):
    """A level: its place, 1 for the best, and its price."""

    place: int
    price: Decimal


def level_met(event: OrderEvent, previous: OrderEvent | None, quote: Quote, increment: Decimal) -> LevelMet | None:
    """The level behind the best price that a fill came from; None where it came from the best, or none fits.

    Slippage may have moved two levels to one price, a limit: then the earlier fill came from the nearer.
    """
    order = event.order
    levels = [snap(decimal_of(price), increment) for price, _ in (quote.asks if order.side is Side.BUY else quote.bids)]
    found = [
        LevelMet(place, price)
        for place, price in enumerate(levels, 1)
        if _as_filled(order, price, quote, increment) == event.last_price
    ]
    if not found:
        return None
    before = (ExecType.TRADE, event.tape_sequence, event.last_price)
    again = previous is not None and (previous.exec_type, previous.tape_sequence, previous.last_price) == before
    level = found[-1 if again else 0]
    return level if level.place > 1 else None


def level_told(order: Order, level: LevelMet, price: Decimal) -> str:
    """Why a fill has its price, in a sentence."""
    side = "asks" if order.side is Side.BUY else "bids"
    text = f"What was better was used up: it takes the {side}' level {level.place}, {format_decimal(level.price)}"
    return f"{text}, which slippage moved to {format_decimal(price)}." if level.price != price else f"{text}."


def _as_filled(order: Order, price: Decimal, quote: Quote, increment: Decimal) -> Decimal:
    """What a level comes to for an order: no model's impact, as walking is its own."""
    slippage = None if order.costs is None else order.costs.slippage
    if slippage is None:
        return price
    two_sided = quote.bid > 0 and quote.ask > 0
    spread = decimal_of(quote.ask) - decimal_of(quote.bid) if two_sided else ZERO
    limit = order.limit_price if order.order_type in LIMITED else None
    distance = slippage.distance(price, spread, ZERO)
    return slipped(price, distance, increment, buys=order.side is Side.BUY, limit=limit)
