"""A replay that must come to what a backtest of its tape comes to, left alone or under blows."""

from __future__ import annotations

import asyncio
import random

from tests.e2e.mesh import NAMES, Clients, Mesh
from tests.e2e.trading import Replayed, Trial


async def replayed(mesh: Mesh, clients: Clients, wanted: Trial, suffix: str, meanwhile: object = None) -> None:
    """One replay of the scenario, which must come to the same."""
    replay = Replayed(clients, wanted.scenario, suffix, wanted.strategy_path)
    await replay.make()
    await replay.start()
    disturbing = asyncio.create_task(meanwhile(replay)) if callable(meanwhile) else None
    await replay.ended()
    if disturbing is not None:
        await disturbing
    await mesh.serving()
    assert await replay.digest(mesh) == wanted.digest
    assert await replay.repeats(mesh)


async def replay_under_blows(mesh: Mesh, clients: Clients, wanted: Trial, seed: int) -> None:
    """A replay in which everybody is killed, one after the other and then all at once, and halted in between."""
    chance = random.Random(seed)

    async def disturb(_: Replayed) -> None:
        for names in [*chance.sample([(name,) for name in NAMES], k=len(NAMES)), NAMES]:
            await asyncio.sleep(chance.uniform(0.05, 0.25))
            # Now and then for longer than anybody waits for risk.
            halt = chance.choices(((0.0, 0.02), (0.05, 0.25), (2.2, 2.8)), weights=(5, 4, 1))[0]
            with mesh.stopped(chance.choice(NAMES)):
                await asyncio.sleep(chance.uniform(*halt))
            await asyncio.sleep(chance.uniform(0.0, 0.1))
            await asyncio.to_thread(mesh.kill, *names)

    try:
        await replayed(mesh, clients, wanted, f"seed-{seed}", disturb)
    except BaseException:
        print(f"seed {seed}, {wanted.scenario.data_set_id}")
        raise
