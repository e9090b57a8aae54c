"""How the venue fills, as far as that can be chosen (rules 9, 10, 11 and 15).

What is chosen is set as what trading costs is, in ``costs``: an order carries what it was taken on.
"""

from collections.abc import Iterable
from dataclasses import dataclass, fields
from decimal import Decimal
from enum import IntEnum
from typing import NamedTuple


class BarPath(IntEnum):
    """Which way prices are said to have gone between a bar's open and its close (rule 10).

    UNKNOWN: nobody knows; of a stop and a target inside one bar the worse one was reached first.
    BY_DIRECTION: a bar that closes at its open or above went to its low first and then to its high, any other to its
    high first and then to its low.
    """

    UNKNOWN = 1
    BY_DIRECTION = 2


@dataclass(frozen=True, slots=True)
class VenueSettings:
    """How the venue fills.

    Attributes:
        fill_on_touch: a limit fills when its price was touched; default: only when it was passed, or by what traded
            there beyond the queue ahead where that is known (rule 9).
        volume_share: most of a record's size or volume that all orders together get; None for no limit (rule 11).
            A source whose size columns are all zero states no sizes and limits nothing; elsewhere a zero fills nothing.
        hold_day_orders: DAY orders outside their session wait HELD for the open; else they are refused (rule 15).
        bar_path: what is known of the way inside a bar (rule 10).
    """

    fill_on_touch: bool = False
    volume_share: Decimal | None = Decimal("0.10")
    hold_day_orders: bool = True
    bar_path: BarPath = BarPath.UNKNOWN


class FillModel(NamedTuple):
    """Some of the settings; one that is None says nothing. A ``volume_share`` of 0 is no limit."""

    fill_on_touch: bool | None = None
    volume_share: Decimal | None = None
    hold_day_orders: bool | None = None
    bar_path: BarPath | None = None


_NAMES = tuple(each.name for each in fields(VenueSettings))


def settled(models: Iterable[FillModel], base: VenueSettings) -> VenueSettings:
    """Of each setting what the first model says that says something of it; where none does, ``base``'s."""
    narrowest_first = list(models)
    chosen = {name: getattr(base, name) for name in _NAMES}
    for name in _NAMES:
        said = [value for model in narrowest_first if (value := getattr(model, name)) is not None]
        if said:
            chosen[name] = said[0] or None if name == "volume_share" else said[0]
    return VenueSettings(**chosen)
