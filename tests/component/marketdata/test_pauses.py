"""PAUSED is a long Idle (rule 33): it shows once the cycle under way is finished and stored, and nothing moves then."""

import asyncio
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
from tickmesh.marketdata.v1 import environment_pb2

from tests.component.marketdata.support import (
    Client,
    Inner,
    Peer,
    StrategyPeer,
    Wire,
    client_of,
    copied,
    inner_of,
    running,
)

SHORT = {"symbols": ["AAPL"], "start_time": {"seconds": 1356998400}}  # 2013: 40 sessions, 120 records
PAUSED = environment_pb2.ENVIRONMENT_STATE_PAUSED
BLOCKED = environment_pb2.ENVIRONMENT_STATE_BLOCKED


async def in_mid_cycle(client: Client, environment_id: str) -> StrategyPeer:
    """Runs the replay into cycle 4, whose answer its strategy keeps."""
    strategy = StrategyPeer(client, environment_id, "d")
    strategy.up()
    await until(lambda: strategy.heard("welcome"))
    strategy.holds.add(("decide", 4))
    await client.move("Start", environment_id)
    await until(lambda: any(each.cycle == 4 for each in strategy.heard("decide")))
    return strategy


async def until(holds: Callable[[], object]) -> None:
    async with asyncio.timeout(20):
        while not holds():  # noqa: ASYNC110 it is another process
            await asyncio.sleep(0.005)


def paused_idles(peer: Peer) -> list[Wire.Idle]:
    return [each for each in peer.heard("idle") if each.state == PAUSED]


async def paused_after_cycle_4(client: Client, inner: Inner, strategy: StrategyPeer, environment_id: str) -> None:
    """Everybody is back: lets the strategy answer; from the first look at PAUSED on nothing moves."""
    await client.until_state(environment_id, "RUNNING")
    await asyncio.sleep(0.05)
    found = await client.get(environment_id)
    assert (found.state, found.cycle) == (environment_pb2.ENVIRONMENT_STATE_RUNNING, 3)
    # Whoever asks only now waits for it.
    asking = asyncio.create_task(client.move("Pause", environment_id))
    await asyncio.sleep(0.05)
    assert not asking.done()
    strategy.released.set()
    paused = await client.until_state(environment_id, "PAUSED")
    assert (paused.cycle, list(paused.blocked_on)) == (4, [])
    assert await asking == paused
    await asyncio.sleep(0.1)
    assert await client.get(environment_id) == paused
    # Nor was anybody told of it earlier.
    for peer in inner.all:
        await until(lambda peer=peer: paused_idles(peer))  # type: ignore[misc]
        told = [each.environment for each in peer.heard("announced") if each.environment.state == PAUSED]
        assert {each.cycle for each in (*told, *paused_idles(peer))} == {4}
        assert {each.tape_sequence for each in paused_idles(peer)} == {paused.tape_sequence}
    await client.move("Resume", environment_id)
    await client.until_state(environment_id, "COMPLETED")
    await strategy.down()


@pytest.mark.parametrize("name", ["venue", "portfolio", "risk", "strategy"])
async def test_rule_33_paused_waits_for_the_cycle_that_somebody_left(client: Client, name: str) -> None:
    environment_id = (await client.create(**SHORT)).environment_id
    async with inner_of(client, environment_id) as inner:
        strategy = await in_mid_cycle(client, environment_id)
        peer = strategy if name == "strategy" else getattr(inner, name)
        await peer.down()
        await client.until_state(environment_id, "BLOCKED")
        answer = await client.move("Pause", environment_id)
        missing = {"venue": "order", "strategy": "d"}.get(name, name)
        assert (answer.state, list(answer.blocked_on), answer.cycle) == (BLOCKED, [missing], 3)
        peer.up()
        await paused_after_cycle_4(client, inner, strategy, environment_id)


async def test_rule_33_paused_waits_for_the_cycle_through_our_own_death(template: Path, tmp_path: Path) -> None:
    with running(copied(template, tmp_path / "data")) as service:
        async with client_of(service) as client:
            environment_id = (await client.create(**SHORT)).environment_id
            async with inner_of(client, environment_id) as inner:
                strategy = await in_mid_cycle(client, environment_id)
                await inner.risk.down()
                await client.until_state(environment_id, "BLOCKED")
                assert (await client.move("Pause", environment_id)).state == BLOCKED
                service.stop(signal.SIGKILL)
                service.start()
                found = await client.get(environment_id)
                assert (found.state, found.cycle) == (BLOCKED, 3)
                inner.risk.up()
                await paused_after_cycle_4(client, inner, strategy, environment_id)


@pytest.mark.parametrize("ahead", [0, 1])
async def test_rule_33_paused_waits_for_the_venue_to_say_how_far_it_got(
    template: Path, tmp_path: Path, ahead: int
) -> None:
    with running(copied(template, tmp_path / "data")) as service:
        async with client_of(service) as client:
            environment_id = (await client.create(**SHORT, pace={"sessions_per_second": 0.001})).environment_id
            async with inner_of(client, environment_id) as inner:
                await client.move("Start", environment_id)
                stands = await client.until(environment_id, lambda each: each.cycle == 1)
                service.stop(signal.SIGKILL)
                for peer in inner.all:
                    await peer.down()
                # As if the next cycle had been granted, and its grant not stored.
                cycle, sequence, head = inner.venue.at[environment_id]
                inner.venue.at[environment_id] = (cycle + ahead, sequence + ahead, head)
                service.start()
                answer = await client.move("Pause", environment_id)
                assert (answer.state, list(answer.blocked_on)) == (BLOCKED, ["order", "portfolio", "risk"])
                inner.venue.up()
                # It is the one that knows; a cycle of which it knows needs everybody.
                found = await client.until(environment_id, lambda each: "order" not in each.blocked_on)
                assert found.state == (BLOCKED if ahead else PAUSED)
                inner.portfolio.up()
                inner.risk.up()
                paused = await client.until_state(environment_id, "PAUSED")
                assert paused.cycle == stands.cycle + ahead


async def test_rule_33_between_cycles_paused_needs_nobody(client: Client) -> None:
    environment_id = (await client.create(**SHORT)).environment_id
    async with inner_of(client, environment_id) as inner:
        paused = await client.move("Pause", environment_id)
        assert paused.state == PAUSED
        await inner.portfolio.down()
        assert await client.get(environment_id) == paused
        assert await client.move("Pause", environment_id) == paused
        inner.portfolio.up()
        await client.move("Start", environment_id)
        await client.until_state(environment_id, "COMPLETED")
