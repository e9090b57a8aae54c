"""Both built-in strategies on one tape: in a backtest, and through the service."""

import asyncio
from typing import Any

from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2

from services.domain.backtest.simulation import DeploymentPlan, Result, Simulation
from services.domain.deployment.parameters import parameters_from
from services.domain.strategies import MeanReversion, SmaCross
from services.domain.strategy import Strategy
from services.domain.tape import Tape, merge
from tests.component.strategy.mesh import ENVIRONMENT, Toy, plans
from tests.unit.domain.markets import clock, daily, instrument, splits, walk

INSTRUMENTS = {symbol: instrument(symbol) for symbol in ("A", "B")}
CROSS = {"fast": "2", "slow": "5", "cash_quantity": "30000"}
REVERSION = {"window": "5", "entry": "1", "capital": "4000"}


def tape_of(seed: int, length: int = 120) -> Tape:
    """Two symbols, with sessions and a split."""
    bars = [daily("A", walk(seed, length)), daily("B", walk(seed + 1, length, 40))]
    return merge([clock(length), *bars, splits("A", {50: (3.0, 2.0)})])


def backtest(tape: Tape, start: int = 0) -> Result:
    """What must come out. The crossover's orders are too large for its cash now and then."""
    made: list[Strategy] = [
        SmaCross(parameters_from(SmaCross.Parameters, CROSS), ("A", "B")),
        MeanReversion(parameters_from(MeanReversion.Parameters, REVERSION), ("A", "B")),
    ]
    deployed = [DeploymentPlan(n, f"d{n}", f"s{n}", each, f"p{n}") for n, each in enumerate(made, 1)]
    return Simulation(tape, INSTRUMENTS, plans(2), deployed, start_sequence=start, environment_id=ENVIRONMENT).run()


async def create(stub: Any, strategy_id: str, kind: str, symbols: tuple[str, ...] = ("A",), **parameters: str) -> Any:
    """A strategy."""
    request = strategy_service_pb2.CreateStrategyRequest(
        strategy_id=strategy_id, kind=kind, symbols=symbols, parameters=parameters
    )
    return await stub.CreateStrategy(request, wait_for_ready=True)


async def deploy(stub: Any, strategy_id: str, portfolio_id: str = "p1", deployment_id: str = "") -> Any:
    """A deployment."""
    request = strategy_service_pb2.DeployStrategyRequest(
        strategy_id=strategy_id, portfolio_id=portfolio_id, deployment_id=deployment_id
    )
    return await stub.DeployStrategy(request)


async def deploy_both(stub: Any) -> list[Any]:
    """The backtest's deployments."""
    deployed = []
    for n, (kind, parameters) in enumerate([("sma_cross", CROSS), ("mean_reversion", REVERSION)], 1):
        await create(stub, f"s{n}", kind, ("A", "B"), **parameters)
        deployed.append(await deploy(stub, f"s{n}", f"p{n}", f"d{n}"))
    return deployed


async def signals_of(stub: Any) -> list[Any]:
    """All signals of the environment, page by page."""
    found: list[Any] = []
    request = strategy_service_pb2.ListSignalsRequest(environment_id=ENVIRONMENT, page_size=10)
    while True:
        page = await stub.ListSignals(request, wait_for_ready=True)
        found += page.signals
        if not page.next_page_token:
            return found
        request.page_token = page.next_page_token


async def same(toy: Toy, expected: Result, stub: Any) -> None:
    """Commands, fills, refusals, ledgers and signals are the backtest's."""
    assert toy.simulation.result.events == expected.events
    assert toy.simulation.result.digest() == expected.digest()
    signals = await signals_of(stub)
    assert [each.sequence for each in signals] == list(range(1, len(signals) + 1))
    told = [
        (int(each.deployment_id[1:]), each.signal_id, each.symbol, each.side, dict(each.values)) for each in signals
    ]
    assert told == [
        (n, each.signal_id, each.symbol, each.side.value, dict(each.values)) for n, each in expected.signals
    ]
    named = [client_order_id for each in signals for client_order_id in each.client_order_ids]
    assert named == list(dict.fromkeys(event.order.client_order_id for event in expected.events))


async def reached(stub: Any, deployment_id: str, state: int) -> Any:
    """The deployment, once it is in this state."""
    async with asyncio.timeout(30):
        while True:
            found = await stub.GetDeployment(strategy_service_pb2.GetDeploymentRequest(deployment_id=deployment_id))
            if found.state == state:
                return found
            await asyncio.sleep(0.01)


async def completed(stub: Any, deployment_id: str) -> Any:
    """The deployment, once its environment has ended for it."""
    return await reached(stub, deployment_id, strategy_pb2.DEPLOYMENT_STATE_COMPLETED)
