"""A strategy whose code does not return holds up its own replay, until it is stopped, and nobody else."""

import asyncio
from collections.abc import Callable
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2

from services.chassis.calls.channel import connect
from services.chassis.errors import ApiError
from tests.component.strategy.mesh import Supervised, Toy, peers, plans
from tests.component.strategy.runs import INSTRUMENTS, backtest, create, deploy, deploy_both, same, tape_of

HANGS = """
import time
from dataclasses import dataclass
from services.domain.strategy import Strategy, parameter

class Hangs(Strategy):
    "Does not return from its third bar, or from where it is made."
    kind = "hangs"

    @dataclass(frozen=True)
    class Parameters:
        how: str = parameter("loop", "How it passes the time.")

    def __init__(self, parameters, symbols):
        super().__init__(parameters, symbols)
        self.seen = 0
        if parameters.how == "at once":
            self.hang()

    def on_bar(self, context, bar):
        self.seen += 1
        if self.seen == 3:
            self.hang()

    def hang(self):
        if self.parameters.how == "sleep":
            time.sleep(600)
        while True:
            try:
                sum(range(1000))
            except BaseException:
                if self.parameters.how != "stubborn":
                    raise
"""


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 any condition, not only events
            await asyncio.sleep(0.01)


async def healthy(port: int) -> bool:
    """Whether the service says that it serves."""
    async with connect(f"127.0.0.1:{port}") as channel:
        answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(), timeout=20)
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)


def written(directory: Path) -> dict[str, str]:
    """The settings by which the service finds the strategy."""
    (directory / "mine").mkdir()
    (directory / "mine" / "hangs.py").write_text(HANGS)
    return {"TICKMESH_STRATEGY_PATH": str(directory / "mine")}


@pytest.mark.parametrize("how", ["loop", "sleep", "stubborn"])
async def test_a_strategy_that_does_not_return_can_be_stopped_and_the_others_go_on(
    tmp_path: Path, port: int, how: str
) -> None:
    tape = tape_of(2)
    expected = backtest(tape)
    toy = Toy(tape, INSTRUMENTS, plans(2))
    async with (
        peers(toy) as address,
        Supervised(address, tmp_path, port, written(tmp_path)) as service,
    ):
        await deploy_both(service.stub)
        await create(service.stub, "s3", "hangs", how=how)
        await deploy(service.stub, "s3", "p1", "d3")
        running = asyncio.create_task(toy.run())
        # Those before it are answered for, so that the coordinator knows whom it waits for.
        await until(lambda: toy.cycle > 3 and [toy.seats[f"d{n}"].done for n in (1, 2)] == [toy.cycle, toy.cycle])
        assert toy.seats["d3"].done == toy.cycle - 1
        assert await healthy(port)
        found = await service.stub.GetDeployment(strategy_service_pb2.GetDeploymentRequest(deployment_id="d3"))
        assert found.state == strategy_pb2.DEPLOYMENT_STATE_RUNNING
        async with asyncio.timeout(20):
            stop = strategy_service_pb2.StopStrategyRequest(strategy_id="s3", deployment_id="d3")
            (stopped,) = (await service.stub.StopStrategy(stop)).deployments
        assert stopped.state == strategy_pb2.DEPLOYMENT_STATE_STOPPED
        async with asyncio.timeout(30):
            await running
        await same(toy, expected, service.stub)
        async with asyncio.timeout(30):
            assert await service.terminate() == 0


async def test_a_strategy_that_cannot_be_made_leaves_only_its_caller_waiting(tmp_path: Path, port: int) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    async with (
        peers(toy) as address,
        Supervised(address, tmp_path, port, written(tmp_path)) as service,
    ):
        await create(service.stub, "s1", "sma_cross")
        request = strategy_service_pb2.CreateStrategyRequest(
            strategy_id="s2", kind="hangs", symbols=["A"], parameters={"how": "at once"}
        )
        with pytest.raises(ApiError) as refused:
            await service.stub.CreateStrategy(request, timeout=1)
        assert refused.value.code is grpc.StatusCode.DEADLINE_EXCEEDED
        assert await healthy(port)
        listed = await service.stub.ListStrategies(strategy_service_pb2.ListStrategiesRequest())
        assert [each.strategy_id for each in listed.strategies] == ["s1"]
