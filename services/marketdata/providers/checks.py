"""Bad records are refused with a reason and counted; they never stop a feed (rule 29)."""

from __future__ import annotations

from bisect import bisect_right
from collections import Counter

import numpy as np
from numpy.typing import NDArray

from services.domain.instrument import Instrument
from services.domain.money import places
from services.domain.tape import Kind, Series
from services.marketdata.providers.base import Records
from services.marketdata.providers.depth import any_of, faults

Mask = NDArray[np.bool_]

_PRICES = {Kind.QUOTE: (0, 1), Kind.TRADE: (0,), Kind.BAR: (0, 1, 2, 3), Kind.AUCTION: (0,)}
_SIZES = {Kind.QUOTE: (2, 3), Kind.TRADE: (1,), Kind.BAR: (4,), Kind.AUCTION: (1,)}
# A double stands for one decimal of at most 15 significant digits.
_MOST_INCREMENTS = 1e15
# So many spikes in a row that agree with each other are a new level, not spikes.
_NEW_LEVEL = 3


def accept(records: Records, instrument: Instrument, max_move: float = 0.0) -> tuple[Series, Counter[str]]:
    """The good records of one source, and how many were refused for which reason.

    Args:
        max_move: a price more than this factor away from the last good one is a spike; 0 for no band.
    """
    kind, values = records.source.kind, records.values
    refused: Counter[str] = Counter(records.unread)
    good = np.ones(len(records.time), np.bool_)

    def refuse(reason: str, bad: Mask) -> None:
        refused[reason] += int(np.count_nonzero(bad & good))
        np.logical_and(good, ~bad, out=good)

    prices, sizes = values[:, _PRICES.get(kind, ())], values[:, _SIZES.get(kind, ())]
    refuse("not_a_number", any_of(~np.isfinite(values)))
    with np.errstate(invalid="ignore"):
        refuse("price_not_positive", any_of(prices <= 0))
        refuse("negative_size", any_of(sizes < 0))
        refuse("off_increment", any_of(~on_increment(prices, instrument)))
        for reason, bad in (*_shape(kind, records), *faults(records, instrument, on_increment)):
            refuse(reason, bad)
    backwards = np.zeros(len(good), np.bool_)
    backwards[np.flatnonzero(good)] = ~rising(records.time[good])
    refuse("time_backwards", backwards)
    if max_move > 1.0 and prices.shape[1]:
        spiked = np.zeros(len(good), np.bool_)
        level = prices[good].mean(axis=1) if kind is Kind.QUOTE else prices[good][:, -1]
        spiked[np.flatnonzero(good)] = spikes(level, max_move)
        refuse("spike", spiked)
    columns = records.time[good], records.start[good], values[good]
    return Series(records.source, *columns, records.levels.among(good)), +refused


def _shape(kind: Kind, records: Records) -> list[tuple[str, Mask]]:
    values = records.values
    match kind:
        case Kind.QUOTE:
            return [("crossed_quote", values[:, 0] > values[:, 1])]
        case Kind.BAR:
            low, high = values[:, (0, 3)].min(axis=1), values[:, (0, 3)].max(axis=1)
            return [
                ("bar_outside_its_range", (values[:, 2] > low) | (values[:, 1] < high)),
                ("bar_without_duration", records.start >= records.time),
            ]
        case Kind.SPLIT:
            return [("split_not_positive", any_of(values[:, :2] <= 0))]
        case _:
            return []


def on_increment(prices: NDArray[np.float64], instrument: Instrument) -> Mask:
    """Whether each price is the double of a whole number of increments, exactly."""
    scale = 10 ** places(instrument.price_increment)
    # Dividing two whole doubles rounds to the double nearest to the decimal, which is the one its text reads as.
    steps = np.rint(prices * scale)
    step = int(instrument.price_increment * scale)
    whole = (steps / scale == prices) & (np.abs(steps) < _MOST_INCREMENTS) & (np.remainder(steps, step) == 0)
    return np.asarray(whole, np.bool_)


def rising(time: NDArray[np.int64]) -> Mask:
    """Which records to keep so that time never runs backwards and the fewest are refused.

    One stamp from the far future must not refuse all that follow it.
    """
    keep = np.ones(len(time), np.bool_)
    if not (np.diff(time) < 0).any():
        return keep
    # The longest run that never decreases, by patience sorting.
    tops: list[int] = []
    rows: list[int] = []
    before: list[int] = []
    for row, at in enumerate(time.tolist()):
        pile = bisect_right(tops, at)
        before.append(rows[pile - 1] if pile else -1)
        if pile == len(tops):
            tops.append(at)
            rows.append(row)
        else:
            tops[pile], rows[pile] = at, row
    keep[:] = False
    row = rows[-1]
    while row >= 0:
        keep[row] = True
        row = before[row]
    return keep


def spikes(level: NDArray[np.float64], max_move: float) -> Mask:
    """Which prices lie beyond the band around the last good one."""
    found = np.zeros(len(level), np.bool_)
    if len(level) < 2:
        return found
    logs, band = np.log(level), np.log(max_move)
    jumps = np.flatnonzero(np.abs(np.diff(logs)) > band)
    if not len(jumps):
        return found
    first = int(jumps[0]) + 1
    good, apart = logs[first - 1], 0
    for row in range(first, len(level)):
        if abs(logs[row] - good) <= band:
            good, apart = logs[row], 0
            continue
        apart = apart + 1 if apart and abs(logs[row] - logs[row - 1]) <= band else 1
        found[row] = True
        if apart > _NEW_LEVEL:
            good, apart = logs[row], 0
            found[row] = False
    return found
