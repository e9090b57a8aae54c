"""Deployments begin, end, fail, and survive restarts; users' own strategies among them."""

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import grpc
import pytest
from tickmesh.marketdata.v1 import environment_pb2
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2

from services.chassis.errors import ApiError
from tests.component.strategy.mesh import Toy, peers, plans, settings_for, strategy_service
from tests.component.strategy.runs import (
    CROSS,
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

PENDING, RUNNING, STOPPED, COMPLETED, FAILED = (
    getattr(strategy_pb2, f"DEPLOYMENT_STATE_{name}")
    for name in ("PENDING", "RUNNING", "STOPPED", "COMPLETED", "FAILED")
)

USERS = """
from dataclasses import dataclass
from decimal import Decimal
from services.domain.orders.order import Side
from services.domain.strategy import Strategy, parameter

class Breakout(Strategy):
    "Buys ten units above a level."
    kind = "breakout"

    @dataclass(frozen=True)
    class Parameters:
        level: float = parameter(100.0, "Price above which to buy.", minimum=0.0)

    def on_bar(self, context, bar):
        if bar.close > self.parameters.level and context.idle(bar.symbol) and not context.position(bar.symbol):
            signal = context.signal(bar.symbol, Side.BUY, strength=0.5)
            context.buy(bar.symbol, Decimal(10), signal=signal)

class Fails(Strategy):
    "Raises at its third bar."
    kind = "fails"

    def __init__(self, parameters, symbols):
        super().__init__(parameters, symbols)
        self.seen = 0

    def on_bar(self, context, bar):
        self.seen += 1
        if self.seen == 3:
            raise RuntimeError("out of ideas")

class Odd(Strategy):
    "Asks for what cannot be."
    kind = "odd"

    @dataclass(frozen=True)
    class Parameters:
        how: str = parameter("fraction", "How odd.")

    def on_bar(self, context, bar):
        signal = context.signal(bar.symbol, Side.BUY)
        match self.parameters.how:
            case "fraction":
                context.buy(bar.symbol, Decimal("0.5"), signal=signal)
            case "type":
                context.buy(bar.symbol, 10, order_type="BEST", signal=signal)
            case "bomb":
                context.buy(bar.symbol, Decimal("1e999999"), signal=signal)
            case "signal":
                context.signal(bar.symbol, "UP")
            case "exit":
                raise SystemExit

    def state(self):
        return {"set": {1}} if self.parameters.how == "state" else {}

    def next_wake(self):
        return None if self.parameters.how == "wake" else super().next_wake()
"""


@pytest.fixture
def users(tmp_path: Path) -> str:
    """A folder of strategies, one file of which is broken."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "users.py").write_text(USERS)
    (folder / "broken.py").write_text("import nothing_of_this_name")
    return str(folder)


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():  # noqa: ASYNC110 any condition, not only events
            await asyncio.sleep(0.005)


def get(deployment_id: str) -> Any:
    return strategy_service_pb2.GetDeploymentRequest(deployment_id=deployment_id)


def stop(strategy_id: str, deployment_id: str = "") -> Any:
    return strategy_service_pb2.StopStrategyRequest(strategy_id=strategy_id, deployment_id=deployment_id)


async def deploy_once_it_answers(stub: Any, strategy_id: str) -> Any:
    """A deployment; a peer that has just come up is unavailable within the channel's back-off, which is 1 s at most."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await deploy(stub, strategy_id)
            except ApiError as error:
                if error.reason != "SERVICE_UNAVAILABLE":
                    raise
                await asyncio.sleep(0.05)


async def test_a_deployment_is_pending_until_its_environment_lets_it_in(tmp_path: Path) -> None:
    toy = Toy(tape_of(1), INSTRUMENTS, plans(2))
    toy.welcoming = False
    async with peers(toy) as address:
        settings = settings_for(address, tmp_path, strategy_welcome_seconds=0.1)
        async with strategy_service(settings) as stub:
            await create(stub, "s1", "sma_cross")
            deployed = await deploy(stub, "s1")
            assert (deployed.deployment_id, deployed.state, deployed.deployment_number) == ("s1-1", PENDING, 0)
        toy.welcoming = True
        async with strategy_service(settings) as stub:
            assert (await reached(stub, "s1-1", RUNNING)).deployment_number == 1
            again = await deploy(stub, "s1")
            assert (again.deployment_id, again.state, again.deployment_number) == ("s1-2", RUNNING, 2)


async def test_without_a_coordinator_a_deployment_waits_for_it(tmp_path: Path, port: int) -> None:
    toy = Toy(tape_of(1), INSTRUMENTS, plans(2))
    async with peers(toy) as address:
        away = f"127.0.0.1:{port}"
        settings = settings_for(address, tmp_path, strategy_welcome_seconds=0.1)
        async with strategy_service(settings.model_copy(update={"marketdata_address": away})) as stub:
            await create(stub, "s1", "sma_cross")
            with pytest.raises(ApiError) as refused:
                await deploy(stub, "s1")
            assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
            # Nor can anybody say which environment is meant where none is named.
            with pytest.raises(ApiError) as refused:
                await stub.ListSignals(strategy_service_pb2.ListSignalsRequest())
            assert (refused.value.code, refused.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
            async with peers(toy, away):
                assert (await deploy_once_it_answers(stub, "s1")).deployment_id == "s1-1"
                await reached(stub, "s1-1", RUNNING)


async def test_rule_33_a_deployment_whose_id_somebody_else_took_fails_alone(tmp_path: Path) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path)) as stub:
        await create(stub, "s1", "sma_cross")
        await deploy(stub, "s1", deployment_id="mine")
        toy.taken = True
        failed = await deploy(stub, "s1", deployment_id="taken")
        assert (failed.state, failed.deployment_number) == (FAILED, 0)
        assert "SEAT_TOKEN_INVALID" in failed.error
        toy.taken = False
        await toy.run()
        assert (await completed(stub, "mine")).state == COMPLETED


async def test_a_stopped_deployment_leaves_and_the_others_go_on(tmp_path: Path) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    async with peers(toy) as address:
        async with strategy_service(settings_for(address, tmp_path)) as stub:
            await deploy_both(stub)
            await toy.run(150)
            (stopped,) = (await stub.StopStrategy(stop("s1"))).deployments
            assert (stopped.deployment_id, stopped.state) == ("d1", STOPPED)
            assert (await stub.StopStrategy(stop("s1", "d1"))).deployments == [stopped]
            assert not (await stub.StopStrategy(stop("s1"))).deployments
            await until(lambda: "d1" not in toy.seats)
            await toy.run(200)
        async with strategy_service(settings_for(address, tmp_path)) as stub:
            await toy.run()
            assert (await completed(stub, "d2")).state == COMPLETED
            assert await stub.GetDeployment(get("d1")) == stopped
            with pytest.raises(ApiError) as refused:
                await stub.StopStrategy(stop("s2", "d2"))
            assert (refused.value.reason, refused.value.metadata["state"]) == ("DEPLOYMENT_ENDED", "COMPLETED")
    numbers = {name.split("-")[0]: int(name.split("-")[1]) for name in toy.calls if not name.startswith("cancel")}
    assert numbers["1"] <= 150 < numbers["2"]


async def test_stopping_does_not_wait_for_a_command_that_is_not_answered(tmp_path: Path) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    toy.hold.clear()
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path)) as stub:
        await deploy_both(stub)
        running = asyncio.create_task(toy.run())
        await until(lambda: bool(toy.calls))
        first = toy.calls[0]
        async with asyncio.timeout(10):
            await stub.StopStrategy(stop("s1" if first.startswith("1-") else "s2"))
        toy.hold.set()
        async with asyncio.timeout(30):
            await running
        assert toy.simulation.result.events


async def test_a_strategy_that_raises_fails_alone(tmp_path: Path, users: str) -> None:
    tape = tape_of(2)
    expected = backtest(tape)
    toy = Toy(tape, INSTRUMENTS, plans(2))
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path, strategy_path=users)) as stub:
        await deploy_both(stub)
        await create(stub, "s3", "fails")
        await deploy(stub, "s3", "p1", "d3")
        await toy.run()
        failed = await reached(stub, "d3", FAILED)
        assert failed.error == "RuntimeError: out of ideas"
        assert 0 < failed.tape_sequence < len(tape)
        await same(toy, expected, stub)


@pytest.mark.parametrize(
    ("how", "error"),
    [
        ("fraction", "1-2-1: OFF_INCREMENT: "),
        ("type", "1-2-1: KeyError"),
        ("bomb", "1-2-1: INVALID_ARGUMENT: quantity: "),
        ("signal", "KeyError"),
        ("exit", "SystemExit"),
        ("state", "TypeError: Object of type set is not JSON"),
        ("wake", "AttributeError"),
    ],
)
async def test_a_strategy_that_asks_for_nonsense_fails(tmp_path: Path, users: str, how: str, error: str) -> None:
    toy = Toy(tape_of(2, 20), INSTRUMENTS, plans(1))
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path, strategy_path=users)) as stub:
        await create(stub, "s1", "odd", how=how)
        await deploy(stub, "s1", "p1", "d1")
        async with asyncio.timeout(30):
            await toy.run()
        failed = await reached(stub, "d1", FAILED)
        assert failed.error.startswith(error)
        # Signals that orders may name are kept.
        assert failed.signal_count == len(await signals_of(stub)) == (how in {"fraction", "type", "bomb", "signal"})
    assert not toy.simulation.result.events


async def test_a_users_strategy_trades_and_one_whose_file_has_gone_fails(tmp_path: Path, users: str) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    async with peers(toy) as address:
        async with strategy_service(settings_for(address, tmp_path, strategy_path=users)) as stub:
            await create(stub, "s1", "breakout", level="50")
            await deploy(stub, "s1", "p1", "d1")
            await toy.run(100)
        assert toy.simulation.result.fills
        async with strategy_service(settings_for(address, tmp_path)) as stub:
            await toy.run()
            failed = await reached(stub, "d1", FAILED)
            assert failed.error == "LookupError: there is no kind breakout any more"
            with pytest.raises(ApiError) as refused:
                await deploy(stub, "s1")
            assert refused.value.reason == "STRATEGY_KIND_NOT_FOUND"


async def test_what_ended_while_the_service_was_away_has_ended(tmp_path: Path) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    async with peers(toy) as address:
        settings = settings_for(address, tmp_path)
        async with strategy_service(settings) as stub:
            await deploy_both(stub)
            await toy.run(100)
            await stub.StopStrategy(stop("s1"))
        toy.state = environment_pb2.ENVIRONMENT_STATE_STOPPED
        async with strategy_service(settings) as stub:
            assert 0 < (await completed(stub, "d2")).tape_sequence <= 100
            ended = await stub.GetDeployment(get("d1"))
            assert (ended.state, ended.tape_sequence) == (STOPPED, 100)
            with pytest.raises(ApiError) as refused:
                await deploy(stub, "s2", "p2")
            assert refused.value.reason == "ENVIRONMENT_COMPLETED"


async def test_deployments_of_an_environment_that_is_gone_fail(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy = Toy(tape_of(2), INSTRUMENTS, plans(2))
    async with peers(toy) as address:
        async with strategy_service(settings_for(address, tmp_path)) as stub:
            await create(stub, "s1", "sma_cross")
            await deploy(stub, "s1", "p1", "d1")
        monkeypatch.setattr("tests.component.strategy.mesh.ENVIRONMENT", "another")
        async with strategy_service(settings_for(address, tmp_path)) as stub:
            assert (await reached(stub, "d1", FAILED)).error == "the environment r1 is gone"


async def test_the_same_deployment_asked_for_by_many_at_once_is_one(tmp_path: Path) -> None:
    toy = Toy(tape_of(1), INSTRUMENTS, plans(2))
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path)) as stub:
        request = strategy_service_pb2.CreateStrategyRequest(
            strategy_id="s1", kind="sma_cross", symbols=["A"], parameters=CROSS
        )
        assert len({str(each) for each in await asyncio.gather(*[stub.CreateStrategy(request)] * 20)}) == 1
        wanted = strategy_service_pb2.DeployStrategyRequest(
            strategy_id="s1", portfolio_id="p1", request_id="00000000-0000-4000-8000-000000000001"
        )
        deployed = await asyncio.gather(*[stub.DeployStrategy(wanted) for _ in range(20)])
        assert {(each.deployment_id, each.state) for each in deployed} == {("s1-1", RUNNING)}
        assert len((await stub.ListDeployments(strategy_service_pb2.ListDeploymentsRequest())).deployments) == 1
