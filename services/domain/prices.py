"""What one side of the market meets in a record."""

from typing import NamedTuple

from services.domain.orders.order import Side
from services.domain.tape import Kind
from services.domain.values import new


class Prices(NamedTuple):
    """The first price there is, how far prices went below and above it, and the last: of a bar its open and close."""

    first: float
    low: float
    high: float
    last: float

    def at_first(self) -> "Prices":
        """The record as its opening auction sees it: one price."""
        return Prices(self.first, self.first, self.first, self.first)

    def at_last(self) -> "Prices":
        """The record as its closing auction sees it: one price."""
        return Prices(self.last, self.last, self.last, self.last)


_BUY, _BAR, _QUOTE = Side.BUY, Kind.BAR, Kind.QUOTE


def prices_of(kind: Kind, values: list[float], side: Side) -> Prices:
    """The prices of a record's values for orders of ``side``: buys meet a quote's ask, sells its bid."""
    if kind is _BAR:
        return new(Prices, (values[0], values[2], values[1], values[3]))
    price = values[1] if kind is _QUOTE and side is _BUY else values[0]
    return new(Prices, (price, price, price, price))


def column_of(kind: Kind, side: Side, highest: bool) -> int:
    """The tape's value column that holds how far prices went up, or down, for orders of ``side``."""
    if kind is _BAR:
        return 1 if highest else 2
    return 1 if kind is _QUOTE and side is _BUY else 0
