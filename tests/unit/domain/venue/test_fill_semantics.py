"""What fills, at what price and why not: one table of scenarios, each with the rule that decides and its outcome."""

import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from services.domain.venue.matching import Venue
from tests.unit.domain.venue.fill_semantics import (
    brackets,
    chosen,
    depth,
    lists,
    prices,
    reference,
    sessions,
    terms,
    volume,
)
from tests.unit.domain.venue.fill_semantics.reference import REFERENCES, Reference
from tests.unit.domain.venue.fill_semantics.scenario import TOUCH, Scenario, backtest, commands, number_of, told_of
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, drive, told
from tests.unit.domain.venue.slow_venue import SlowVenue, merged

PARTS = (reference, prices, volume, depth, sessions, terms, lists, brackets, chosen)
TABLE = [scenario for part in PARTS for scenario in part.SCENARIOS]
TWO = ("backtrader", "backtesting")
Fill = tuple[int, str, float, float]
"""Bar counted from 0, side, quantity, price."""


@pytest.mark.parametrize("scenario", TABLE, ids=lambda s: f"rule {s.rule}: {s.name}")
def test_rules_7_to_20_scenario(scenario: Scenario) -> None:
    """The venue and the slow model come to the outcome, and a backtest where the scenario has cash for one."""
    if scenario.cash:
        result, lines = backtest(scenario)
        assert lines == scenario.outcome
        assert result.equity[-1].equity == scenario.equity
        if result.refusals:
            return
    events = drive(Venue(INSTRUMENTS, scenario.settings), scenario.tape, commands(scenario))
    assert told_of(events, scenario.outcome, number_of) == scenario.outcome
    slow = SlowVenue(scenario.tape, scenario.settings).run(commands(scenario))
    assert merged(told(events)) == merged(slow)


def test_no_scenario_is_told_twice() -> None:
    assert [name for name, count in Counter(each.name for each in TABLE).items() if count > 1] == []


def test_rule_17_the_flip_realizes_the_long_s_profit_and_the_cover_the_short_s() -> None:
    (flip,) = (each for each in REFERENCES if each.name == "G_flip_long_to_short")
    (buy, sale, _), actions = flip.outcome, flip.actions
    whole, _ = backtest(flip.scenario)
    assert whole.ledgers["p"].realized_pnl == 175
    flipped = replace(flip, bars=flip.bars[:4], actions={bar: actions[bar] for bar in (0, 2)}, outcome=[buy, sale])
    half, _ = backtest(flipped.scenario)
    assert half.ledgers["p"].realized_pnl == 100


@pytest.fixture
def known(shared: Path) -> dict[str, Any]:
    """Scenarios and what other engines made of them."""
    data: dict[str, Any] = json.loads((shared / "reference" / "fill_semantics.json").read_text())
    return data


def test_every_scenario_of_the_reference_data_is_in_the_table_as_it_is_there(known: dict[str, Any]) -> None:
    assert {each.name for each in REFERENCES} == known["scenarios"].keys()
    for each in REFERENCES:
        stated = known["scenarios"][each.name]
        assert [list(bar) for bar in each.bars] == stated["bars_OHLCV"]
        assert {str(bar): [list(action) for action in sent] for bar, sent in each.actions.items()} == stated["actions"]
        assert each.scenario.cash == stated["cash"]


@pytest.mark.parametrize("each", REFERENCES, ids=lambda each: each.scenario.name)
def test_where_other_engines_come_to_the_same_and_where_not(known: dict[str, Any], each: Reference) -> None:
    """Two do in all, given that they fill at a touch; the third fills market orders on the bar they are sent at."""
    result, _ = backtest(each.scenario)
    fills = [
        (e.tape_sequence - 1, e.order.side.name[0], float(e.last_quantity), float(e.last_price)) for e in result.fills
    ]
    equity, one, other = result.equity[-1].equity, *(known["results"][name][each.name] for name in TWO)
    agreed = each.name != "D_buy_limit_exact_touch" or each.settings is TOUCH
    assert ((fills, equity) == (by_fills(one), one["value_end"])) is agreed
    assert ((by_price(fills), equity) == (by_price(by_trades(other)), other["equity_end"])) is agreed
    assert bool(result.refusals) is bool(one["rejected"])
    third = by_fills(known["results"]["nautilus"][f"{each.name}__MARGIN"])
    assert ([what for _, *what in fills] == [what for _, *what in third]) is (agreed and not each.differently)


def by_fills(told: dict[str, Any]) -> list[Fill]:
    return [(bar, side, abs(quantity), price) for bar, side, quantity, price, *_ in told["fills"]]


def by_trades(told: dict[str, Any]) -> list[Fill]:
    """Entries and exits: what closes one position and opens another is two of these."""
    fills = []
    for size, entered, price, *exited in told["closed"] + told["open"]:
        fills.append((entered, "B" if size > 0 else "S", abs(size), price))
        if exited:
            left, exit_price, _ = exited
            fills.append((left, "S" if size > 0 else "B", abs(size), exit_price))
    return fills


def by_price(fills: list[Fill]) -> Counter[tuple[int, str, float]]:
    """Units by bar, side and price."""
    units: Counter[tuple[int, str, float]] = Counter()
    for bar, side, quantity, price in fills:
        units[bar, side, price] += quantity
    return units
