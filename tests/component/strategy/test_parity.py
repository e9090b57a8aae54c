"""Through the service a strategy does what it does in a backtest: the same commands, signals, fills and ledgers."""

from pathlib import Path

import pytest
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2

from services.domain.parameters import parameters_from
from services.domain.simulation import DeploymentPlan, Result, Simulation
from services.domain.strategies import MeanReversion, SmaCross
from services.domain.strategy import Strategy
from services.domain.tape import Tape, merge
from tests.component.strategy.mesh import ENVIRONMENT, Toy, peers, plans, settings_for, strategy_service
from tests.unit.domain.markets import clock, daily, instrument, splits, walk

INSTRUMENTS = {symbol: instrument(symbol) for symbol in ("A", "B")}
CROSS = {"fast": "2", "slow": "5", "cash_quantity": "30000"}
REVERSION = {"window": "5", "entry": "1", "capital": "4000"}


def tape_of(seed: int, length: int = 120) -> Tape:
    return merge(
        [
            clock(length),
            daily("A", walk(seed, length)),
            daily("B", walk(seed + 1, length, 40)),
            splits("A", {50: (3.0, 2.0)}),
        ]
    )


def backtest(tape: Tape, start: int = 0) -> Result:
    made: list[Strategy] = [
        SmaCross(parameters_from(SmaCross.Parameters, CROSS), ("A", "B")),
        MeanReversion(parameters_from(MeanReversion.Parameters, REVERSION), ("A", "B")),
    ]
    deployed = [DeploymentPlan(n, f"d{n}", f"s{n}", each, f"p{n}") for n, each in enumerate(made, 1)]
    return Simulation(tape, INSTRUMENTS, plans(2), deployed, start_sequence=start, environment_id=ENVIRONMENT).run()


@pytest.mark.parametrize("scanning", [True, False])
@pytest.mark.parametrize(("seed", "start", "longest"), [(1, 0, 10**6), (2, 40, 3), (3, 25, 1)])
async def test_rule_34_a_replay_decides_what_the_backtest_does(
    tmp_path: Path, seed: int, start: int, longest: int, scanning: bool
) -> None:
    tape = tape_of(seed)
    expected = backtest(tape, start)
    assert len(expected.fills) > 5
    assert len(expected.refusals) > 0
    toy = Toy(tape, INSTRUMENTS, plans(2), start_sequence=start, longest=longest)
    async with (
        peers(toy) as address,
        strategy_service(settings_for(address, tmp_path, strategy_scanning=scanning)) as stub,
    ):
        for n, (kind, parameters) in enumerate([("sma_cross", CROSS), ("mean_reversion", REVERSION)], 1):
            await stub.CreateStrategy(
                strategy_service_pb2.CreateStrategyRequest(
                    strategy_id=f"s{n}", kind=kind, symbols=["A", "B"], parameters=parameters
                )
            )
            deployed = await stub.DeployStrategy(
                strategy_service_pb2.DeployStrategyRequest(
                    strategy_id=f"s{n}", portfolio_id=f"p{n}", deployment_id=f"d{n}"
                )
            )
            assert deployed.state == strategy_pb2.DEPLOYMENT_STATE_RUNNING
            assert (deployed.deployment_number, deployed.start_sequence) == (n, start)
        await toy.run()
        signals = (await stub.ListSignals(strategy_service_pb2.ListSignalsRequest(page_size=1000))).signals
    assert toy.simulation.result.digest() == expected.digest()
    assert toy.simulation.result.events == expected.events
    told = [
        (int(each.deployment_id[1:]), each.signal_id, each.symbol, each.side, dict(each.values), each.tape_sequence)
        for each in signals
    ]
    assert told == [
        (n, each.signal_id, each.symbol, each.side.value, dict(each.values), each.tape_sequence)
        for n, each in expected.signals
    ]
    assert [each.sequence for each in signals] == list(range(1, len(signals) + 1))
