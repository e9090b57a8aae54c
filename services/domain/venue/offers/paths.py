"""The way prices are said to have gone inside a bar, where somebody says so (rule 10).

A path goes straight from the open to one extreme, from there to the other, and on to the close. How far it has gone
when it is at a price says what happened first.
"""

from decimal import Decimal
from itertools import pairwise

from services.domain.filling import BarPath, VenueSettings
from services.domain.orders.order import Order, Side
from services.domain.prices import Prices
from services.domain.venue.offers.reach import INSIDE, JUMPED, MISSED, Attempt, admits, as_limit
from services.domain.venue.offers.trailing import trigger_price

_BUY = Side.BUY


def stated(settings: VenueSettings) -> bool:
    """Whether the settings say which way prices went inside a bar."""
    return settings.bar_path is BarPath.BY_DIRECTION


def along(how: Attempt, prices: Prices) -> Attempt:
    """An attempt in its turn on the path; what happens at a first price stays first."""
    if how.group != INSIDE or how.price is None:
        return how
    return how._replace(distance=_distance(prices, float(how.price)) or 0.0)


def after_trigger_along(order: Order, how: Attempt, prices: Prices, fill_on_touch: bool) -> Attempt:
    """See ``reach.after_trigger``: here it is known what comes after the trigger."""
    if how.group != INSIDE:
        follow = as_limit(order, how.arrival, prices, fill_on_touch)
        return how if follow.at_first else along(follow, prices)
    sign, limit, trigger = (1 if order.side is _BUY else -1), float(order.limit_price or 0), float(how.price or 0)
    if admits(sign * limit, sign * trigger, fill_on_touch):
        return how
    best = min(sign * point for point in _rest(prices, trigger, how.distance))
    if admits(sign * limit, best, fill_on_touch):
        return Attempt(INSIDE, _distance(prices, limit, how.distance) or 0.0, how.arrival, order.limit_price)
    return Attempt(MISSED, 0.0, how.arrival)


def trail_along(order: Order, arrival: int, prices: Prices, best: float, step: Decimal) -> tuple[Attempt, float]:
    """See ``reach.trail``: here the trigger moves as the path goes on."""
    sign = -1 if order.side is _BUY else 1
    trigger = trigger_price(order, best, step)
    after = max((best, prices.low if sign < 0 else prices.high), key=lambda price: sign * price)
    if sign * prices.first <= sign * float(trigger):
        return Attempt(JUMPED, 0.0, arrival, None, trigger), after
    gone = 0.0
    for begin, end in pairwise(_points(prices)):
        best = max(best, begin, key=lambda price: sign * price)
        trigger = trigger_price(order, best, step)
        if sign * end <= sign * float(trigger):
            return Attempt(INSIDE, gone + abs(begin - float(trigger)), arrival, trigger, trigger), after
        gone += abs(end - begin)
    return Attempt(MISSED, 0.0, arrival), after


def distance_after(entry: Attempt, prices: Prices, price: float) -> float | None:
    """How far the path has gone when it comes to ``price`` after an order's turn; None if it comes there no more."""
    return _distance(prices, price, entry.distance if entry.group == INSIDE else 0.0)


def _points(prices: Prices) -> tuple[float, float, float, float]:
    """Where it begins, turns twice and ends: to the low first where the bar closes at its open or above."""
    first, low, high, last = prices
    return (first, low, high, last) if last >= first else (first, high, low, last)


def _distance(prices: Prices, price: float, after: float = 0.0) -> float | None:
    """How far the path has gone, at least ``after``, when it is first at ``price``; None if it is there no more."""
    gone = 0.0
    for begin, end in pairwise(_points(prices)):
        there = gone + abs(price - begin)
        if min(begin, end) <= price <= max(begin, end) and there >= after:
            return there
        gone += abs(end - begin)
    return None


def _rest(prices: Prices, price: float, after: float) -> list[float]:
    """``price``, where the path is when it has gone ``after``, and the points that it still turns or ends at."""
    gone, points = 0.0, _points(prices)
    for place, (begin, end) in enumerate(pairwise(points)):
        if min(begin, end) <= price <= max(begin, end) and gone + abs(price - begin) >= after:
            return [price, *points[place + 1 :]]
        gone += abs(end - begin)
    return [price]
