"""The backtest command: a scenario, or a replay of the running mesh, run in this process at full speed."""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

from services.chassis.garbage import rare_collections
from services.chassis.settings import load
from services.console.layout import Trouble
from services.console.scenario import DEMONSTRATION, Scenario, Trader
from services.console.settings import ConsoleSettings
from services.domain.backtest.simulation import Result
from services.domain.costs import ModelChange
from services.domain.risk.limits import LimitChange
from services.domain.tape import Kind, Tape
from services.marketdata.settings import Settings as MarketdataSettings
from services.strategy.settings import Settings as StrategySettings
from services.strategy.workshop.kinds import discover

if TYPE_CHECKING:
    from services.console.trial.repeat import Comparison

T = TypeVar("T")

DIFFERENT: Final = 1
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9./_&-]{0,31}")
_PORTFOLIO: Final = re.compile(r"[^a-z0-9]+")
_OF_MODELS: Final = ("portfolio", "symbol")


def backtest(options: argparse.Namespace) -> int:
    """Runs it and prints what came of it; 1 where the mesh came to something else."""
    if options.environment:
        return _repeat(options)
    from services.console.trial.trial import market_of, simulation_of

    scenario = scenario_of(options)
    kinds = discover(load(StrategySettings).strategy_path)
    market = asyncio.run(market_of(scenario, load(MarketdataSettings)))
    for each in strangers(scenario, market.symbols):
        sys.stderr.write(f"{each}\n")
    simulation = simulation_of(scenario, market, kinds)
    begin = time.perf_counter()
    with rare_collections():
        result = simulation.run()
    seconds = time.perf_counter() - begin
    _print_result(result, market.tape, market.start_sequence, seconds)
    print(f"digest {result.digest()}")
    return 0


def scenario_of(options: argparse.Namespace) -> Scenario:
    """The demonstration's scenario, changed as the options say.

    Raises:
        Trouble: an option is wrong.
    """
    scenario = DEMONSTRATION
    if options.data_set and options.data_set != scenario.data_set_id:
        scenario = replace(scenario, data_set_id=options.data_set, symbols=(), warm_up_sessions=0)
    if options.symbols:
        symbols = tuple(each.strip() for each in options.symbols.split(","))
        wrong = [each for each in symbols if not _SYMBOL.fullmatch(each)]
        if wrong:
            raise Trouble(f"--symbols: {wrong[0]!r} is no symbol.")
        scenario = replace(scenario, symbols=symbols)
    if options.strategy:
        name = _PORTFOLIO.sub("-", options.strategy.lower())
        trader = Trader(options.strategy, name, name, options.strategy, _parameters(options.parameter))
        scenario = replace(scenario, traders=(trader,))
    elif options.parameter:
        raise Trouble("--parameter goes with --strategy.")
    if options.cash:
        scenario = replace(scenario, cash=_cash(options.cash))
    if options.warm_up is not None:
        if options.warm_up < 0:
            raise Trouble("--warm-up: at least 0 sessions.")
        scenario = replace(scenario, warm_up_sessions=options.warm_up)
    if options.models:
        scenario = replace(scenario, models=_models(options.models))
    if options.limits:
        scenario = replace(scenario, limits=_limits(options.limits))
    start, end = _day("--start", options.start), _day("--end", options.end)
    if start is not None and end is not None and end < start:
        raise Trouble("--end is before --start.")
    end_time = None if end is None else _nanoseconds(end + timedelta(days=1)) - 1
    return replace(scenario, start_time=None if start is None else _nanoseconds(start), end_time=end_time)


def strangers(scenario: Scenario, symbols: Iterable[str]) -> list[str]:
    """Who is named by models and limits, and takes no part: one that is misspelt would cost and refuse nothing."""
    known = {
        "portfolio": {each.portfolio_id for each in scenario.traders},
        "strategy": {each.strategy_id for each in scenario.traders},
        "symbol": set(symbols),
    }
    named = [("models", *each) for model in scenario.models for each in zip(_OF_MODELS, model.scope, strict=True)]
    named += [("limits", *each) for set_ in scenario.limits for each in zip(known, set_.limit.where, strict=True)]
    found = [
        f"--{option}: no {kind} {name} takes part" for option, kind, name in named if name not in {"", *known[kind]}
    ]
    return list(dict.fromkeys(found))


def _repeat(options: argparse.Namespace) -> int:
    alone = (options.data_set, options.symbols, options.strategy, options.cash, options.start, options.end)
    if any(alone) or options.models or options.limits or options.parameter or options.warm_up is not None:
        raise Trouble("--environment takes everything from the replay, and goes with no other option.")
    from services.chassis.errors import ApiError

    try:
        compared = asyncio.run(_compare(options.environment))
    except ApiError as error:
        hint = " Does the mesh run? `tickmesh status` tells." if error.reason == "SERVICE_UNAVAILABLE" else ""
        raise Trouble(f"{error.message}{hint}") from None
    stands = compared.replay
    _print_result(compared.result, None, stands.start_sequence, 0.0)
    print(f"{stands.environment_id} is {stands.state} at record {stands.tape_sequence:,} of {stands.end_sequence:,}")
    print(f"mesh     {compared.mesh_digest}")
    print(f"backtest {compared.own_digest}")
    print("equal" if compared.equal else "DIFFERENT")
    for each in () if compared.equal else compared.caveats:
        print(f"a repeat cannot know: {each}")
    return 0 if compared.equal else DIFFERENT


async def _compare(environment_id: str) -> Comparison:
    from services.console.clients import Mesh
    from services.console.trial.repeat import repeat

    kinds = discover(load(StrategySettings).strategy_path)
    async with Mesh(load(ConsoleSettings)) as mesh:
        return await repeat(mesh, environment_id, kinds)


def _print_result(result: Result, tape: Tape | None, start_sequence: int, seconds: float) -> None:
    from rich.table import Table
    from rich.text import Text

    from services.console.screen.view import money, terminal

    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("Portfolio", "Fills", "Refused", "Equity", "Profit", "Commission"):
        table.add_column(name, justify="left" if name == "Portfolio" else "right")
    final = {point.portfolio_id: point.equity for point in result.equity}
    for plan in result.portfolios:
        fills = sum(each.order.portfolio_id == plan.portfolio_id for each in result.fills)
        refused = sum(each.portfolio_id == plan.portfolio_id for each in result.refusals)
        equity = final.get(plan.portfolio_id, plan.cash)
        profit = equity - plan.cash
        style = "green" if profit > 0 else "red" if profit < 0 else ""
        share = f" {profit / plan.cash:+.2%}" if plan.cash else ""
        gained = Text(f"{money(profit, signed=True)}{share}", style)
        paid = money(result.ledgers[plan.portfolio_id].commission)
        table.add_row(plan.label, f"{fills:,}", f"{refused:,}", money(equity), gained, paid)
    terminal().print(table)
    if tape is not None:
        bars = _bars(tape, start_sequence)
        print(f"{bars:,} bars in {seconds:.2f} s, {bars / max(seconds, 1e-9):,.0f} a second")


def _bars(tape: Tape, after: int) -> int:
    bars = [place for place, source in enumerate(tape.sources) if source.kind is Kind.BAR]
    return sum(int((tape.source[after:] == place).sum()) for place in bars)


def _parameters(given: Sequence[str]) -> dict[str, str]:
    parameters = {}
    for each in given:
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise Trouble(f"--parameter: {each!r} is not NAME=VALUE.")
        parameters[name] = value
    return parameters


def _models(path: str) -> tuple[ModelChange, ...]:
    from services.console.mapping import model_changes

    return _from_file("models", path, model_changes)


def _limits(path: str) -> tuple[LimitChange, ...]:
    from services.console.mapping import limits_asked

    return _from_file("limits", path, limits_asked)


def _from_file(what: str, path: str, read: Callable[[Any], Iterable[T]]) -> tuple[T, ...]:
    from services.chassis.errors import ApiError

    try:
        found = json.loads(Path(path).read_text())
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise ValueError("it is no JSON list of objects")
        return tuple(read(found))
    except OSError as error:
        raise Trouble(f"--{what}: {path} cannot be read: {error.strerror}.") from None
    except ApiError as error:
        raise Trouble(f"--{what}: {path} holds one that is wrong: {error.message}") from None
    except (ValueError, TypeError, KeyError) as error:
        raise Trouble(f"--{what}: {path} holds no list of {what} that can be set: {error}") from None


def _cash(text: str) -> Decimal:
    try:
        cash = Decimal(text)
    except InvalidOperation:
        cash = Decimal("NaN")
    if not cash.is_finite() or cash <= 0:
        raise Trouble(f"--cash: {text!r} is no amount above zero.")
    return cash


def _day(option: str, text: str | None) -> datetime | None:
    if not text:
        return None
    try:
        return datetime.strptime(text, "%Y-%m-%d").replace(tzinfo=UTC)
    except ValueError:
        raise Trouble(f"{option}: {text!r} is no day like 2004-08-19.") from None


def _nanoseconds(moment: datetime) -> int:
    return int(moment.timestamp()) * 1_000_000_000
