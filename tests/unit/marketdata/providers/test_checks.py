"""Rule 29: bad records are refused with a reason and counted; one never stops a feed."""

from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.instrument import Instrument
from services.domain.tape import Kind, Levels, Source
from services.marketdata.providers.base import Records
from services.marketdata.providers.checks import accept, on_increment, rising, spikes

CENT = Instrument("X", price_increment=Decimal("0.01"))


def records(kind: Kind, *rows: tuple[float, ...], times: list[int] | None = None) -> Records:
    values = np.zeros((len(rows), 5))
    for row, given_values in enumerate(rows):
        values[row, : len(given_values)] = given_values
    time = np.array(times or range(10, 10 + len(rows)), np.int64)
    start = time - 1 if kind is Kind.BAR else time
    return Records(Source(kind, "X", "1m" if kind is Kind.BAR else ""), time, start, values)


@pytest.mark.parametrize(
    ("kind", "row", "reason"),
    [
        (Kind.QUOTE, (1.02, 1.01, 1, 1), "crossed_quote"),
        (Kind.QUOTE, (0, 1.01, 1, 1), "price_not_positive"),
        (Kind.QUOTE, (1.01, 1.02, -1, 1), "negative_size"),
        (Kind.QUOTE, (1.011, 1.02, 1, 1), "off_increment"),
        (Kind.QUOTE, (float("nan"), 1.02, 1, 1), "not_a_number"),
        (Kind.QUOTE, (1.01, float("inf"), 1, 1), "not_a_number"),
        (Kind.TRADE, (-1.0, 1), "price_not_positive"),
        (Kind.TRADE, (1.005, 1), "off_increment"),
        (Kind.TRADE, (1.0, -3), "negative_size"),
        (Kind.BAR, (1.0, 0.99, 0.98, 0.99, 5), "bar_outside_its_range"),
        (Kind.BAR, (1.0, 1.1, 1.05, 1.0, 5), "bar_outside_its_range"),
        (Kind.BAR, (1.0, 1.1, 0.9, 1.0, -5), "negative_size"),
        (Kind.SPLIT, (0, 1), "split_not_positive"),
    ],
)
def test_rule_29_each_reason(kind: Kind, row: tuple[float, ...], reason: str) -> None:
    good = {
        Kind.QUOTE: (1.0, 1.01, 5, 5),
        Kind.TRADE: (1.0, 5),
        Kind.BAR: (1.0, 1.1, 0.9, 1.0, 5),
        Kind.SPLIT: (2, 1),
    }[kind]
    series, refused = accept(records(kind, good, row, good), CENT)
    assert refused == {reason: 1}
    assert series.time.tolist() == [10, 12]


def test_a_locked_quote_and_a_bar_without_volume_are_good() -> None:
    assert not accept(records(Kind.QUOTE, (1.0, 1.0, 0, 0)), CENT)[1]
    assert not accept(records(Kind.BAR, (1.0, 1.0, 1.0, 1.0, 0)), CENT)[1]


def test_a_bar_needs_a_duration() -> None:
    bar = records(Kind.BAR, (1.0, 1.0, 1.0, 1.0, 1))
    bar.start = bar.time
    assert accept(bar, CENT)[1] == {"bar_without_duration": 1}


def test_what_could_not_be_read_is_counted_too() -> None:
    found = records(Kind.TRADE, (1.0, 1))
    found.unread = {"unreadable": 3}
    assert accept(found, CENT)[1] == {"unreadable": 3}


def test_time_running_backwards_refuses_as_few_as_can_be() -> None:
    trades = records(Kind.TRADE, *[(1.0, 1)] * 5, times=[1, 2, 9_000, 3, 3])
    series, refused = accept(trades, CENT)
    assert (series.time.tolist(), refused) == ([1, 2, 3, 3], {"time_backwards": 1})


@given(st.lists(st.integers(0, 50), max_size=60))
def test_what_is_kept_never_runs_backwards_and_is_a_longest_run(times: list[int]) -> None:
    array = np.array(times, np.int64)
    kept = array[rising(array)]
    assert (np.diff(kept) >= 0).all()
    longest = [0] * len(times)
    for i, at in enumerate(times):
        longest[i] = 1 + max((longest[j] for j in range(i) if times[j] <= at), default=0)
    assert len(kept) == max(longest, default=0)


def test_a_spike_is_refused_and_a_new_level_is_taken_in() -> None:
    assert spikes(np.array([1.0, 1.1, 9.0, 1.2, 0.1, 1.1]), 2).tolist() == [False, False, True, False, True, False]
    # Three spikes that agree with each other are refused; the fourth says that this is the price now.
    assert spikes(np.array([1.0, 9.0, 9.1, 9.2, 9.3, 9.2]), 2).tolist() == [False, True, True, True, False, False]
    assert not spikes(np.array([1.0, 9.0]), 10).any()


@given(st.integers(1, 10**9), st.sampled_from(["0.01", "0.0001", "0.05", "0.25", "1", "5", "0.00001"]))
def test_increments_are_exact_for_every_decimal_a_double_stands_for(steps: int, increment: str) -> None:
    instrument = Instrument("X", price_increment=Decimal(increment))
    price = float(steps * Decimal(increment))
    between = float(steps * Decimal(increment) + Decimal(increment) / 2)
    assert on_increment(np.array([price, between]), instrument).tolist() == [True, False]


def deep(*behind: tuple[float, ...], best: tuple[float, ...] = (1.0, 1.01, 5, 5)) -> Records:
    """Three quotes, of which the second has these best prices and these levels behind them, the others good ones."""
    found = records(Kind.QUOTE, (1.0, 1.01, 5, 5), best, (1.0, 1.01, 5, 5))
    good = (0.99, 3, 1.02, 4)
    rows = np.array([0, *[1] * len(behind), 2, 2], np.int64)
    found.levels = Levels(rows, np.array([good, *behind, good, (0.98, 1, 0, 0)], np.float64))
    return found


@pytest.mark.parametrize(
    ("behind", "reason"),
    [
        ([(1.0, 1, 1.02, 1)], "levels_unsorted"),
        ([(1.005, 1, 1.02, 1)], "off_increment"),
        ([(1.03, 1, 1.04, 1)], "levels_unsorted"),
        ([(0.99, 1, 1.0, 1)], "levels_unsorted"),
        ([(0.99, 1, 1.02, 1), (0.99, 1, 1.03, 1)], "levels_unsorted"),
        ([(0.99, 1, 1.03, 1), (0.98, 1, 1.02, 1)], "levels_unsorted"),
        ([(0, 0, 1.02, 1), (0.98, 1, 1.03, 1)], "levels_unsorted"),
        ([(-0.99, 1, 1.02, 1)], "price_not_positive"),
        ([(0.99, -1, 1.02, 1)], "negative_size"),
        ([(0.99, 0, 1.02, 1)], "level_without_price_or_size"),
        ([(0.99, 1, 0, 1)], "level_without_price_or_size"),
        ([(float("nan"), 1, 1.02, 1)], "not_a_number"),
        ([(0.99, 1, 1.02, float("inf"))], "not_a_number"),
    ],
)
def test_rule_29_a_quote_is_refused_for_what_is_wrong_with_its_levels(
    behind: list[tuple[float, ...]], reason: str
) -> None:
    series, refused = accept(deep(*behind), CENT)
    assert refused == {reason: 1}
    assert series.time.tolist() == [10, 12]
    assert [len(series.levels.of(row)) for row in range(2)] == [1, 2]


def test_rule_29_a_best_price_with_levels_behind_it_needs_a_size() -> None:
    level = (0.99, 1, 1.02, 1)
    assert accept(deep(level, best=(1.0, 1.01, 0, 5)), CENT)[1] == {"level_without_price_or_size": 1}
    assert accept(deep((0, 0, 1.02, 1), best=(1.0, 1.01, 0, 5)), CENT)[1] == {}
    assert accept(deep(level, best=(1.02, 1.01, 5, 5)), CENT)[1] == {"crossed_quote": 1}
