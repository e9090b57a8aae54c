"""`kill -9` at any step: what was told is there, nothing twice, and the books are those of the simulation (rule 2)."""

import asyncio
import random
from collections.abc import Callable

import pytest
from tickmesh.portfolio.v1 import portfolio_service_pb2 as api
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

from services.chassis.calls.channel import connect
from services.domain.backtest.digest import digest
from tests.component.portfolio.peers import Peers, Replay
from tests.component.portfolio.played import (
    INSTRUMENTS,
    START,
    expected,
    histories,
    open_portfolios,
    run,
    simulation,
    tape,
)
from tests.component.portfolio.running import Process

Spawn = Callable[[str], Process]


@pytest.mark.parametrize("failpoint", ["portfolio.mid_fold", "portfolio.after_commit"])
@pytest.mark.parametrize("nth", [1, 4])
async def test_a_kill_in_a_fold_counts_nothing_twice(peers: Peers, spawn: Spawn, failpoint: str, nth: int) -> None:
    """Before the commit the fold is made again; after it the stored answer is given."""
    replay, ran = peers.add(Replay("replay-1", tape(), INSTRUMENTS, START)), simulation(tape())
    process = spawn(f"{failpoint}=kill-once:{nth}")
    async with connect(process.address) as channel:
        stub = PortfolioServiceStub(channel)
        await open_portfolios(stub)
        await run(peers, replay, ran)
        assert digest(await histories(stub)) == digest(expected(ran))
    assert process.deaths == [-9]


async def test_kills_at_any_moment_lose_and_double_nothing(peers: Peers, spawn: Spawn) -> None:
    """And a reader of the stream gets every entry once, whoever dies in between."""
    replay, ran = peers.add(Replay("replay-1", tape(), INSTRUMENTS, START)), simulation(tape())
    process, chance = spawn(""), random.Random(20261121)
    heard: list[int] = []

    async def listen(stub: PortfolioServiceStub) -> None:
        token = ""
        while True:
            try:
                request = api.StreamLedgerEntriesRequest(environment_id="replay-1", resume_token=token)
                if not token:
                    request.after_sequence = 0
                async for message in stub.StreamLedgerEntries(request, wait_for_ready=True):
                    heard.extend(entry.sequence for entry in message.ledger_entries.entries)
                    token = message.resume_token
            except Exception:  # noqa: BLE001 whatever it is, the token goes on
                await asyncio.sleep(0.05)

    async def kill() -> None:
        for _ in range(4):
            await asyncio.sleep(chance.uniform(0.05, 0.4))
            process.kill()
            # It takes about a second to be back; a kill before it serves would be one of Python's, not of ours.
            await asyncio.sleep(1.5)

    async with connect(process.address) as channel:
        stub = PortfolioServiceStub(channel)
        await open_portfolios(stub)
        listener, killer = asyncio.ensure_future(listen(stub)), asyncio.ensure_future(kill())
        while not killer.done():
            await run(peers, replay, ran, cycles=2)
            await asyncio.sleep(0.05)
        await run(peers, replay, ran)
        assert digest(await histories(stub)) == digest(expected(ran))
        total = sum(len(entries) for entries in ran.result.entries.values())
        async with asyncio.timeout(30):
            while len(heard) < total:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        assert heard == list(range(1, total + 1))
        listener.cancel()
    assert len(process.deaths) >= 2
