"""The same store on a real PostgreSQL: a whole replay with restarts, exact decimals, streams from the past."""

from collections.abc import AsyncIterator

import pytest
from tickmesh.portfolio.v1 import portfolio_service_pb2 as api

from services.domain.backtest.digest import digest
from tests.component.portfolio.peers import COMPLETED, Peers, Replay
from tests.component.portfolio.played import (
    INSTRUMENTS,
    PLANS,
    START,
    expected,
    histories,
    listed,
    open_portfolios,
    run,
    simulation,
    tape,
)
from tests.component.portfolio.running import serve_service


@pytest.fixture
async def peers() -> AsyncIterator[Peers]:
    peers = Peers()
    await peers.server.start()
    yield peers
    await peers.server.stop(0)


async def test_a_replay_is_kept_and_restored_by_postgresql(peers: Peers, url: str) -> None:
    """Rules 2 and 22a: restarts on the way, and the ledger of the simulation to the last digit."""
    replay, ran = peers.add(Replay("replay-1", tape(), INSTRUMENTS, START)), simulation(tape())
    async with serve_service(peers, url) as service:
        await open_portfolios(service.stub)
    while replay.state != COMPLETED:
        async with serve_service(peers, url) as service:
            await run(peers, replay, ran, cycles=15)
    async with serve_service(peers, url) as service:
        assert digest(await histories(service.stub)) == digest(expected(ran))
        for plan in PLANS:
            ledger = ran.books.ledgers[plan.portfolio_id]
            _, kept = await service.keeper.find(plan.portfolio_id)
            assert kept.ledger._balances == ledger._balances
            assert kept.ledger.positions == ledger.positions
            assert [kept.ledger.lots(symbol) for symbol in INSTRUMENTS] == [ledger.lots(s) for s in INSTRUMENTS]
        entries = sorted(
            [entry for plan in PLANS for entry in await listed(service.stub, plan.portfolio_id)],
            key=lambda entry: entry.sequence,
        )
        streamed: list[object] = []
        request = api.StreamLedgerEntriesRequest(environment_id="replay-1", after_sequence=3)
        async for message in service.stub.StreamLedgerEntries(request):
            streamed += message.ledger_entries.entries
            if len(streamed) == len(entries) - 3:
                break
        assert streamed == entries[3:]
