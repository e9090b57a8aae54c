"""Backtests against the answers of other engines, to the cent.

The figures of the synthetic market are those on which backtesting.py 0.6.6, backtrader 1.9.78, jesse, nautilus_trader
1.221, vectorbt and a plain loop agree; the scenarios are those in which engines differ, with the rule that decides.
"""

import csv
import json
from collections.abc import Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.deployment.parameters import parameters_from
from services.domain.instrument import Instrument
from services.domain.market import Bar
from services.domain.orders.order import Side
from services.domain.strategies import SmaCross
from services.domain.tape import Tape, merge
from tests.unit.domain.markets import SYNTHETIC, clock, daily, synthetic


def run_sma_cross(tape: Tape, instruments: Mapping[str, Instrument], cash: int, **parameters: object) -> Result:
    strategy = SmaCross(parameters_from(SmaCross.Parameters, parameters), list(instruments))
    portfolio = PortfolioPlan("p", "p", Decimal(cash))
    return Simulation(tape, instruments, [portfolio], [DeploymentPlan(1, "d", "s", strategy, "p")]).run()


@pytest.mark.parametrize(
    ("bars", "orders", "cash", "equity"),
    [
        (50_000, 1_859, "9999020.55", "10000013.43"),
        pytest.param(1_000_000, 38_815, "9999003.33", "10000061.99", marks=pytest.mark.timeout(300)),
    ],
)
def test_the_synthetic_market_comes_out_as_with_six_other_engines(
    bars: int, orders: int, cash: str, equity: str
) -> None:
    result = run_sma_cross(synthetic(bars), SYNTHETIC, 10_000_000, fast=10, slow=30, quantity=1)
    assert len(result.fills) == orders
    assert result.ledgers["p"].cash == Decimal(cash)
    assert result.equity[-1].equity == Decimal(equity)


def test_the_first_decision_comes_one_bar_after_both_averages_exist() -> None:
    """At bar 30, counted from 0, of a market that rises from the 30th bar on; it fills at the next bar's open."""
    rows = [[100.0, 101.0, 99.0, 100.0, 1_000.0]] * 29 + [[100.0, 103.0, 99.0, 101.0 + i, 1_000.0] for i in range(4)]
    result = run_sma_cross(merge([daily("A", rows)]), {"A": Instrument("A", calendar="24/7")}, 10_000, fast=10, slow=30)
    assert result.fills == []
    rows[29] = [100.0, 101.0, 99.0, 99.0, 1_000.0]
    result = run_sma_cross(merge([daily("A", rows)]), {"A": Instrument("A", calendar="24/7")}, 10_000, fast=10, slow=30)
    assert [(fill.order.basis_sequence, fill.tape_sequence) for fill in result.fills] == [(31, 32)]


def round_trips(result: Result, bar_of: Mapping[int, int]) -> list[tuple[Any, ...]]:
    """(size, entry bar, entry price, exit bar, exit price) of each buy and the sale after it."""
    fills = [(fill.last_quantity, bar_of[fill.tape_sequence], fill.last_price) for fill in result.fills]
    assert [fill.order.side for fill in result.fills] == [Side.BUY, Side.SELL] * (len(fills) // 2) + [Side.BUY] * (
        len(fills) % 2
    )
    pairs = zip(fills[::2], fills[1::2], strict=False)
    return [(size, at, price, to, exit_price) for (size, at, price), (_, to, exit_price) in pairs]


@pytest.mark.parametrize("time_in_force", ["GTC", "DAY"])
@pytest.mark.parametrize("sessions", [False, True])
@pytest.mark.parametrize(
    ("case", "sizing"),
    [
        ("fixed_10_shares_commission_0.0_finalize_False", {"quantity": 10}),
        ("all_in_commission_0.0_finalize_False", {"capital": 10_000}),
    ],
)
def test_goog_daily_comes_out_as_with_backtesting_py(
    shared: Path, case: str, sizing: dict[str, object], sessions: bool, time_in_force: str
) -> None:
    expected = json.loads((shared / "reference" / "sma_cross.json").read_text())["goog_daily_10_20"]["cases"][case]
    with (shared / "data" / "goog_daily_2004_2013.csv").open() as file:
        names = ("open", "high", "low", "close", "volume")
        rows = [[float(row[name]) for name in names] for row in csv.DictReader(file)]
    parts = [daily("GOOG", rows), clock(len(rows))] if sessions else [daily("GOOG", rows)]
    tape = merge(parts)
    instruments = {"GOOG": Instrument("GOOG", calendar="XTST")}
    result = run_sma_cross(tape, instruments, 10_000, fast=10, slow=20, time_in_force=time_in_force, **sizing)
    bars = [sequence for sequence in range(1, len(tape) + 1) if isinstance(tape.record(sequence), Bar)]
    made = round_trips(result, {sequence: bar for bar, sequence in enumerate(bars)})
    assert made == [
        (
            trade["Size"],
            trade["EntryBar"],
            Decimal(str(trade["EntryPrice"])),
            trade["ExitBar"],
            Decimal(str(trade["ExitPrice"])),
        )
        for trade in expected["trades"]
    ]
    assert result.equity[-1].equity == round(Decimal(expected["equity_end"]), 2)
