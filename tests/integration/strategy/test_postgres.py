"""The strategy service on a real PostgreSQL: the same decisions, signals and recovery as on SQLite."""

from pathlib import Path

import pytest
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2

from tests.component.strategy.mesh import Toy, peers, plans, settings_for, strategy_service
from tests.component.strategy.runs import (
    INSTRUMENTS,
    backtest,
    completed,
    create,
    deploy,
    deploy_both,
    reached,
    same,
    signals_of,
    tape_of,
)

pytestmark = pytest.mark.timeout(180)


async def test_decisions_signals_and_recovery(tmp_path: Path, url: str) -> None:
    users = tmp_path / "mine.py"
    users.write_text(
        "from services.domain.strategy import Strategy\n"
        "class Broken(Strategy):\n"
        "    kind = 'broken'\n"
        "    def on_bar(self, context, bar):\n"
        "        raise RuntimeError('\\u00e0 bout')\n"
    )
    tape = tape_of(6, 80)
    expected = backtest(tape)
    toy = Toy(tape, INSTRUMENTS, plans(2))
    async with peers(toy) as address:
        settings = settings_for(address, tmp_path, strategy_database_url=url, strategy_path=str(users))
        async with strategy_service(settings) as stub:
            await deploy_both(stub)
            await create(stub, "s3", "broken")
            await deploy(stub, "s3", "p1", "d3")
            await toy.run(120)
            assert (await reached(stub, "d3", strategy_pb2.DEPLOYMENT_STATE_FAILED)).error == "RuntimeError: à bout"
        for through in (200, None):
            async with strategy_service(settings) as stub:
                before = await stub.ListStrategies(strategy_service_pb2.ListStrategiesRequest())
                assert [each.strategy_id for each in before.strategies] == ["s1", "s2", "s3"]
                await toy.run(through)
        async with strategy_service(settings) as stub:
            await completed(stub, "d2")
            await same(toy, expected, stub)
            signals = await signals_of(stub)
            streamed: list[strategy_pb2.Signal] = []
            async for message in stub.StreamSignals(strategy_service_pb2.StreamSignalsRequest(after_sequence=0)):
                streamed += message.signals.signals
                if len(streamed) >= len(signals):
                    break
            assert streamed == signals
            of_b = await stub.ListSignals(strategy_service_pb2.ListSignalsRequest(deployment_id="d1", symbol="B"))
            assert of_b.signals == [each for each in signals if (each.deployment_id, each.symbol) == ("d1", "B")]
