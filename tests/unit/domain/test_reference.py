"""Backtests against the answers of other engines, to the cent.

The figures of the synthetic market are those on which backtesting.py 0.6.6, backtrader 1.9.78, jesse, nautilus_trader
1.221, vectorbt and a plain loop agree; the scenarios are those in which engines differ, with the rule that decides.
"""

import csv
import json
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.deployment.context import Context
from services.domain.deployment.parameters import parameters_from
from services.domain.instrument import Instrument
from services.domain.market import Bar
from services.domain.orders.order import OrderType, Side
from services.domain.risk.limits import ShortSale
from services.domain.strategies import SmaCross
from services.domain.strategy import Strategy
from services.domain.tape import Tape, merge
from services.domain.venue.matching import VenueSettings
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


class Script(Strategy):
    """Places what it was told to at the close of bars, counted from 0."""

    kind = "script"

    def __init__(self, actions: Mapping[int, Sequence[tuple[Any, ...]]]) -> None:
        super().__init__(None, ["A"])
        self.actions = actions
        self.seen = 0

    def on_bar(self, context: Context, bar: Bar) -> None:
        for kind, side, quantity, *price in self.actions.get(self.seen, ()):
            terms = {"lim": "limit_price", "stop": "stop_price"}
            prices = {terms[kind]: Decimal(price[0])} if price else {}
            order_type = {"mkt": OrderType.MARKET, "lim": OrderType.LIMIT, "stop": OrderType.STOP}[kind]
            context.place(
                {"B": Side.BUY, "S": Side.SELL}[side], "A", Decimal(quantity), order_type=order_type, **prices
            )
        self.seen += 1


def run_script(
    bars: Sequence[float | tuple[float, float, float, float]],
    actions: Mapping[int, Sequence[tuple[Any, ...]]],
    settings: VenueSettings | None = None,
    shorts: bool = False,
) -> Result:
    rows = [[*(bar if isinstance(bar, tuple) else (bar,) * 4), 100_000.0] for bar in bars]
    portfolio = PortfolioPlan("p", "p", Decimal(10_000), (ShortSale(Decimal(1)),) if shorts else ())
    return Simulation(
        merge([daily("A", rows)]),
        {"A": Instrument("A", calendar="24/7")},
        [portfolio],
        [DeploymentPlan(1, "d", "s", Script(actions), "p")],
        venue_settings=settings,
    ).run()


def fills(result: Result) -> list[tuple[int, str, int, int]]:
    """(bar, side, quantity, price)"""
    return [
        (fill.tape_sequence - 1, fill.order.side.name, int(fill.last_quantity), int(fill.last_price))
        for fill in result.fills
    ]


def test_rule_8_a_sell_stop_that_is_jumped_fills_at_the_open() -> None:
    result = run_script([100, 100, 100, (90, 92, 88, 91), 91], {0: [("mkt", "B", 10)], 1: [("stop", "S", 10, 95)]})
    assert fills(result) == [(1, "BUY", 10, 100), (3, "SELL", 10, 90)]
    assert result.equity[-1].equity == 9_900


def test_rule_8_a_buy_limit_gets_the_better_price_of_a_gap() -> None:
    result = run_script([100, 100, (90, 92, 88, 91), 91], {0: [("lim", "B", 10, 95)]})
    assert fills(result) == [(2, "BUY", 10, 90)]
    assert result.equity[-1].equity == 10_010


def test_rule_9_a_buy_limit_that_is_only_touched_fills_by_setting() -> None:
    bars, actions = [100, 100, (98, 99, 95, 97), 97], {0: [("lim", "B", 10, 95)]}
    assert fills(run_script(bars, actions)) == []
    touched = run_script(bars, actions, VenueSettings(fill_on_touch=True))
    assert fills(touched) == [(2, "BUY", 10, 95)]
    assert touched.equity[-1].equity == 10_020


def test_rule_17_from_long_to_short_in_one_order() -> None:
    actions = {0: [("mkt", "B", 10)], 2: [("mkt", "S", 25)], 4: [("mkt", "B", 15)]}
    result = run_script([100, 100, 110, 110, 105, 105, 105], actions, shorts=True)
    assert fills(result) == [(1, "BUY", 10, 100), (3, "SELL", 25, 110), (5, "BUY", 15, 105)]
    assert result.ledgers["p"].realized_pnl == 175
    assert result.equity[-1].equity == 10_175
    flipped = run_script([100, 100, 110, 110, 110], {0: [("mkt", "B", 10)], 2: [("mkt", "S", 25)]}, shorts=True)
    assert flipped.ledgers["p"].realized_pnl == 100


def test_rule_17_not_without_leave_to_be_short() -> None:
    result = run_script([100, 100, 110, 110], {0: [("mkt", "B", 10)], 2: [("mkt", "S", 25)]})
    (refused,) = result.refusals
    assert refused.refusal is not None
    assert (refused.refusal.reason, refused.refusal.missing) == ("SHORT_NOT_ALLOWED", 15)


def test_rule_19_a_buy_beyond_cash_is_refused_with_the_amount_missing() -> None:
    result = run_script([100, 100, 100, 100], {0: [("mkt", "B", 150)]})
    (refused,) = result.refusals
    assert refused.refusal is not None
    assert (refused.refusal.reason, refused.refusal.missing) == ("INSUFFICIENT_BUYING_POWER", 5_000)
    assert (result.fills, result.equity[-1].equity) == ([], 10_000)
