"""Whether a record's prices reach an order, and in which turn (rules 8 to 10).

What is certain by continuity happens: a bar's path begins at its open, ends at its close and passes everything between.
What is only possible does not.
"""

from decimal import Decimal
from typing import NamedTuple

from services.domain.orders.order import LIMITED, STOPS, TRIGGERED_STATES, Order, OrderType, Side
from services.domain.prices import Prices
from services.domain.values import new
from services.domain.venue.offers.trailing import trigger_price

AT_ONCE, JUMPED, BETTERED, INSIDE, AT_CLOSE, MISSED = range(6)
"""At the first price what needs none, triggers it jumped, limits it bettered; inside a bar; at its close; missed."""
_MARKET, _LIMIT, _TOUCHED_LIMIT, _BUY = OrderType.MARKET, OrderType.LIMIT, OrderType.LIMIT_IF_TOUCHED, Side.BUY


class Attempt(NamedTuple):
    """An order's turn in a record. Attempts sort by price, then time: the order in which units are handed out.

    Attributes:
        group: one of the six above, in their order.
        distance: how far the price went until then; of bettered limits how much it bettered them, the most first.
        price: at which it fills; None for the record's own, its first or, at the close, its last.
        trigger: the trigger that is reached; None where none was waited for.
    """

    group: int
    distance: float
    arrival: int
    price: Decimal | None = None
    trigger: Decimal | None = None

    @property
    def at_first(self) -> bool:
        """Whether it happens at the record's first price."""
        return self.group <= BETTERED


def attempt(order: Order, arrival: int, prices: Prices, fill_on_touch: bool) -> Attempt:
    """What ``prices`` let ``order`` do (rules 8 and 9), if it doesn't trail; liveness and sizes are the caller's."""
    kind = order.order_type
    if kind is _LIMIT:
        return as_limit(order, arrival, prices, fill_on_touch)
    if kind is _MARKET:
        return new(Attempt, (AT_ONCE, 0.0, arrival, None, None))
    if order.state in TRIGGERED_STATES:
        if kind in LIMITED:
            return as_limit(order, arrival, prices, fill_on_touch)
        return new(Attempt, (AT_ONCE, 0.0, arrival, None, None))
    first, trigger = prices.first, float(order.stop_price or 0)
    rises = (order.side is _BUY) is (kind in STOPS)
    if first >= trigger if rises else first <= trigger:
        return Attempt(JUMPED, 0.0, arrival, None, order.stop_price)
    if prices.high >= trigger if rises else prices.low <= trigger:
        return Attempt(INSIDE, abs(first - trigger), arrival, order.stop_price, order.stop_price)
    return Attempt(MISSED, 0.0, arrival)


def trail(order: Order, arrival: int, prices: Prices, best: float, step: Decimal) -> tuple[Attempt, float]:
    """What ``prices`` let a TRAILING_STOP do that has seen ``best``, and the best price it has seen then.

    The record first meets the trigger as it was before it. If it is not reached, the record's own extreme moves it, and
    a bar that closes at or beyond the moved trigger has reached it for certain.
    """
    sells, first = order.side is not _BUY, prices.first
    adverse, extreme = (prices.low, prices.high) if sells else (prices.high, prices.low)
    after = max(best, extreme) if sells else min(best, extreme)
    trigger = trigger_price(order, best, step)
    if first <= trigger if sells else first >= trigger:
        return Attempt(JUMPED, 0.0, arrival, None, trigger), after
    if adverse <= trigger if sells else adverse >= trigger:
        return Attempt(INSIDE, abs(first - float(trigger)), arrival, trigger, trigger), after
    if after != best:
        trigger = trigger_price(order, after, step)
        if prices.last <= trigger if sells else prices.last >= trigger:
            distance = abs(extreme - first) + abs(extreme - float(trigger))
            return Attempt(INSIDE, distance, arrival, trigger, trigger), after
    return Attempt(MISSED, 0.0, arrival), after


def after_trigger(order: Order, how: Attempt, prices: Prices, fill_on_touch: bool) -> Attempt:
    """What is left of the record for a STOP_LIMIT or LIMIT_IF_TOUCHED that it triggered: the same turn, or a later one.

    Triggered at the first price, all the rest comes after. Triggered inside the bar, at its trigger, a price comes
    after for certain if it is the close, or lies beyond a trigger that it fell or rose to.
    """
    if how.group != INSIDE:
        follow = as_limit(order, how.arrival, prices, fill_on_touch)
        return how if follow.at_first else follow
    sign, limit, trigger = (1 if order.side is _BUY else -1), float(order.limit_price or 0), float(how.price or 0)
    if admits(sign * limit, sign * trigger, fill_on_touch):
        return how
    later = prices.last
    if order.order_type is _TOUCHED_LIMIT:
        later = prices.low if order.side is _BUY else prices.high
    if admits(sign * limit, sign * later, fill_on_touch):
        return Attempt(INSIDE, how.distance + abs(trigger - limit), how.arrival, order.limit_price)
    return Attempt(MISSED, 0.0, how.arrival)


def at_close(how: Attempt) -> Attempt:
    """The same in the closing auction, after all that happened before it."""
    if how.group == MISSED:
        return how
    distance = how.distance if how.group == BETTERED else float("-inf")
    return Attempt(AT_CLOSE, distance, how.arrival, None, how.trigger)


def admits(limit: float, price: float, fill_on_touch: bool) -> bool:
    """Whether a limit admits a price, both signed so that lower is better."""
    return price < limit or (fill_on_touch and price == limit)


def as_limit(order: Order, arrival: int, prices: Prices, fill_on_touch: bool) -> Attempt:
    """What ``prices`` let an order do at its limit, whatever triggered it."""
    first, limit = prices.first, float(order.limit_price or 0)
    rising = order.side is _BUY
    if (first < limit if rising else first > limit) or (fill_on_touch and first == limit):
        return new(Attempt, (BETTERED, -abs(first - limit), arrival, None, None))
    extreme = prices.low if rising else prices.high
    if (extreme < limit if rising else extreme > limit) or (fill_on_touch and extreme == limit):
        return new(Attempt, (INSIDE, abs(first - limit), arrival, order.limit_price, None))
    return new(Attempt, (MISSED, 0.0, arrival, None, None))
