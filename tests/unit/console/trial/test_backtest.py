"""Backtests from the terminal: what the options mean, and that any part of a run is a run of that part."""

import argparse
import re
from decimal import Decimal
from pathlib import Path

import numpy as np
import pytest

from services import order
from services.console.layout import Trouble
from services.console.main import main
from services.console.scenario import DEMONSTRATION, Scenario
from services.console.trial.backtest import scenario_of, strangers
from services.console.trial.repeat import histories_to, run_to
from services.console.trial.trial import Market, simulation_of
from services.domain.backtest.digest import digest
from services.domain.costs import Commission, Latency, ModelChange, Scope, Slippage, VenueModel
from services.domain.instrument import Instrument
from services.domain.risk.limits import LimitChange, make_limit
from services.domain.tape import Kind, Series, Source, merge
from services.strategy.workshop.kinds import discover

DAY = 86_400_000_000_000
DEFAULTS = {
    "data_set": None,
    "symbols": None,
    "strategy": None,
    "parameter": [],
    "cash": None,
    "start": None,
    "end": None,
    "warm_up": None,
    "models": None,
    "limits": None,
    "environment": None,
}


def chosen(**options: object) -> Scenario:
    return scenario_of(argparse.Namespace(**(DEFAULTS | options)))


def test_without_options_it_is_the_demonstration() -> None:
    assert chosen() == DEMONSTRATION


def test_options_change_what_they_name() -> None:
    scenario = chosen(
        strategy="sma_cross", parameter=["fast=5", "slow=9"], symbols="IBM,AAPL", cash="5000.50", warm_up=0,
        start="2004-08-19", end="2004-08-20",
    )  # fmt: skip
    assert scenario.symbols == ("IBM", "AAPL")
    assert scenario.cash == Decimal("5000.50")
    assert scenario.warm_up_sessions == 0
    (trader,) = scenario.traders
    assert (trader.kind, trader.parameters) == ("sma_cross", {"fast": "5", "slow": "9"})
    assert scenario.start_time is not None
    assert scenario.end_time is not None
    assert scenario.end_time - scenario.start_time == 2 * DAY - 1


def test_another_data_set_brings_its_own_symbols_and_no_warm_up() -> None:
    scenario = chosen(data_set="mine")
    assert (scenario.symbols, scenario.warm_up_sessions) == ((), 0)


@pytest.mark.parametrize(
    "options",
    [
        {"parameter": ["fast=5"]},
        {"strategy": "sma_cross", "parameter": ["fast"]},
        {"strategy": "sma_cross", "parameter": ["=5"]},
        {"cash": "much"},
        {"cash": "0"},
        {"cash": "NaN"},
        {"cash": "-1"},
        {"warm_up": -1},
        {"symbols": "aapl"},
        {"symbols": "AAPL,"},
        {"start": "yesterday"},
        {"start": "2004-02-30"},
        {"start": "2004-02-02", "end": "2004-02-01"},
    ],
)
def test_a_wrong_option_is_said(options: dict[str, object]) -> None:
    with pytest.raises(Trouble):
        chosen(**options)


def test_a_replay_goes_with_no_other_option(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backtest", "--environment", "replay-1", "--cash", "5"]) == 1
    assert "no other option" in capsys.readouterr().err


@pytest.fixture
def market() -> Market:
    """Two names over 300 days of a bar each, as a random walk."""
    random = np.random.default_rng(7)
    count = 300
    opens = np.arange(count, dtype=np.int64) * DAY + 14 * 3_600_000_000_000
    closes = opens + 6 * 3_600_000_000_000
    edges = np.column_stack((opens, closes)).ravel()
    series = [Series(Source(Kind.CLOCK, "XNYS"), edges, edges, np.tile([[1.0, 0, 0, 0, 0], [0.0] * 5], (count, 1)))]
    for symbol in ("AAA", "BBB"):
        close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.02, count))), 2)
        open_ = np.round(close * 1.001, 2)
        values = np.column_stack(
            (open_, np.maximum(open_, close), np.minimum(open_, close), close, np.full(count, 1e6))
        )
        series.append(Series(Source(Kind.BAR, symbol, "1d"), closes, opens, values))
    return Market(merge(series), {symbol: Instrument(symbol) for symbol in ("AAA", "BBB")}, 80)


SCENARIO = chosen(data_set="walk")


def test_a_run_that_stops_anywhere_is_the_beginning_of_the_whole(market: Market) -> None:
    kinds = discover()
    whole = simulation_of(SCENARIO, market, kinds).run()
    assert len(whole.fills) > 40
    for sequence in range(market.start_sequence, len(market.tape) + 1, 7):
        part = run_to(simulation_of(SCENARIO, market, kinds), sequence)
        assert digest(histories_to(part, sequence)) == digest(histories_to(whole, sequence)), sequence
    assert digest(histories_to(whole, len(market.tape))) == whole.digest()


def test_an_unknown_kind_or_parameter_is_said(market: Market) -> None:
    for options in ({"strategy": "nope"}, {"strategy": "sma_cross", "parameter": ["fast=many"]}):
        with pytest.raises(Trouble):
            simulation_of(chosen(data_set="walk", **options), market, discover())


def test_limits_come_from_a_file_as_the_contract_has_them(tmp_path: Path) -> None:
    file = tmp_path / "limits.json"
    file.write_text(
        '[{"limit_type": "LIMIT_TYPE_MAX_DRAWDOWN", "bound": "0.1"},'
        ' {"portfolio_id": "trend", "symbol": "IBM", "limit_type": "LIMIT_TYPE_RESTRICTED", "bound": "1"}]'
    )
    assert chosen(limits=str(file)).limits == (
        LimitChange(0, make_limit("max_drawdown", Decimal("0.1"))),
        LimitChange(0, make_limit("restricted", Decimal(1), "trend", symbol="IBM")),
    )


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[1]",
        "[{}]",
        '[{"limit_type": "LIMIT_TYPE_MAX_DRAWDOWN", "bound": "-1"}]',
        '[{"limit_type": "LIMIT_TYPE_MAX_DRAWDOWN", "bound": "1", "symbol": "IBM"}]',
        '[{"limit_type": "LIMIT_TYPE_RUNAWAY_GUARD", "bound": "1"}]',
    ],
)
def test_a_file_of_limits_that_is_none_is_a_trouble(tmp_path: Path, text: str) -> None:
    file = tmp_path / "limits.json"
    file.write_text(text)
    with pytest.raises(Trouble, match="--limits"):
        chosen(limits=str(file))


def test_models_come_from_a_file_as_the_contract_has_them(tmp_path: Path) -> None:
    file = tmp_path / "models.json"
    file.write_text(
        '[{"commission": {"per_unit": "0.005", "minimum": "1"}},'
        ' {"portfolio_id": "trend", "symbol": "IBM", "slippage": {"basis_points": "2"}, "latency": {"fixed": "0.5s"}}]'
    )
    everywhere, narrow = chosen(models=str(file)).models
    assert everywhere == ModelChange(0, Scope(), VenueModel(Commission(per_unit=Decimal("0.005"), minimum=Decimal(1))))
    assert narrow.scope == Scope("trend", "IBM")
    assert narrow.model == VenueModel(None, Slippage(Decimal(2)), Latency(500_000_000))


@pytest.mark.parametrize(
    "text", ["", "{}", "{}x", "[1]", '[{"commission": {"per_unit": "-1"}}]', "[{}]", '[{"slippage": {"impact": "2"}}]']
)
def test_a_file_of_models_that_is_none_is_a_trouble(tmp_path: Path, text: str) -> None:
    file = tmp_path / "models.json"
    file.write_text(text)
    with pytest.raises(Trouble, match="--models"):
        chosen(models=str(file))
    with pytest.raises(Trouble, match="cannot be read"):
        chosen(models=str(tmp_path / "nothing.json"))


def test_a_file_that_sets_one_thing_twice_is_a_trouble(tmp_path: Path) -> None:
    """In the mesh the second would replace the first, whole: what that said would cost and refuse nothing."""
    file = tmp_path / "twice.json"
    file.write_text('[{"commission": {"per_unit": "1"}}, {"fills": {"volume_share": "0.25"}}]')
    with pytest.raises(Trouble, match="two are for all"):
        chosen(models=str(file))
    model = '{"portfolio_id": "trend", "symbol": "IBM", "commission": {"per_unit": "1"}}'
    file.write_text(f"[{model}, {model}]")
    with pytest.raises(Trouble, match="two are for portfolio_id trend, symbol IBM"):
        chosen(models=str(file))
    limit = '{"strategy_id": "cross", "limit_type": "LIMIT_TYPE_MAX_ORDER_QUANTITY", "bound": "1"}'
    file.write_text(f"[{limit}, {limit}]")
    with pytest.raises(Trouble, match="two max_order_quantity are for strategy_id cross"):
        chosen(limits=str(file))


def test_the_models_that_the_order_services_readme_shows_all_hold(tmp_path: Path) -> None:
    text = Path(order.__path__[0], "README.md").read_text()
    [shown] = re.findall(r"^    (\[\{.*?\}\])$", text, re.MULTILINE | re.DOTALL)
    file = tmp_path / "models.json"
    file.write_text(shown)
    everywhere, narrow = chosen(models=str(file)).models
    assert everywhere.scope == Scope()
    assert everywhere.model.commission is not None
    assert everywhere.model.fills is not None
    assert narrow.scope == Scope("trend")
    assert narrow.model == VenueModel(None, Slippage(Decimal(2)))


def test_who_is_named_by_models_and_limits_and_takes_no_part_is_told(tmp_path: Path) -> None:
    models, limits = tmp_path / "models.json", tmp_path / "limits.json"
    models.write_text(
        '[{"commission": {"per_unit": "1"}}, {"symbol": "IBN", "commission": {"per_unit": "1"}},'
        ' {"portfolio_id": "trent", "symbol": "IBN", "commission": {"per_unit": "2"}},'
        ' {"portfolio_id": "trend", "symbol": "IBM", "commission": {"per_unit": "2"}}]'
    )
    limit = '"limit_type": "LIMIT_TYPE_MAX_ORDER_QUANTITY", "bound": "1"'
    limits.write_text(f'[{{{limit}, "strategy_id": "crass"}}, {{{limit}, "strategy_id": "cross", "symbol": "IBM"}}]')
    scenario = chosen(models=str(models), limits=str(limits))
    assert strangers(scenario, scenario.symbols) == [
        "--models: no symbol IBN takes part",
        "--models: no portfolio trent takes part",
        "--limits: no strategy crass takes part",
    ]
