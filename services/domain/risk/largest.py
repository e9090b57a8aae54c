"""The most units with which an order passes its check, found by asking the gate of some quantities."""

from collections.abc import Callable
from decimal import Decimal
from functools import cache
from typing import Final

from services.domain.orders.order import Refusal
from services.domain.risk.gate import Verdict
from services.domain.risk.order_limits import BuyingPower

Answer = Callable[[int], Verdict]
"""The gate's verdict on so many increments."""

# What the roundings of a reservation, of its commission and of what can be spent may come to.
_ROUNDING: Final = Decimal("5e-9")


def largest(answer: Answer, most: int, covering: int) -> tuple[int, Refusal | None]:
    """The most increments that pass, zero where none do, and what refuses one more; None where nothing stops ``most``.

    Limits refuse only what makes things worse, so more units never pass where fewer do not: doubling and then halving
    finds the largest, by some hundred checks of 10 us. Not so of the units that cover a short. Each sets its share of
    the collateral free, and so more of them may pay for what few cannot: a commission that any number of units costs,
    for instance. Those are searched from above.

    Args:
        covering: the increments of a buy that cover a short; beyond them no more collateral comes free.
    """
    seen, covering = cache(answer), min(covering, most)
    passing, refused = 0, 1
    if covering:
        if seen(covering).refusal is not None:
            found = _below(seen, 1, covering)
            return found, seen(found + 1).refusal
        passing, refused = covering, min(covering + 1, most)
    while seen(refused).refusal is None:
        if refused == most:
            return most, None
        passing, refused = refused, min(2 * refused, most)
    found = _between(seen, passing, refused)
    return found, seen(found + 1).refusal


def _between(seen: Answer, passing: int, refused: int) -> int:
    """The most that pass, where no more do than do not."""
    while refused - passing > 1:
        middle = (passing + refused) // 2
        if seen(middle).refusal is None:
            passing = middle
        else:
            refused = middle
    return passing


def _below(seen: Answer, low: int, high: int) -> int:
    """The most that pass, from ``low`` to below ``high``, which does not; 0 where none do.

    What is spent is made of straight lines: each level of the book, each tier of a commission, what its minimum and its
    maximum take in. Where both ends of one do not pass nothing between them does. So a stretch that is not straight is
    cut, the upper part of it searched first. Not in the middle: around that two bends may make up for each other.
    """
    if high - low <= 1:
        return low if low < high and seen(low).refusal is None else 0
    cut = (low + 2 * high) // 3
    at_low, at_cut, at_high = (_spent(seen(each)) for each in (low, cut, high))
    if at_cut is None:
        return _below(seen, low, cut)
    if at_low is not None and at_high is not None:
        bend = (at_cut - at_low) * (high - low) - (at_high - at_low) * (cut - low)
        if abs(bend) <= _ROUNDING * (high - low):
            return _between(seen, low, high) if seen(low).refusal is None else 0
    return _below(seen, cut, high) or _below(seen, low, cut)


def _spent(verdict: Verdict) -> Decimal | None:
    """By how much an order spends more than there is, negative where less; None where another limit refuses it."""
    if verdict.reservation is not None:
        return -verdict.reservation.headroom
    refusal = verdict.refusal
    return refusal.missing if refusal is not None and refusal.limit == BuyingPower.name else None
