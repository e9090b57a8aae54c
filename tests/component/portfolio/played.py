"""A replay with fills and splits: the simulation that makes its events, and what the service must list of it."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from typing import Any

from tickmesh.portfolio.v1 import portfolio_service_pb2 as api

from services.domain.backtest.digest import EntryLine, History
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.deployment.parameters import parameters_from
from services.domain.orders.order import ExecType, OrderEvent
from services.domain.strategies import MeanReversion, SmaCross
from services.domain.tape import Tape, merge
from tests.component.portfolio.peers import RUNNING, Peers, Replay
from tests.unit.domain.markets import clock, daily, instrument, splits, walk

DAYS, START = 60, 40
CASH = Decimal(100_000)
INSTRUMENTS = {symbol: instrument(symbol) for symbol in ("A", "B")}
PLANS = [PortfolioPlan("trend", "Trend", CASH), PortfolioPlan("revert", "Revert", CASH)]
IDLE_TYPES = {ExecType.NEW, ExecType.HELD, ExecType.REJECTED}


def tape(seed: int = 7) -> Tape:
    """Two symbols; A is split three for two, which leaves fractions, and B two for one."""
    bars = [daily("A", walk(seed, DAYS)), daily("B", walk(seed + 1, DAYS, 50))]
    return merge([clock(DAYS), *bars, splits("A", {25: (3, 2), 44: (3, 2)}), splits("B", {33: (2, 1)})])


def simulation(of: Tape) -> Simulation:
    cross = parameters_from(SmaCross.Parameters, {"fast": 2, "slow": 5, "quantity": 7})
    revert = parameters_from(MeanReversion.Parameters, {"window": 5, "entry": 0.5, "capital": 4_000})
    deployments = [
        DeploymentPlan(1, "d1", "s1", SmaCross(cross, ("A", "B")), "trend"),
        DeploymentPlan(2, "d2", "s2", MeanReversion(revert, ("A", "B")), "revert"),
    ]
    return Simulation(of, INSTRUMENTS, PLANS, deployments, start_sequence=START, environment_id="replay-1")


def of_venue(events: list[OrderEvent]) -> int:
    """How many of a cycle's events the venue made before the strategies had their turn."""
    return next(
        (i for i, e in enumerate(events) if e.exec_type in IDLE_TYPES and e.order.event_count == 1), len(events)
    )


async def run(peers: Peers, replay: Replay, ran: Simulation, cycles: int = 10_000) -> None:
    """Drive the service through so many cycles of the simulation, and past the last one close the environment, once."""
    coordinator, cycle = peers.coordinator, replay.cycle
    if replay.state != RUNNING:
        return
    if not cycle:
        await coordinator.fold(replay, 0, START, 0)
    for cycle in range(replay.cycle + 1, replay.cycle + 1 + cycles):
        if ran.done:
            break
        made = ran.cycle()
        first = of_venue(made.events)
        replay.publish(made.events[:first])
        await coordinator.fold(replay, cycle, made.through, replay.head)
        replay.publish(made.events[first:])
    else:
        return
    known = len(ran.result.events)
    result = ran.run()
    replay.publish(result.events[known:])
    await coordinator.fold(replay, cycle, len(replay.tape), replay.head)
    peers.end(replay)


async def open_portfolios(stub: Any, environment_id: str = "replay-1") -> None:
    for plan in PLANS:
        request = api.CreatePortfolioRequest(
            portfolio_id=plan.portfolio_id, environment_id=environment_id, display_name=plan.label
        )
        request.initial_cash.currency_code, request.initial_cash.amount = "USD", str(plan.cash)
        await stub.CreatePortfolio(request, wait_for_ready=True, timeout=60)


async def listed(stub: Any, portfolio_id: str, size: int = 50) -> list[Any]:
    found: list[Any] = []
    token = ""
    while True:
        request = api.ListLedgerEntriesRequest(portfolio_id=portfolio_id, page_size=size, page_token=token)
        page = await stub.ListLedgerEntries(request, wait_for_ready=True, timeout=60)
        found += page.ledger_entries
        if not (token := page.next_page_token):
            return found


async def histories(stub: Any) -> list[History]:
    made = []
    for plan in PLANS:
        entries = [
            EntryLine(
                number,
                entry.DESCRIPTOR.fields_by_name["kind"].enum_type.values_by_number[entry.kind].name[18:],
                entry.DESCRIPTOR.fields_by_name["account"].enum_type.values_by_number[entry.account].name[15:],
                entry.asset,
                Decimal(entry.amount),
                entry.event_time.ToNanoseconds(),
                entry.tape_sequence,
            )
            for number, entry in enumerate(await listed(stub, plan.portfolio_id), 1)
        ]
        made.append(History(plan.label, entries=entries))
    return made


def expected(ran: Simulation) -> list[History]:
    """The simulation's ledgers alone: fills and refusals are the order service's to list."""
    made = []
    for plan in PLANS:
        entries = [
            EntryLine(e.sequence, e.kind.value, e.account.value, e.asset, e.amount, e.time, e.tape_sequence)
            for e in ran.result.entries[plan.portfolio_id]
        ]
        made.append(History(plan.label, entries=entries))
    return made


async def eventually(condition: Callable[[], bool]) -> None:
    """Waits for a condition."""
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 any condition, not only events
            await asyncio.sleep(0.005)
