"""A scenario run in this process: the mesh's own tape and the domain's own simulation, with no RPC between them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from services.chassis.errors import ApiError
from services.console.layout import Layout, Trouble
from services.console.scenario import Scenario
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.calendar import Sessions
from services.domain.deployment.parameters import BadParameter
from services.domain.instrument import Instrument
from services.domain.tape import Tape
from services.marketdata.environment import Wanted
from services.marketdata.providers.files import FilesProvider
from services.marketdata.providers.sample import SampleProvider
from services.marketdata.reference.sessions import Calendar, Calendars
from services.marketdata.settings import Settings
from services.marketdata.tapes.cutting import session_ends
from services.marketdata.tapes.data_sets import DataSets
from services.strategy.workshop.kinds import Kinds


@dataclass(frozen=True, slots=True)
class Market:
    """A tape, what is traded on it, and where its history ends."""

    tape: Tape
    instruments: Mapping[str, Instrument]
    start_sequence: int

    @property
    def symbols(self) -> tuple[str, ...]:
        """Those on the tape."""
        return tuple(sorted({source.symbol for source in self.tape.sources} & self.instruments.keys()))


class CalendarFiles:
    """Compiled calendars as files of the data directory: compiling one takes some seconds."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    async def calendar(self, name: str) -> Calendar | None:
        """A compiled calendar; None where there is none that can be read."""
        try:
            with np.load(self._path(name), allow_pickle=False) as arrays:
                begin, until, compile_time = arrays["known"].tolist()
                sessions = Sessions(name, arrays["opens"], arrays["closes"], begin, until)
                return Calendar(sessions, arrays["dates"], str(arrays["library"]), compile_time)
        except (OSError, ValueError, KeyError, EOFError):
            return None

    async def put_calendar(self, calendar: Calendar) -> None:
        """Stores one."""
        sessions = calendar.sessions
        known = np.array([sessions.known_from, sessions.known_until, calendar.compile_time], np.int64)
        out = io.BytesIO()
        edges = {"opens": sessions.opens, "closes": sessions.closes, "dates": calendar.dates, "known": known}
        np.savez(out, library=np.array(calendar.library), **edges)  # type: ignore[arg-type]
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = self._path(sessions.calendar).with_suffix(".partial")
        partial.write_bytes(out.getvalue())
        partial.replace(self._path(sessions.calendar))

    def _path(self, name: str) -> Path:
        return self._folder / f"{name.replace('/', '_')}.npz"


async def market_of(scenario: Scenario, settings: Settings) -> Market:
    """The tape that a replay of the scenario has in the mesh.

    Raises:
        Trouble: there is no such data set, or nothing of what was asked for.
    """
    calendars = Calendars(CalendarFiles(Layout(settings.data_directory.absolute()).directory / "calendars"))
    data_sets = DataSets([SampleProvider(), FilesProvider(settings.data_sets_directory)], calendars)
    try:
        _, data_set = await data_sets.find(scenario.data_set_id)
        strangers = sorted(set(scenario.symbols) - set(data_set.symbols))
        if strangers:
            raise Trouble(f"{scenario.data_set_id} has no {strangers[0]}; it has {', '.join(data_set.symbols)}.")
        instruments = {each.symbol: each for each in data_set.instruments}
        wanted = Wanted(scenario.data_set_id, scenario.symbols, scenario.start_time, scenario.end_time)
        tape = await data_sets.cut(wanted, instruments)
    except ApiError as error:
        if error.reason == "DATA_SET_NOT_FOUND":
            known = ", ".join(each.data_set_id for each in await data_sets.all())
            raise Trouble(f"There is no data set {scenario.data_set_id}; there are {known}.") from None
        raise Trouble(error.message) from None
    ends = session_ends(tape)
    if scenario.warm_up_sessions > len(ends) or (
        scenario.warm_up_sessions and ends[scenario.warm_up_sessions - 1] >= len(tape)
    ):
        raise Trouble(f"{scenario.warm_up_sessions} sessions of warm-up leave nothing of {len(ends)}.")
    start = int(ends[scenario.warm_up_sessions - 1]) if scenario.warm_up_sessions else 0
    return Market(tape, instruments, start)


def simulation_of(scenario: Scenario, market: Market, kinds: Kinds) -> Simulation:
    """The scenario, ready to run.

    Raises:
        Trouble: a strategy's kind or parameters are wrong.
    """
    portfolios = [
        PortfolioPlan(each.portfolio_id, each.label, Decimal(scenario.cash), currency_code=scenario.currency_code)
        for each in scenario.traders
    ]
    deployments = []
    for number, trader in enumerate(scenario.traders, 1):
        try:
            strategy = kinds.create(trader.kind, trader.parameters, scenario.symbols or market.symbols)
        except KeyError:
            known = ", ".join(each.kind.kind for each in kinds.all())
            raise Trouble(f"There is no kind of strategy {trader.kind}; there are {known}.") from None
        except BadParameter as error:
            raise Trouble(f"{trader.kind}: {error}.") from None
        plan = DeploymentPlan(number, f"{trader.strategy_id}-1", trader.strategy_id, strategy, trader.portfolio_id)
        deployments.append(plan)
    return Simulation(
        market.tape,
        market.instruments,
        portfolios,
        deployments,
        start_sequence=market.start_sequence,
        models=scenario.models,
        limits=scenario.limits,
    )
