"""Both streams as cursors: from any message of them the rest comes, exactly, without a gap and nothing twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tickmesh.common.v1 import stream_pb2
from tickmesh.portfolio.v1 import portfolio_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2 as api

from services.chassis.errors import ApiError
from tests.component.portfolio.peers import Peers, Replay
from tests.component.portfolio.played import INSTRUMENTS, PLANS, START, listed, open_portfolios, run, simulation, tape
from tests.component.portfolio.running import Service

Refused = Callable[[Awaitable[Any]], Awaitable[ApiError]]
Ledger = api.StreamLedgerEntriesRequest
TRADE, SPLIT = portfolio_pb2.LEDGER_ENTRY_KIND_TRADE, portfolio_pb2.LEDGER_ENTRY_KIND_SPLIT


@pytest.fixture
def replay(peers: Peers) -> Replay:
    return peers.add(Replay("replay-1", tape(), INSTRUMENTS, START))


@asynccontextmanager
async def collected(stream: Any) -> AsyncIterator[list[Any]]:
    """What a stream brings, as long as the block runs."""
    messages: list[Any] = []

    async def collect() -> None:
        async for message in stream:
            messages.append(message)  # noqa: PERF401 it never ends

    task = asyncio.ensure_future(collect())
    try:
        yield messages
    finally:
        task.cancel()
        await asyncio.wait([task])


async def until(messages: list[Any], done: Callable[[list[Any]], bool]) -> None:
    async with asyncio.timeout(30):
        while not done(messages):  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def entries_of(messages: list[Any]) -> list[Any]:
    found: list[Any] = []
    for message in messages:
        arm = getattr(message, message.WhichOneof("event"))
        found += getattr(arm, "entries", None) or getattr(arm, "ledger_entries", [])
    return found


def assert_chained(messages: list[Any], first: int) -> None:
    """`previous_sequence` is the `sequence` of the message before."""
    for message in messages:
        assert message.previous_sequence == first
        assert message.sequence >= first
        first = message.sequence


async def test_every_entry_comes_once_from_any_token(peers: Peers, service: Service, replay: Replay) -> None:
    ran = simulation(tape())
    await open_portfolios(service.stub)
    everything = Ledger(environment_id="replay-1", after_sequence=0)
    async with collected(service.stub.StreamLedgerEntries(everything)) as messages:
        await run(peers, replay, ran)
        total = sum(len(entries) for entries in ran.result.entries.values())
        await until(messages, lambda found: len(entries_of(found)) == total)
    whole = entries_of(messages)
    assert [entry.sequence for entry in whole] == list(range(1, total + 1))
    assert_chained(messages, 0)
    assert len({message.subscription_id for message in messages}) == 1
    for message in messages:
        again = Ledger(environment_id="replay-1", resume_token=message.resume_token)
        async with collected(service.stub.StreamLedgerEntries(again)) as rest:
            await until(rest, bool)
            await until(rest, lambda found, at=message.sequence: len(entries_of(found)) == total - at)
        assert entries_of(rest) == whole[message.sequence :]
        assert_chained(rest, message.sequence)


async def test_a_filter_leaves_out_and_loses_nothing(peers: Peers, service: Service, replay: Replay) -> None:
    ran = simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran)
    for portfolio_id, kinds in (("trend", []), ("", [SPLIT]), ("revert", [TRADE, SPLIT])):
        keys = [portfolio_id] if portfolio_id else [plan.portfolio_id for plan in PLANS]
        want = [e for key in keys for e in await listed(service.stub, key) if not kinds or e.kind in kinds]
        request = Ledger(environment_id="replay-1", portfolio_id=portfolio_id, kinds=kinds, after_sequence=0)
        async with collected(service.stub.StreamLedgerEntries(request)) as messages:
            await until(messages, lambda found, want=want: len(entries_of(found)) == len(want))  # type: ignore[misc]
        assert entries_of(messages) == sorted(want, key=lambda entry: entry.sequence)
        assert want
        token = messages[-1].resume_token
        request = Ledger(environment_id="replay-1", portfolio_id=portfolio_id, kinds=kinds, resume_token=token)
        async with collected(service.stub.StreamLedgerEntries(request)) as rest:
            await until(rest, bool)
        assert rest[0].HasField("heartbeat")
        assert rest[0].previous_sequence == messages[-1].sequence


async def test_from_now_on_is_the_default(peers: Peers, service: Service, replay: Replay) -> None:
    await open_portfolios(service.stub)
    async with collected(service.stub.StreamLedgerEntries(Ledger(environment_id="replay-1"))) as messages:
        await until(messages, bool)
        assert messages[0].HasField("heartbeat")
        assert messages[0].heartbeat.scanned_sequence == messages[0].sequence == 4
        await run(peers, replay, simulation(tape()))
        await until(messages, lambda found: bool(entries_of(found)))
    assert entries_of(messages)[0].sequence == 5


async def test_a_quiet_filter_moves_its_token_by_heartbeats(peers: Peers, serve: Any, replay: Replay) -> None:
    async with serve(heartbeat_seconds=0.05) as service:
        await open_portfolios(service.stub)
        request = Ledger(environment_id="replay-1", portfolio_id="nobody", after_sequence=0)
        async with collected(service.stub.StreamLedgerEntries(request)) as messages:
            await until(messages, lambda found: len(found) > 2)
    assert [m.heartbeat.scanned_sequence for m in messages][-1] == 4
    assert_chained(messages, 0)


async def test_a_token_belongs_to_its_stream_and_filter(service: Service, replay: Replay, refused: Refused) -> None:
    await open_portfolios(service.stub)

    async def first(request: Any) -> Any:
        name = "StreamPortfolio" if isinstance(request, api.StreamPortfolioRequest) else "StreamLedgerEntries"
        return await anext(aiter(getattr(service.stub, name)(request)))

    token = (await first(Ledger(environment_id="replay-1"))).resume_token
    of_portfolio = (await first(api.StreamPortfolioRequest(portfolio_id="trend"))).resume_token
    mismatch, invalid = "RESUME_TOKEN_FILTER_MISMATCH", "RESUME_TOKEN_INVALID"
    for request, reason in (
        (Ledger(environment_id="replay-1", portfolio_id="trend", resume_token=token), mismatch),
        (Ledger(environment_id="replay-1", kinds=[TRADE], resume_token=token), mismatch),
        (Ledger(environment_id="replay-1", resume_token=of_portfolio), mismatch),
        (api.StreamPortfolioRequest(portfolio_id="revert", resume_token=of_portfolio), mismatch),
        (api.StreamPortfolioRequest(portfolio_id="trend", resume_token=token), mismatch),
        (Ledger(environment_id="replay-1", resume_token="nonsense"), invalid),
        (Ledger(environment_id="replay-1", resume_token=token[:-3]), invalid),
        (Ledger(environment_id="replay-1", resume_token=token, after_sequence=1), "INVALID_ARGUMENT"),
        (Ledger(environment_id="replay-1", after_sequence=-1), "INVALID_ARGUMENT"),
        (Ledger(environment_id="replay-1", kinds=[0]), "INVALID_ARGUMENT"),
        (Ledger(environment_id="replay-1", kinds=[99]), "INVALID_ARGUMENT"),  # type: ignore[list-item]
    ):
        error = await refused(first(request))
        assert (error.code.name, error.reason) == ("INVALID_ARGUMENT", reason)


async def test_a_number_from_the_future_is_reset(service: Service, replay: Replay) -> None:
    await open_portfolios(service.stub)
    stream = aiter(service.stub.StreamLedgerEntries(Ledger(environment_id="replay-1", after_sequence=1_000)))
    message = await anext(stream)
    assert message.reset.reason == stream_pb2.RESET_REASON_TOKEN_EXPIRED
    assert message.sequence == 4


async def test_a_portfolio_is_told_snapshot_then_changes(peers: Peers, service: Service, replay: Replay) -> None:
    """The updates, laid over the snapshot, are what the portfolio is in the end; from any token too."""
    ran = simulation(tape())
    await open_portfolios(service.stub)
    async with collected(service.stub.StreamPortfolio(api.StreamPortfolioRequest(portfolio_id="revert"))) as messages:
        await until(messages, bool)
        await run(peers, replay, ran)
        mine = await listed(service.stub, "revert")
        last = await service.stub.GetPortfolio(api.GetPortfolioRequest(portfolio_id="revert"))
        await until(messages, lambda found: found[-1].update.portfolio == last)
    assert messages[0].HasField("snapshot")
    assert messages[0].snapshot.portfolio.ledger_sequence <= messages[0].sequence
    assert entries_of(messages[1:]) == [entry for entry in mine if entry.sequence > messages[0].sequence]
    assert_chained(messages, 0)
    assert any(m.HasField("update") and not m.update.ledger_entries for m in messages), "valued at closes"
    positions = {p.symbol: p for m in messages[1:] for p in m.update.positions}
    now = await service.stub.ListPositions(api.ListPositionsRequest(portfolio_id="revert"))
    assert {s: p.quantity for s, p in positions.items()} == {p.symbol: p.quantity for p in now.positions}
    for message in messages[:: max(1, len(messages) // 8)]:
        again = api.StreamPortfolioRequest(portfolio_id="revert", resume_token=message.resume_token)
        want = [entry for entry in mine if entry.sequence > message.sequence]
        async with collected(service.stub.StreamPortfolio(again)) as rest:
            await until(rest, lambda found, want=want: len(entries_of(found)) == len(want))  # type: ignore[misc]
            await until(rest, lambda found: any(m.update.portfolio == last for m in found))
        assert entries_of(rest) == want
        assert not any(m.HasField("snapshot") for m in rest)
        assert_chained(rest, message.sequence)


async def test_a_token_outlives_a_restart(peers: Peers, serve: Any, replay: Replay) -> None:
    ran = simulation(tape())
    async with serve() as service:
        await open_portfolios(service.stub)
        request = api.StreamPortfolioRequest(portfolio_id="trend")
        token = (await anext(aiter(service.stub.StreamPortfolio(request)))).resume_token
        await run(peers, replay, ran)
        mine = await listed(service.stub, "trend")
    async with serve() as service:
        request.resume_token = token
        async with collected(service.stub.StreamPortfolio(request)) as rest:
            await until(rest, lambda found: len(entries_of(found)) == len(mine) - 2)
        assert entries_of(rest) == mine[2:]


async def test_another_history_is_reset_to_a_snapshot(peers: Peers, serve: Any, replay: Replay, tmp_path: Any) -> None:
    """Of a database that was lost."""
    request = api.StreamPortfolioRequest(portfolio_id="trend")
    async with serve() as service:
        await open_portfolios(service.stub)
        request.resume_token = (await anext(aiter(service.stub.StreamPortfolio(request)))).resume_token
    for file in tmp_path.glob("portfolio.db*"):
        file.unlink()
    async with serve() as service:
        await open_portfolios(service.stub)
        stream = aiter(service.stub.StreamPortfolio(request))
        assert (await anext(stream)).reset.reason == stream_pb2.RESET_REASON_TOKEN_EXPIRED
        assert (await anext(stream)).HasField("snapshot")


async def test_a_service_that_ends_says_so_on_its_streams(peers: Peers, serve: Any, replay: Replay) -> None:
    async with serve() as service:
        await open_portfolios(service.stub)
        streams = [
            service.stub.StreamPortfolio(api.StreamPortfolioRequest(portfolio_id="trend")),
            service.stub.StreamLedgerEntries(Ledger(environment_id="replay-1")),
        ]
        async with collected(streams[0]) as one, collected(streams[1]) as other:
            await until(one, bool)
            await until(other, bool)
            service.server.draining.set()
            await until(one, lambda found: found[-1].HasField("closed"))
            await until(other, lambda found: found[-1].HasField("closed"))
