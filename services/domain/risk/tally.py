"""What many holdings come to, kept as they change: so a check beside 10,000 holdings costs what it does beside 10.

Only what changed is counted anew. The sums are those of all holdings to the last digit, in whatever order they changed:
at 60 digits none is rounded.
"""

from decimal import Decimal
from typing import NamedTuple

from services.domain.accounting.holding import Holding
from services.domain.money import ZERO
from services.domain.orders.order import Side


class Sums(NamedTuple):
    """What holdings come to at their marks.

    Attributes:
        gross: absolute values, each with those open orders that make it largest.
        long, short: values of the one side and of the other, each with those open orders that lead furthest there, its
            own positive.
        value: signed values of what is held.
        size: absolute ones of that.
    """

    gross: Decimal = ZERO
    long: Decimal = ZERO
    short: Decimal = ZERO
    value: Decimal = ZERO
    size: Decimal = ZERO


NO_SUMS = Sums()


def sums_of(holding: Holding, price: Decimal) -> Sums:
    """What one comes to at the price of a unit."""
    each, quantity = price * holding.multiplier, holding.quantity
    long, short = holding.reach(Side.BUY), holding.reach(Side.SELL)
    return Sums(max(ZERO, long, short) * each, long * each, short * each, quantity * each, abs(quantity) * each)


class Tally:
    """The sums of one portfolio's holdings.

    Attributes:
        stale: symbols that are to be counted anew.
        total: of all that are counted.
    """

    __slots__ = ("_each", "stale", "total")

    def __init__(self) -> None:
        """Nothing is counted."""
        self.stale: set[str] = set()
        self.total = NO_SUMS
        self._each: dict[str, Sums] = {}

    def __contains__(self, symbol: str) -> bool:
        """Whether it was counted ever."""
        return symbol in self._each

    def count(self, symbol: str, sums: Sums) -> None:
        """Count one holding, in place of what it came to before."""
        before = self._each.get(symbol, NO_SUMS)
        self._each[symbol] = sums
        self.total = Sums(*(all_ - old + new for all_, old, new in zip(self.total, before, sums, strict=True)))
