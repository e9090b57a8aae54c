"""Through the service a strategy does what it does in a backtest: the same commands, signals, fills and ledgers."""

import asyncio
from pathlib import Path

import pytest
from tickmesh.strategy.v1 import strategy_pb2

from services.chassis.errors import ApiError
from services.domain.backtest.simulation import DeploymentPlan, Simulation
from services.domain.strategy import Strategy
from services.strategy.workshop.kinds import discover
from tests.component.strategy.mesh import ENVIRONMENT, Supervised, Toy, peers, plans, settings_for, strategy_service
from tests.component.strategy.runs import (
    INSTRUMENTS,
    backtest,
    completed,
    create,
    deploy,
    deploy_both,
    same,
    tape_of,
)
from tests.unit.domain.markets import DAY, HOUR


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
        for n, deployed in enumerate(await deploy_both(stub), 1):
            assert deployed.state == strategy_pb2.DEPLOYMENT_STATE_RUNNING
            assert (deployed.deployment_number, deployed.start_sequence) == (n, start)
        await toy.run()
        await same(toy, expected, stub)
        for n in (1, 2):
            ended = await completed(stub, f"d{n}")
            assert ended.signal_count == sum(number == n for number, _ in expected.signals)
            assert 0 < ended.tape_sequence <= len(tape)


@pytest.mark.parametrize(("scanning", "hits"), [(True, (1, 5, 4)), (False, (3, 2, 1))])
async def test_rule_33_a_kill_anywhere_changes_nothing(
    tmp_path: Path, port: int, scanning: bool, hits: tuple[int, int, int]
) -> None:
    tape = tape_of(5, 80)
    expected = backtest(tape)
    assert len(expected.fills) > 5
    toy = Toy(tape, INSTRUMENTS, plans(2), longest=7)
    points = zip(("before_command", "after_command", "before_done"), hits, strict=True)
    environment = {
        "TICKMESH_FAILPOINTS": ",".join(f"strategy.{point}=kill-once:{hit}" for point, hit in points),
        "TICKMESH_STRATEGY_SCANNING": str(scanning),
    }
    async with (
        peers(toy) as address,
        Supervised(address, tmp_path, port, environment) as supervised,
    ):
        await deploy_both(supervised.stub)
        async with asyncio.timeout(60):
            await toy.run()
        await same(toy, expected, supervised.stub)
    assert supervised.deaths == 3


@pytest.mark.parametrize("scanning", [True, False])
async def test_rule_33_a_restart_at_any_cycle_changes_nothing(tmp_path: Path, scanning: bool) -> None:
    tape = tape_of(6, 80)
    expected = backtest(tape)
    toy = Toy(tape, INSTRUMENTS, plans(2))
    positions: list[int | None] = [*range(40, len(tape), 29), None]
    async with peers(toy) as address:
        settings = settings_for(address, tmp_path, strategy_scanning=scanning)
        async with strategy_service(settings) as stub:
            await deploy_both(stub)
        for through in positions:
            async with strategy_service(settings) as stub, asyncio.timeout(20):
                await toy.run(through)
                if through is None:
                    await same(toy, expected, stub)


async def test_a_command_is_repeated_until_it_is_answered(tmp_path: Path) -> None:
    tape = tape_of(6, 80)
    expected = backtest(tape)
    toy = Toy(tape, INSTRUMENTS, plans(2))
    placed = list(dict.fromkeys(event.order.client_order_id for event in expected.events))
    toy.lose = placed[3:6][::-1]
    toy.refuse_with = [ApiError.unavailable("RISK_UNAVAILABLE", "risk is away")] * 3
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path)) as stub:
        await deploy_both(stub)
        await toy.run()
        await same(toy, expected, stub)
    assert not toy.lose
    assert toy.calls.count(placed[0]) == 4


async def test_a_decision_that_has_become_stale_is_void_and_taken_again(tmp_path: Path) -> None:
    tape = tape_of(6, 80)
    expected = backtest(tape)
    toy = Toy(tape, INSTRUMENTS, plans(2))
    toy.refuse_with = [ApiError.aborted("BASIS_STALE", "elsewhere")] * 2
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path)) as stub:
        await deploy_both(stub)
        await toy.run()
        await same(toy, expected, stub)


@pytest.mark.parametrize("start", [0, 25])
async def test_rule_31_a_timer_decides_at_its_own_time_and_a_bar_that_began_before_does_not_fill_it(
    tmp_path: Path, start: int
) -> None:
    """The first noon that it asks for is of 1970: from a later start on, it has passed, and is now."""
    file = tmp_path / "timers.py"
    file.write_text(TIMER)
    tape = tape_of(7, 30)

    def made() -> Strategy:
        return discover(str(file)).create("noon", {}, ("A",))

    deployed = [DeploymentPlan(1, "d1", "s1", made(), "p1")]
    simulation = Simulation(tape, INSTRUMENTS, plans(1), deployed, environment_id=ENVIRONMENT, start_sequence=start)
    expected, late = simulation.run(), [simulation.timeline.time(start)] if start else []
    assert len(expected.fills) > 5
    decided = list(dict.fromkeys(event.order.basis_time for event in expected.events))
    assert decided[: len(late)] == late
    assert {time % DAY for time in decided[len(late) :]} == {12 * HOUR}
    toy = Toy(tape, INSTRUMENTS, plans(1), start_sequence=start)
    async with (
        peers(toy) as address,
        strategy_service(settings_for(address, tmp_path, strategy_path=str(file))) as stub,
    ):
        await create(stub, "s1", "noon")
        await deploy(stub, "s1", "p1", "d1")
        await toy.run()
    assert toy.simulation.result.events == expected.events


TIMER = """
from dataclasses import dataclass
from decimal import Decimal
from services.domain.strategy import Strategy, Wake

HOUR = 3_600_000_000_000
DAY = 24 * HOUR

class Noon(Strategy):
    "Buys one unit at each noon."
    kind = "noon"

    def __init__(self, parameters, symbols):
        super().__init__(parameters, symbols)
        self.last = 0

    def on_time(self, context):
        self.last = context.now
        context.buy("A", Decimal(1))

    def next_wake(self):
        return Wake(time=(self.last // DAY + 1) * DAY + 12 * HOUR)

    def state(self):
        return {"last": self.last}

    def restore(self, state):
        self.last = state["last"]
"""
