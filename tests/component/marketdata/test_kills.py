"""The coordinator dies at any moment, and what happens in a replay stays the same (rules 2, 33, 34)."""

import asyncio
import random
import shutil
import signal
from pathlib import Path
from typing import Any

import grpc
import pytest
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2, market_data_service_pb2

from services.chassis.errors import ApiError
from tests.component.marketdata.support import (
    Client,
    Inner,
    Service,
    StrategyPeer,
    client_of,
    copied,
    inner_of,
    running,
)

CUT = {"symbols": ["AAPL"], "start_time": {"seconds": 1356998400}}
STOPS = (11, 12, 40, 77)
FAILPOINTS = ("marketdata.after_reached", "marketdata.after_fold", "marketdata.before_store", "marketdata.after_store")


@pytest.fixture
def directory(template: Path, tmp_path: Path) -> Path:
    return copied(template, tmp_path / "data")


async def history(client: Client, service: Service | None = None) -> list[tuple[int, str]]:
    """Runs a replay to its end and tells at which positions which strategies decided; positions never run back."""
    made = await client.create(**CUT)
    watch = service.supervise() if service is not None else None
    try:
        async with inner_of(client, stops=STOPS) as inner:
            strategies = [StrategyPeer(client, made.environment_id, *names) for names in (("a", "b"), ("c",))]
            for strategy in strategies:
                strategy.up()
                await _until(lambda strategy=strategy: strategy.heard("welcome"))  # type: ignore[misc]
            await client.move("Start", made.environment_id)
            await client.until_state(made.environment_id, "COMPLETED", seconds=60)
            _consistent(inner, strategies)
            for strategy in strategies:
                await strategy.down()
            # Those who come back one by one are asked one by one.
            return sorted({(at, name) for each in strategies for _, at, names in each.decided for name in names})
    finally:
        if watch is not None:
            watch.cancel()


def _consistent(inner: Inner, strategies: list[StrategyPeer]) -> None:
    """Every repeat of a cycle says what was said first."""
    folds = {(each.cycle, each.tape_sequence, each.order_head) for each in inner.portfolio.heard("fold")}
    folds |= {(each.cycle, each.tape_sequence, each.order_head) for each in inner.risk.heard("fold")}
    cycles = [cycle for cycle, _, _ in folds]
    assert len(cycles) == len(set(cycles))
    ordered = sorted(folds)
    assert [at for _, at, _ in ordered] == sorted(at for _, at, _ in folds)
    for strategy in strategies:
        assert {(cycle, at) for cycle, at, _ in strategy.decided} <= {(cycle, at) for cycle, at, _ in folds}


@pytest.mark.parametrize("nth", [2, 25])
@pytest.mark.parametrize("point", FAILPOINTS)
async def test_rule_34_a_kill_in_any_step_changes_nothing(directory: Path, point: str, nth: int) -> None:
    with running(directory, TICKMESH_FAILPOINTS=f"{point}=kill-once:{nth}") as service:
        async with client_of(service) as client:
            killed = await history(client, service)
            assert (directory / "failpoints" / point).exists()
            assert killed == await history(client)


async def test_rule_34_kills_at_random_moments_change_nothing(directory: Path) -> None:
    chance = random.Random(34)
    with running(directory) as service:
        async with client_of(service) as client:
            undisturbed = await history(client)
            reaper = asyncio.create_task(_reap(service, chance))
            assert await history(client, service) == undisturbed
            reaper.cancel()


async def _reap(service: Service, chance: random.Random) -> None:
    for _ in range(6):
        await asyncio.sleep(chance.uniform(0.8, 1.5))
        if service.process is not None and service.process.poll() is None:
            service.process.send_signal(signal.SIGKILL)


async def test_rule_2_what_was_answered_is_there_after_a_kill(directory: Path) -> None:
    with running(directory) as service:
        async with client_of(service) as client:
            made = await client.create(**CUT, request_id="6b9f3b5e-0c3f-4d0a-9a55-0d7a9f0a7f11", display_name="kept")
            async with inner_of(client):
                await client.move("Start", made.environment_id)
                await client.until_state(made.environment_id, "COMPLETED")
                other = await client.create(**CUT)
                paused = await client.move("Pause", other.environment_id)
            ended = await client.get(made.environment_id)
            service.stop(signal.SIGKILL)
            service.start()
            assert await client.get(made.environment_id) == ended
            assert await client.get(other.environment_id) == paused
            again = await client.create(**CUT, request_id="6b9f3b5e-0c3f-4d0a-9a55-0d7a9f0a7f11", display_name="kept")
            assert again == ended


async def test_a_lost_tape_is_cut_again_from_its_data_set(directory: Path) -> None:
    with running(directory) as service:
        async with client_of(service) as client:
            made = await client.create(**CUT)
            service.stop()
            for path in (directory / "tapes").iterdir():
                path.write_bytes(b"torn")
            service.start()
            assert (await client.get(made.environment_id)).tape_digest == made.tape_digest
            assert "cutting a tape again" in service.log
            async with inner_of(client):
                await client.move("Start", made.environment_id)
                await client.until_state(made.environment_id, "COMPLETED")


def _data_set(folder: Path) -> Path:
    folder.mkdir(parents=True)
    instrument = '{"symbol": "ABC", "calendar": "24/7", "price_increment": 0.01}'
    (folder / "data_set.json").write_text(f'{{"instruments": [{instrument}]}}')
    (folder / "trades.csv").write_text("symbol,time,price,size\nABC,2013-01-02T15:00:00Z,1,1\n")
    return folder


async def test_a_tape_that_is_lost_for_good_blocks_its_own_replay_alone(directory: Path) -> None:
    source = _data_set(directory / "data-sets" / "mine")
    with running(directory) as service:
        async with client_of(service) as client:
            other = await client.create(**CUT)
            lost = await client.create(data_set_id="mine")
            service.stop()
            shutil.move(source, directory / "kept")
            for path in (directory / "tapes").iterdir():
                path.unlink()
            service.start()
            found = await client.until_state(lost.environment_id, "BLOCKED")
            assert list(found.blocked_on) == ["marketdata"]
            assert "a replay is blocked" in service.log
            bars = market_data_service_pb2.ListBarsRequest(
                environment_id=lost.environment_id, symbol="ABC", interval="1d"
            )
            for call in (
                client.environments.StartReplay(_named("Start", lost), timeout=5),
                client.environments.StopReplay(_named("Stop", lost), timeout=5),
                client.prices.ListBars(bars, timeout=5),
            ):
                with pytest.raises(ApiError) as refused:
                    await call
                assert refused.value.code is grpc.StatusCode.UNAVAILABLE
                assert (refused.value.reason, refused.value.metadata) == (
                    "ENVIRONMENT_BLOCKED",
                    {"blocked_on": "marketdata"},
                )
            async with inner_of(client) as inner:
                await client.move("Start", other.environment_id)
                await client.until_state(other.environment_id, "COMPLETED")
                told = {each.environment.environment_id for each in inner.venue.heard("announced")}
                assert told == {other.environment_id}
            service.stop()
            shutil.move(directory / "kept", source)
            service.start()
            await client.until_state(lost.environment_id, "CREATED")
            async with inner_of(client):
                await client.move("Start", lost.environment_id)
                await client.until_state(lost.environment_id, "COMPLETED")


def _named(verb: str, environment: environment_pb2.Environment) -> Any:
    return getattr(environment_service_pb2, f"{verb}ReplayRequest")(environment_id=environment.environment_id)


async def test_a_drained_service_says_so_on_every_stream(directory: Path) -> None:
    # Streams that are not told would be waited for this long, which `stop` does not: it gives up after 20 s. What ends
    # takes 0.2 s, but 3 s on a machine with four times the work that it can do.
    with running(directory, TICKMESH_DRAIN_SECONDS="60") as service:
        async with client_of(service) as client:
            await client.create(**CUT)
            async with inner_of(client) as inner:
                await _until(lambda: inner.venue.heard("idle"))
                assert await asyncio.to_thread(service.stop) == 0


async def _until(holds: object, seconds: float = 20) -> None:
    async with asyncio.timeout(seconds):
        while not holds():  # type: ignore[operator] # noqa: ASYNC110 it is another process
            await asyncio.sleep(0.005)
