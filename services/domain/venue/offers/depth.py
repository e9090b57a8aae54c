"""How orders take what a quote shows behind its best prices: level by level (rule 11)."""

from collections.abc import Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.domain.market import PriceLevel
from services.domain.money import ZERO, decimal_of, floor_to
from services.domain.orders.order import Side


class Offer(NamedTuple):
    """What an order may take next.

    Attributes:
        units: None for as many as it wants.
        price: of a level that is known; None for the record's own price.
    """

    units: Decimal | None
    price: float | None = None


NOTHING = Offer(ZERO)


class Depth:
    """The price levels of one side of a quote, as orders take them: by price, then time."""

    __slots__ = ("_levels", "_side", "_step", "_taken")

    def __init__(self, side: Side, levels: Sequence[PriceLevel], step: Decimal) -> None:
        """Of ``levels``, the best first, for orders of ``side``, in steps of so many units."""
        self._side, self._levels, self._step = side, levels, step
        self._taken: dict[float, Decimal] = {}

    def offers(self, share: Decimal | None, limit: Decimal | None) -> Iterator[Offer]:
        """The levels that have units left, as far as ``limit`` goes.

        Of each level all orders together get ``share`` of its size, in whole steps. Without a share they get its size,
        and of the last level all they want: what lies behind it nobody knows.
        """
        for level in self._levels:
            price, taken = level.price, self._taken.get(level.price, ZERO)
            if limit is not None and (price > limit if self._side is Side.BUY else price < limit):
                return
            if share is None and level is self._levels[-1]:
                yield Offer(None, price)
                return
            size = decimal_of(level.size)
            units = floor_to(size if share is None else share * size, self._step) - taken
            if units > 0:
                yield Offer(units, price)

    def take(self, price: float, quantity: Decimal) -> None:
        """Use units of a level up."""
        self._taken[price] = self._taken.get(price, ZERO) + quantity
