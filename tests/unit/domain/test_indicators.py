"""Indicators: incremental equals vectorised exactly, and both equal TA-Lib once warm (rule 26)."""

import csv
import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.indicator import Indicator
from services.domain.indicators import ATR, EMA, RSI, SMA, StandardDeviation, atr, ema, rsi, sma
from services.domain.indicators import standard_deviation as deviation

PRICES = st.lists(st.floats(0.01, 10_000.0).map(lambda price: round(price, 2)), max_size=80)
KINDS = [SMA, EMA, RSI, StandardDeviation]

# GOOG, 2004-08-19 to 2004-09-10: the first sixteen days of the series that TA-Lib was run on; high, low, close.
GOOG = np.array(
    [
        (104.06, 95.96, 100.34), (109.08, 100.5, 108.31), (113.48, 109.05, 109.4), (111.6, 103.57, 104.87),
        (108.0, 103.88, 106.0), (107.95, 104.66, 107.91), (108.62, 105.69, 106.15), (105.49, 102.01, 102.01),
        (103.71, 102.16, 102.37), (102.97, 99.67, 100.25), (102.37, 98.94, 101.51), (101.56, 99.38, 100.01),
        (101.56, 99.5, 101.58), (103.03, 100.5, 102.3), (102.71, 101.0, 102.31), (106.56, 102.3, 105.33),
    ]
)  # fmt: skip


def as_array(values: list[float | None]) -> np.ndarray[Any, np.dtype[np.float64]]:
    return np.array([math.nan if value is None else value for value in values], np.float64)


@pytest.mark.parametrize("kind", KINDS)
@given(prices=PRICES, period=st.integers(1, 12), cut=st.integers(0, 80))
def test_rule_26_one_by_one_equals_all_at_once_bit_for_bit(
    kind: type[Indicator], prices: list[float], period: int, cut: int
) -> None:
    single, whole, parts = kind(period), kind(period), kind(period)
    expected = as_array([single.update(price) for price in prices])
    values = np.array(prices, np.float64)
    np.testing.assert_array_equal(whole.extend(values), expected)
    np.testing.assert_array_equal(np.concatenate([parts.extend(values[:cut]), parts.extend(values[cut:])]), expected)
    assert single.state() == whole.state() == parts.state()


@given(
    bars=st.lists(st.tuples(*[st.floats(0.01, 1_000.0)] * 3), max_size=60),
    period=st.integers(1, 12),
    cut=st.integers(0, 60),
)
def test_rule_26_true_ranges_too(bars: list[tuple[float, float, float]], period: int, cut: int) -> None:
    single, parts = ATR(period), ATR(period)
    expected = as_array([single.update(*bar) for bar in bars])
    columns = np.array(bars, np.float64).reshape(-1, 3).T
    made = [parts.extend(*columns[:, :cut]), parts.extend(*columns[:, cut:])]
    np.testing.assert_array_equal(np.concatenate(made), expected)
    assert single.state() == parts.state()


@pytest.mark.parametrize("kind", KINDS)
@given(prices=PRICES, period=st.integers(1, 12), cut=st.integers(0, 80))
def test_a_restored_indicator_goes_on_as_if_nothing_had_happened(
    kind: type[Indicator], prices: list[float], period: int, cut: int
) -> None:
    kept, restored = kind(period), kind(period)
    for price in prices[:cut]:
        kept.update(price)
    restored.restore(json.loads(json.dumps(kept.state())))
    assert [kept.update(price) for price in prices[cut:]] == [restored.update(price) for price in prices[cut:]]


@pytest.mark.parametrize("kind", [SMA, EMA, StandardDeviation])
@given(prices=st.lists(st.integers(1, 1_000).map(float), min_size=12, max_size=40))
def test_scaling_the_history_by_a_power_of_two_scales_what_follows(kind: type[Indicator], prices: list[float]) -> None:
    plain, scaled = kind(5), kind(5)
    for price in prices[:6]:
        plain.update(price)
        scaled.update(price)
    scaled.scale(0.5)
    for price in prices[6:]:
        expected, got = plain.update(price), scaled.update(price / 2)
        assert expected is not None
        assert got == expected / 2


def test_relative_strength_does_not_change_with_the_unit_and_ranges_do() -> None:
    strength, reach = RSI(3), ATR(3)
    for high, low, close in GOOG[:8].tolist():
        strength.update(close)
        reach.update(high, low, close)
    strength.scale(0.5)
    reach.scale(0.5)
    high, low, close = GOOG[8].tolist()
    assert strength.update(close / 2) == rsi(GOOG[:9, 2], 3)[-1]
    assert reach.update(high / 2, low / 2, close / 2) == atr(*GOOG[:9].T, 3)[-1] / 2


def test_figures_of_talib_on_goog() -> None:
    """TA-Lib 0.8.1 on the closes of GOOG; the first values there are."""
    close = GOOG[:, 2]
    assert sma(close, 10)[9:12] == pytest.approx([104.76100000000001, 104.87800000000001, 104.04800000000003], abs=1e-9)
    assert ema(close, 10)[9:11] == pytest.approx([104.76100000000001, 104.1699090909091], abs=1e-9)
    assert rsi(close, 14)[14:] == pytest.approx([53.27569005653475, 57.836053463838034], abs=1e-9)
    assert np.isnan(sma(close, 10)[:9]).all()
    assert np.isnan(rsi(close, 14)[:14]).all()


def test_a_window_in_which_nothing_moved() -> None:
    still = np.full(20, 0.1)
    assert deviation(still, 5)[-1] == 0.0
    assert rsi(still, 5)[-1] == 0.0


def test_a_million_updates_do_not_drift() -> None:
    rng = np.random.default_rng(1)
    prices = np.round(1_000 + np.cumsum(rng.integers(-10, 11, 300_000)) / 100, 2)
    assert sma(prices, 30)[-1] == pytest.approx(math.fsum(prices[-30:]) / 30, abs=1e-9)


@pytest.mark.parametrize("kind", KINDS)
def test_a_period_must_be_positive(kind: type[Indicator]) -> None:
    with pytest.raises(ValueError, match="period"):
        kind(0)


def test_rule_26_equals_talib_on_all_of_goog(shared: Path) -> None:
    reference = json.loads((shared / "reference" / "indicators_goog_talib.json").read_text())["indicators"]
    with (shared / "data" / "goog_daily_2004_2013.csv").open() as file:
        rows = [[float(row[name]) for name in ("high", "low", "close")] for row in csv.DictReader(file)]
    high, low, close = np.array(rows).T
    cases: dict[str, tuple[str, Callable[[], Any]]] = {
        "SMA_10": ("sma", lambda: sma(close, 10)),
        "SMA_20": ("sma", lambda: sma(close, 20)),
        "SMA_30": ("sma", lambda: sma(close, 30)),
        "SMA_50": ("sma", lambda: sma(close, 50)),
        "EMA_10": ("ema", lambda: ema(close, 10)),
        "EMA_20": ("ema", lambda: ema(close, 20)),
        "EMA_50": ("ema", lambda: ema(close, 50)),
        "RSI_14": ("rsi", lambda: rsi(close, 14)),
        "ATR_14": ("atr", lambda: atr(high, low, close, 14)),
        "STDDEV_20": ("sd", lambda: deviation(close, 20)),
    }
    for name, (series, computed) in cases.items():
        expected = reference[name]["series"][series]
        values = computed()
        assert np.isnan(values[: expected["first_valid_index"]]).all(), name
        for bar, _, value in expected["values"]:
            assert values[bar] == pytest.approx(value, abs=1e-9), (name, bar)
