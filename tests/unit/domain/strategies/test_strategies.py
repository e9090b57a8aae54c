"""The built-in strategies: their rules, and that looking ahead is the same as looking at every bar."""

import json
import math
import statistics
from collections.abc import Sequence
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.deployment.parameters import parameters_from
from services.domain.deployment.runner import StrategyRunner
from services.domain.instrument import Instrument
from services.domain.orders.order import Side
from services.domain.strategies import MeanReversion, SmaCross
from services.domain.strategies.bar_rule import Action, BarRule, Rule
from services.domain.strategies.mean_reversion import ReversionRule
from services.domain.strategies.sma_cross import EPSILON, CrossRule
from services.domain.tape import merge
from services.domain.timeline import Timeline
from tests.unit.domain.markets import daily, splits, walk

CLOSES = st.lists(st.integers(90, 110).map(float), max_size=60)


def rules() -> list[Rule]:
    return [CrossRule(2, 5), ReversionRule(4, 1.0, 0.0, short=True)]


@given(closes=CLOSES, cut=st.integers(0, 60))
def test_rule_26_a_rule_over_an_array_says_what_it_says_bar_by_bar(closes: list[float], cut: int) -> None:
    for single, parts in zip(rules(), rules(), strict=True):
        values = np.array(closes, np.float64)
        readings = [parts.extend(values[:cut]), parts.extend(values[cut:])]
        actions = np.concatenate([reading.actions for reading in readings])
        figures = np.concatenate([reading.figures for reading in readings])
        for i, close in enumerate(closes):
            action, read = single.update(close)
            assert action == actions[i]
            assert list(read) == (figures[i].tolist() if read else [])
        assert single.state() == parts.state()


@given(closes=CLOSES, cut=st.integers(0, 60))
def test_a_restored_rule_goes_on(closes: list[float], cut: int) -> None:
    for kept, restored in zip(rules(), rules(), strict=True):
        for close in closes[:cut]:
            kept.update(close)
        restored.restore(json.loads(json.dumps(kept.state())))
        assert [kept.update(close) for close in closes[cut:]] == [restored.update(close) for close in closes[cut:]]


@given(CLOSES)
def test_the_crossover_by_its_definition(closes: list[float]) -> None:
    rule = CrossRule(2, 5)
    for i, close in enumerate(closes):
        action, _ = rule.update(close)
        spreads = [
            statistics.fmean(closes[j - 1 : j + 1]) - statistics.fmean(closes[j - 4 : j + 1])
            for j in (i - 1, i)
            if j >= 4
        ]
        before, now = spreads if len(spreads) == 2 else (math.nan, math.nan)
        assert bool(action & Action.ENTER_LONG) is (before <= EPSILON < now)
        assert bool(action & Action.EXIT_LONG) is (before >= -EPSILON > now)


@given(CLOSES)
def test_reversion_by_its_definition(closes: list[float]) -> None:
    rule = ReversionRule(4, 1.0, 0.25, short=False)
    for i, close in enumerate(closes):
        action, figures = rule.update(close)
        assert not action & Action.ENTER_SHORT
        window = closes[max(i - 3, 0) : i + 1]
        if len(window) < 4:
            assert not action
            continue
        deviation = statistics.pstdev(window)
        z = (close - statistics.fmean(window)) / deviation if deviation else 0.0
        assert figures[0] == pytest.approx(z)
        if min(abs(abs(z) - 1.0), abs(abs(z) - 0.25)) > 1e-9:
            assert bool(action & Action.ENTER_LONG) is (z < -1.0)
            assert bool(action & Action.EXIT_LONG) is (z > -0.25)


def backtest(
    strategy: BarRule, rows: dict[str, Sequence[Sequence[float]]], cash: int = 100_000, express: bool = True
) -> Result:
    instruments = {symbol: Instrument(symbol, calendar="24/7") for symbol in rows}
    return Simulation(
        merge([daily(symbol, bars) for symbol, bars in rows.items()]),
        instruments,
        [PortfolioPlan("p", "p", Decimal(cash))],
        [DeploymentPlan(1, "d", "s", strategy, "p")],
        express=express,
    ).run()


def cross(symbols: Sequence[str] = ("A",), **parameters: Any) -> SmaCross:
    return SmaCross(parameters_from(SmaCross.Parameters, {"fast": 2, "slow": 4, **parameters}), symbols)


def reversion(symbols: Sequence[str] = ("A",), **parameters: Any) -> MeanReversion:
    return MeanReversion(parameters_from(MeanReversion.Parameters, {"window": 4, **parameters}), symbols)


def bars(closes: Sequence[float], volume: float = 1_000_000.0) -> list[list[float]]:
    opens = [closes[0], *closes[:-1]]
    return [[o, max(o, c) + 1, min(o, c) - 1, c, volume] for o, c in zip(opens, closes, strict=True)]


UP_AND_DOWN = [100.0] * 5 + [110.0, 120.0, 130.0, 120.0, 100.0, 80.0, 70.0, 70.0]


def test_a_crossover_says_what_it_saw_and_its_order_says_why() -> None:
    result = backtest(cross(quantity=3), {"A": bars(UP_AND_DOWN)})
    entry, leave = (signal for _, signal in result.signals)
    assert (entry.side, entry.tape_sequence, entry.values) == (Side.BUY, 6, {"fast": 105.0, "slow": 102.5})
    assert (leave.side, leave.tape_sequence, leave.signal_id) == (Side.SELL, 10, "1-10-1")
    assert [(fill.order.client_order_id, fill.last_quantity) for fill in result.fills] == [("1-6-1", 3), ("1-10-1", 3)]


@pytest.mark.parametrize(
    ("sizing", "bought"),
    [({}, 1), ({"quantity": 7}, 7), ({"cash_quantity": 1_000}, 9), ({"capital": 5_000}, 45)],
)
def test_an_entry_is_sized_by_units_by_cash_or_by_what_its_capital_has_become(
    sizing: dict[str, Any], bought: int
) -> None:
    again = [*UP_AND_DOWN, 70.0, 70.0, 80.0, 90.0, 90.0]
    result = backtest(cross(**sizing), {"A": bars(again)})
    first, sold, second = result.fills[:3]
    assert (first.last_price, first.last_quantity, sold.last_quantity) == (110, bought, bought)
    if "capital" in sizing:
        left = 5_000 - bought * 110 + bought * sold.last_price
        assert second.last_quantity == left // second.last_price


def test_each_symbol_is_traded_by_itself() -> None:
    both = backtest(cross(["A", "B"]), {"A": bars(UP_AND_DOWN), "B": bars([*UP_AND_DOWN[1:], 75.0])})
    assert [fill.order.symbol for fill in both.fills] == ["B", "A", "B", "A"]
    one = backtest(cross(["A"]), {"A": bars(UP_AND_DOWN)})
    assert [f.last_price for f in both.fills if f.order.symbol == "A"] == [f.last_price for f in one.fills]


def test_reversion_buys_low_and_sells_at_the_average() -> None:
    closes = [100.0, 101.0, 100.0, 101.0, 90.0, 91.0, 96.0, 98.0, 98.0]
    result = backtest(reversion(entry=1.5), {"A": bars(closes)})
    assert [(fill.order.side, fill.last_price) for fill in result.fills] == [(Side.BUY, 90), (Side.SELL, 96)]
    assert set(result.signals[0][1].values) == {"z", "mean", "deviation"}


def test_an_entry_that_has_not_filled_is_taken_back_when_its_exit_comes_first() -> None:
    rows = bars(UP_AND_DOWN)
    for row in rows[6:]:
        row[4] = 0.0
    result = backtest(cross(quantity=3), {"A": rows})
    assert result.fills == []
    assert [(event.order.state.name, event.tape_sequence) for event in result.events] == [("NEW", 6), ("CANCELED", 10)]


def test_a_part_that_has_filled_is_sold_and_the_rest_taken_back() -> None:
    rows = bars(UP_AND_DOWN)
    for row in rows[6:10]:
        row[4] = 0.0
    rows[6][4] = 20.0
    result = backtest(cross(quantity=3), {"A": rows})
    assert [(fill.order.side.name, fill.last_quantity) for fill in result.fills] == [("BUY", 2), ("SELL", 2)]


def test_bars_of_another_interval_are_not_read() -> None:
    assert backtest(cross(interval="1h"), {"A": bars(UP_AND_DOWN)}).signals == []
    assert len(backtest(cross(interval="1d"), {"A": bars(UP_AND_DOWN)}).signals) == 2


@given(
    seed=st.integers(0, 10_000),
    kind=st.sampled_from([cross, reversion]),
    jumps=st.lists(st.integers(0, 60), max_size=5).map(sorted),
    split=st.sampled_from([None, 10, 33]),
)
def test_looking_ahead_leaves_the_state_of_having_looked_at_each_bar(
    seed: int, kind: Any, jumps: list[int], split: int | None
) -> None:
    series = [daily("A", walk(seed, 60))]
    if split is not None:
        series.append(splits("A", {split: (3.0, 2.0)}))
    timeline = Timeline(merge(series))
    instruments = {"A": Instrument("A")}
    looked, skipped = (StrategyRunner(1, kind(), instruments, scanning=scanning) for scanning in (False, True))
    for runner in (looked, skipped):
        runner._context.warming = True
    for jump in jumps:
        if jump > looked.position:
            for runner in (looked, skipped):
                runner._context.at(jump, 0, warming=True)
                runner._deliver_until(timeline, jump)
            assert looked.state() == skipped.state()
