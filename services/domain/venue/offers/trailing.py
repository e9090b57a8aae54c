"""Where a trailing stop triggers: behind the best price that it has met."""

from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from services.domain.money import decimal_of
from services.domain.orders.order import Order, Side
from services.domain.tape_index import TapeIndex


def trigger_price(order: Order, best: float, step: Decimal) -> Decimal:
    """Where a TRAILING_STOP triggers that has seen ``best``: a whole number of steps, away from the market."""
    return trigger_at(order.side, order.trailing_percent is not None, trailing_distance(order), best, step)


def best_price(index: TapeIndex, order: Order, calendar: str, row: int) -> float | None:
    """The best price that a trailing stop has met before ``row``, in today's units; None if it has met none.

    Read off the tape, so that an order taken back after a restart trails as if nothing had happened.
    """
    first = max(order.basis_sequence, index.split_before(order.symbol, row) + 1)
    met = index.met(order.symbol, order.side, calendar).extremes(first, row, order.basis_time + order.latency)
    sells = order.side is Side.SELL
    prices = [] if met is None else [met[sells]]
    if order.trail_price is not None:
        prices.append(float(order.trail_price))
    if not prices:
        return None
    return max(prices) if sells else min(prices)


def trailing_distance(order: Order) -> Decimal:
    """How far behind the best price it triggers: in money, or in percent of that price."""
    return order.trailing_amount or order.trailing_percent or Decimal(0)


def trigger_at(side: Side, by_percent: bool, distance: Decimal, best: float, step: Decimal) -> Decimal:
    """As ``trigger_price``, of the order's terms."""
    price = decimal_of(best)
    behind = price * distance / 100 if by_percent else distance
    if side is Side.SELL:
        return ((price - behind) / step).to_integral_value(ROUND_FLOOR) * step
    return ((price + behind) / step).to_integral_value(ROUND_CEILING) * step
