"""Indicators, one value at a time or a whole array at once, with exactly the same result (rule 26).

Each class holds what the next value needs. ``update`` takes one value in; ``extend`` takes an array in and gives what
as many updates would have given, bit for bit: both do the same additions in the same order, only that ``extend`` lets
numpy do them where the order allows it. What is not warm yet is ``None``, or NaN in arrays. Once warm, all equal
TA-Lib to 1e-9.
"""

import math
from abc import abstractmethod
from collections import deque
from collections.abc import Mapping
from itertools import accumulate
from typing import Any

import numpy as np

from services.domain.indicator import Floats, Indicator


class SMA(Indicator):
    """The mean of the last ``period`` values, by a running sum.

    The sum drifts by less than one unit in its last place an update: by 1e-9 of a price of 1,000 in a million bars.
    """

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self.window: deque[float] = deque(maxlen=period)
        self.total = 0.0

    def update(self, value: float) -> float | None:
        window = self.window
        if len(window) < self.period:
            self.total += value
            window.append(value)
            return self.total / self.period if len(window) == self.period else None
        self.total += value - window[0]
        window.append(value)
        return self.total / self.period

    def extend(self, values: Floats) -> Floats:
        known = np.concatenate([np.array(self.window), values])
        first = len(self.window)
        changes = known[first:].copy()
        replaced = max(self.period - first, 0)
        changes[replaced:] -= known[: max(len(known) - self.period, 0)]
        totals = np.add.accumulate(np.concatenate([[self.total], changes]))
        self.total = float(totals[-1])
        self.window.extend(values[-self.period :].tolist())
        means = totals[1:] / self.period
        means[: max(replaced - 1, 0)] = np.nan
        return means

    def scale(self, factor: float) -> None:
        _scale(self.window, factor)
        self.total *= factor


class StandardDeviation(Indicator):
    """The population standard deviation of the last ``period`` values, around ``mean``.

    Summed afresh from the window each time: a running sum of squares would lose half of the digits.
    """

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self.mean = SMA(period)

    def update(self, value: float) -> float | None:
        mean = self.mean.update(value)
        if mean is None:
            return None
        total = 0.0
        for each in self.mean.window:
            total += (each - mean) * (each - mean)
        return math.sqrt(total / self.period)

    def extend(self, values: Floats) -> Floats:
        return self.extend_both(values)[1]

    def extend_both(self, values: Floats) -> tuple[Floats, Floats]:
        """As ``extend``, with the means as well."""
        known = np.concatenate([np.full(self.period, np.nan), np.array(self.mean.window), values])
        first = len(known) - len(values) - self.period + 1
        means = self.mean.extend(values)
        totals = np.zeros(len(values))
        for place in range(self.period):
            off = known[first + place : first + place + len(values)] - means
            totals += off * off
        return means, np.sqrt(totals / self.period)

    def scale(self, factor: float) -> None:
        self.mean.scale(factor)

    def state(self) -> dict[str, Any]:
        return self.mean.state()

    def restore(self, state: Mapping[str, Any]) -> None:
        self.mean.restore(state)


class _Smoothed(Indicator):
    """A mean that takes each value in by a weight, begun with the plain mean of the first ``period`` values."""

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self.count = 0
        self.value = 0.0

    @abstractmethod
    def _next(self, mean: float, value: float) -> float:
        """The mean after ``value``."""

    def update(self, value: float) -> float | None:
        self.count += 1
        if self.count > self.period:
            self.value = self._next(self.value, value)
            return self.value
        self.value += value
        if self.count < self.period:
            return None
        self.value /= self.period
        return self.value

    def extend(self, values: Floats) -> Floats:
        warming = max(min(self.period - self.count, len(values)), 0)
        first = [self.update(value) for value in values[:warming].tolist()]
        rest = values[warming:].tolist()
        after = list(accumulate(rest, self._next, initial=self.value))
        self.value = after[-1]
        self.count += len(rest)
        return np.array([math.nan if mean is None else mean for mean in first] + after[1:], np.float64)

    def scale(self, factor: float) -> None:
        self.value *= factor


class EMA(_Smoothed):
    """The exponential mean with weight ``2 / (period + 1)``, begun with the mean of the first ``period`` values."""

    def _next(self, mean: float, value: float) -> float:
        return mean + (value - mean) * (2.0 / (self.period + 1))


class WilderMean(_Smoothed):
    """Wilder's smoothing: a weight of ``1 / period``."""

    def _next(self, mean: float, value: float) -> float:
        return (mean * (self.period - 1) + value) / self.period


class RSI(Indicator):
    """Wilder's relative strength index, 0 to 100: the share of gains in smoothed gains and losses; 0 without either.

    Source: J. Welles Wilder, New Concepts in Technical Trading Systems (1978); first value after ``period`` changes.
    """

    def __init__(self, period: int) -> None:
        super().__init__(period)
        self.last: float | None = None
        self.gains = WilderMean(period)
        self.losses = WilderMean(period)

    def update(self, value: float) -> float | None:
        last, self.last = self.last, value
        if last is None:
            return None
        change = value - last
        gain = self.gains.update(max(0.0, change))
        loss = self.losses.update(max(0.0, -change))
        if gain is None or loss is None:
            return None
        both = gain + loss
        return 100.0 * (gain / both) if both else 0.0

    def extend(self, values: Floats) -> Floats:
        if not len(values):
            return np.empty(0)
        changes = np.diff(values, prepend=values[0] if self.last is None else self.last)
        skipped = int(self.last is None)
        self.last = float(values[-1])
        gains = self.gains.extend(np.maximum(0.0, changes)[skipped:])
        losses = self.losses.extend(np.maximum(0.0, -changes)[skipped:])
        both = gains + losses
        with np.errstate(invalid="ignore"):
            strength = np.where(both == 0.0, 0.0, 100.0 * (gains / both))
        return np.concatenate([np.full(skipped, np.nan), strength])

    def scale(self, factor: float) -> None:
        self.last = None if self.last is None else self.last * factor
        self.gains.scale(factor)
        self.losses.scale(factor)

    def state(self) -> dict[str, Any]:
        return {"last": self.last, "gains": self.gains.state(), "losses": self.losses.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.last = state["last"]
        self.gains.restore(state["gains"])
        self.losses.restore(state["losses"])


class ATR:
    """Wilder's average true range of bars: how far prices went, the gap from the last close included.

    Source: as ``RSI``; the first value comes with the bar after ``period`` others.
    """

    def __init__(self, period: int) -> None:
        self.last: float | None = None
        self.ranges = WilderMean(period)

    def update(self, high: float, low: float, close: float) -> float | None:
        """Take in the next bar."""
        last, self.last = self.last, close
        if last is None:
            return None
        return self.ranges.update(max(high - low, abs(last - high), abs(last - low)))

    def extend(self, high: Floats, low: Floats, close: Floats) -> Floats:
        """Take in the next bars, ``[n]`` each; what each update would have given, ``[n]``."""
        if not len(close):
            return np.empty(0)
        skipped = int(self.last is None)
        before = np.concatenate([[close[0] if self.last is None else self.last], close[:-1]])
        self.last = float(close[-1])
        reach = np.maximum(high - low, np.maximum(np.abs(before - high), np.abs(before - low)))
        return np.concatenate([np.full(skipped, np.nan), self.ranges.extend(reach[skipped:])])

    def scale(self, factor: float) -> None:
        """Multiply the history by ``factor``: prices after a split."""
        self.last = None if self.last is None else self.last * factor
        self.ranges.scale(factor)

    def state(self) -> dict[str, Any]:
        """What it remembers, as JSON."""
        return {"last": self.last, "ranges": self.ranges.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.last = state["last"]
        self.ranges.restore(state["ranges"])


def sma(values: Floats, period: int) -> Floats:
    """``SMA`` of a whole array, ``[n]`` to ``[n]``, NaN until warm."""
    return SMA(period).extend(values)


def standard_deviation(values: Floats, period: int) -> Floats:
    """``StandardDeviation`` of a whole array, ``[n]`` to ``[n]``, NaN until warm."""
    return StandardDeviation(period).extend(values)


def ema(values: Floats, period: int) -> Floats:
    """``EMA`` of a whole array, ``[n]`` to ``[n]``, NaN until warm."""
    return EMA(period).extend(values)


def rsi(values: Floats, period: int) -> Floats:
    """``RSI`` of a whole array, ``[n]`` to ``[n]``, NaN until warm."""
    return RSI(period).extend(values)


def atr(high: Floats, low: Floats, close: Floats, period: int) -> Floats:
    """``ATR`` of bars, ``[n]`` each to ``[n]``, NaN until warm."""
    return ATR(period).extend(high, low, close)


def _scale(window: deque[float], factor: float) -> None:
    for place, value in enumerate(window):
        window[place] = value * factor
