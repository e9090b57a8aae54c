"""Price levels behind a quote's best ones: how files write them, and which of them are bad."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from services.domain.instrument import Instrument
from services.domain.tape import LEVEL_VALUES, NO_LEVELS, Levels
from services.marketdata.providers.base import Records
from services.marketdata.providers.cells import numbers_in

Mask = NDArray[np.bool_]

_NAMES: Final = ("bid", "bid_size", "ask", "ask_size")
_PRICES, _SIZES = (0, 2), (1, 3)
# Bids fall from level to level, asks rise.
_SIDES: Final = ((0, -1), (2, 1))


def levels_named(header: Sequence[str]) -> int:
    """How many levels a file's columns name, the best one included: `bid_2`, `bid_size_2`, `ask_2`, `ask_size_2`, …"""
    count = 1
    while any(f"{name}_{count + 1}" in header for name in _NAMES):
        count += 1
    return count


def read_levels(rows: Sequence[Mapping[str, str]]) -> Levels:
    """The levels behind the best ones of rows of quotes; what is no number is NaN."""
    count = levels_named(list(rows[0])) - 1
    if not count:
        return NO_LEVELS
    columns = [
        numbers_in([row.get(f"{name}_{place}") or "" for row in rows], 0.0)
        for place in range(2, count + 2)
        for name in _NAMES
    ]
    values = np.column_stack(columns).reshape(len(rows) * count, LEVEL_VALUES)
    given = (values != 0).any(axis=1)
    return Levels(np.repeat(np.arange(len(rows)), count)[given], values[given])


def faults(
    records: Records, instrument: Instrument, on_increment: Callable[[NDArray[np.float64], Instrument], Mask]
) -> Iterator[tuple[str, Mask]]:
    """Why quotes are refused for their levels, and which of them (rule 29)."""
    levels, count = records.levels, len(records.time)
    if not len(levels):
        return

    def quotes(bad: Mask) -> Mask:
        """The quotes that the bad ones of the levels belong to."""
        found = np.zeros(count, np.bool_)
        found[levels.rows[bad]] = True
        return found

    values = levels.values
    prices, sizes = values[:, _PRICES], values[:, _SIZES]
    yield "not_a_number", quotes(any_of(~np.isfinite(values)))
    yield "price_not_positive", quotes(any_of(prices < 0))
    yield "negative_size", quotes(any_of(sizes < 0))
    yield "off_increment", quotes(any_of(~on_increment(prices, instrument)))
    # Where each level comes after the one before it, or after its quote's best one.
    first = np.ones(len(levels), np.bool_)
    first[1:] = levels.rows[1:] != levels.rows[:-1]
    best = records.values[levels.rows][:, (0, 2, 1, 3)]
    before = np.where(first[:, None], best, np.vstack([best[:1], values[:-1]]))
    incomplete = any_of((prices > 0) != (sizes > 0))
    for price, way in _SIDES:
        given, missing = values[:, price] > 0, ~(before[:, price] > 0)
        yield "levels_unsorted", quotes(given & (missing | (way * (values[:, price] - before[:, price]) <= 0)))
        incomplete |= given & ~missing & ~(before[:, price + 1] > 0)
    yield "level_without_price_or_size", quotes(incomplete)


def any_of(bad: Mask) -> Mask:
    """Rows of which any value is bad."""
    return np.asarray(bad.any(axis=1), np.bool_)
