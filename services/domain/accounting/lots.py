"""Lots: what was bought or sold short at once and is still open, and which of them a closing fill takes (rule 18).

A lot keeps its cost, not its price: a split of 3 for 1 turns a price of 100 into 33.3…, which no decimal holds, but the
cost stays what it was. So the profit of a lot, once it is closed, is exact whatever happened to it in between.
"""

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from services.domain.money import ZERO
from services.domain.values import new

_COST_PLACE = Decimal("1e-24")
"""A cost is a product of wire decimals, 18 places; six more keep what a split's thirds lose out of sight."""


class Lot(NamedTuple):
    """An open lot.

    Attributes:
        lot_id: its number in the portfolio, from 1 without gaps.
        quantity: signed units, negative for a short.
        cost: what was paid for it in the instrument's currency, negative for the proceeds of a short.
        multiplier: the instrument's contract multiplier.
        open_time: market time of the fill that opened it, ns.
        open_exec_id: that fill.
    """

    lot_id: int
    symbol: str
    quantity: Decimal
    cost: Decimal
    multiplier: Decimal
    open_time: int
    open_exec_id: str

    @property
    def open_price(self) -> Decimal:
        """The price of a unit at opening, in today's units; the context's precision where it does not divide evenly."""
        units = self.quantity * self.multiplier
        return self.cost / units if units else ZERO


class LotMatching(Protocol):
    """Chooses the lot that a closing fill takes next."""

    def choose(self, lots: Sequence[Lot]) -> int:
        """The index of one of ``lots``, which are ordered by opening and never empty."""


class Fifo:
    """First in, first out."""

    def choose(self, lots: Sequence[Lot]) -> int:
        """The oldest."""
        return 0


class Closing(NamedTuple):
    """What closing took.

    Attributes:
        cost: the cost of the units taken, signed like the lots'.
        closed: lots that are gone, as they were.
        changed: the lot of which a part is left, as it is now.
    """

    cost: Decimal
    closed: list[Lot]
    changed: list[Lot]


def close_lots(lots: list[Lot], quantity: Decimal, everything: bool, matching: LotMatching) -> Closing:
    """Take ``quantity`` units, signed like the lots, out of ``lots``, in place.

    With ``everything`` (the quantity is all they hold) every lot goes, those which splits have shrunk to nothing too,
    and with them the last digit of cost: nothing is left behind (rule 21).

    Raises:
        ValueError: the lots hold less.
    """
    cost, remaining = ZERO, quantity
    closed: list[Lot] = []
    while lots and (remaining or everything):
        index = matching.choose(lots)
        lot = lots[index]
        if abs(lot.quantity) > abs(remaining):
            share = _exact(lot.cost * remaining / lot.quantity)
            lots[index] = lot._replace(quantity=lot.quantity - remaining, cost=lot.cost - share)
            return new(Closing, (cost + share, closed, [lots[index]]))
        closed.append(lots.pop(index))
        cost += lot.cost
        remaining -= lot.quantity
    if remaining:
        raise ValueError(f"the lots hold {quantity - remaining} units, {quantity} were to be closed")
    return new(Closing, (cost, closed, []))


def _exact(cost: Decimal) -> Decimal:
    """A share of a cost, short enough where it does not divide evenly that the rest of the whole is exact."""
    rounded = cost.quantize(_COST_PLACE)
    return cost if cost == rounded else rounded


def split_lots(lots: Sequence[Lot], numerator: Decimal, denominator: Decimal, place: Decimal) -> list[Lot]:
    """``lots`` in new units, ``numerator`` for ``denominator`` old ones; their cost is unchanged.

    Running totals are rounded to ``place``, not each lot, so that the lots sum to the rounded position.
    """
    new, old_total, new_total = [], ZERO, ZERO
    for lot in lots:
        old_total += lot.quantity
        total = split_quantity(old_total, numerator, denominator, place)
        new.append(lot._replace(quantity=total - new_total))
        new_total = total
    return new


def split_quantity(quantity: Decimal, numerator: Decimal, denominator: Decimal, place: Decimal) -> Decimal:
    """``quantity`` in new units, to the nearest ``place``, ties to even."""
    return (quantity * numerator / denominator).quantize(place)
