"""Markets to trade in tests and benchmarks: tapes, made from figures or from a seed."""

from collections.abc import Mapping, Sequence
from decimal import Decimal

import numpy as np
from numpy.typing import NDArray

from services.domain.calendar import Sessions
from services.domain.instrument import Instrument
from services.domain.tape import VALUES, Kind, Series, Source, Tape, merge

HOUR = 3_600_000_000_000
DAY = 24 * HOUR
MINUTE = HOUR // 60
OPEN, CLOSE = 9 * HOUR, 16 * HOUR
"""Of a session, after its day's midnight."""
YEAR_2020 = 1_577_836_800_000_000_000
SYNTHETIC = {"SYN": Instrument("SYN", calendar="24/7")}

Rows = Sequence[Sequence[float]]


def daily(symbol: str, rows: Rows) -> Series:
    """Daily bars (open, high, low, close, volume) of the days from the epoch on."""
    days = np.arange(len(rows), dtype=np.int64) * DAY
    values = np.array(rows, np.float64).reshape(-1, VALUES)
    return Series(Source(Kind.BAR, symbol, "1d"), days + CLOSE, days + OPEN, values)


def splits(symbol: str, ratios: Mapping[int, tuple[float, float]]) -> Series:
    """Splits at the opens of days, by day: (numerator, denominator)."""
    times = np.array([day * DAY + OPEN for day in ratios], np.int64)
    values = np.zeros((len(ratios), VALUES))
    values[:, :2] = np.array(list(ratios.values())).reshape(-1, 2)
    return Series(Source(Kind.SPLIT, symbol), times, times, values)


def clock(days: int) -> Series:
    """The session edges of all days."""
    midnights = np.arange(days, dtype=np.int64) * DAY
    return Sessions("XTST", midnights + OPEN, midnights + CLOSE, 0, days * DAY).clock()


def instrument(symbol: str, quantity_increment: str = "1") -> Instrument:
    """One that trades in the sessions of ``clock``."""
    return Instrument(symbol, calendar="XTST", quantity_increment=Decimal(quantity_increment))


def walk(seed: int, length: int, price: int = 100) -> list[list[float]]:
    """Daily bars of a random walk around ``price``, opening where the last closed; now and then the volume is thin."""
    rng = np.random.default_rng(seed)
    close = np.maximum(price * 100 + np.cumsum(rng.integers(-200, 201, size=length)), 500)
    opens = np.concatenate([[price * 100], close[:-1]])
    high = np.maximum(opens, close) + rng.integers(0, 60, size=length)
    low = np.minimum(opens, close) - rng.integers(0, 60, size=length)
    volume = rng.choice([30.0, 200.0, 5_000.0], size=length)
    return np.column_stack([opens / 100, high / 100, low / 100, close / 100, volume]).tolist()


def synthetic(length: int) -> Tape:
    """The first ``length`` of a million one-minute bars, by the recipe that six other engines were run on.

    From ``rng = numpy.random.default_rng(20261120)`` in this order, in cents: steps of -10 to 10; closes are 100,000
    and their sum; a bar opens at the last close; highs and lows lie 0 to 5 beyond; volumes are 100 to 9,999.
    """
    rng, total = np.random.default_rng(20261120), 1_000_000
    close = 100_000 + np.cumsum(rng.integers(-10, 11, size=total))
    opens = np.concatenate([[100_000], close[:-1]])
    high = np.maximum(opens, close) + rng.integers(0, 6, size=total)
    low = np.minimum(opens, close) - rng.integers(0, 6, size=total)
    volume = rng.integers(100, 10_000, size=total)
    values = np.column_stack([opens / 100, high / 100, low / 100, close / 100, volume])[:length]
    start: NDArray[np.int64] = YEAR_2020 + MINUTE * np.arange(length, dtype=np.int64)
    return merge([Series(Source(Kind.BAR, "SYN", "1m"), start + MINUTE, start, values)])
