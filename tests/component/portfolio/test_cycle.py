"""The books along a replay: what the service lists equals what the simulation of the same tape comes to (rule 32c)."""

import asyncio
from collections.abc import Callable
from decimal import Decimal
from itertools import groupby
from typing import Any

import pytest
from tickmesh.portfolio.v1 import portfolio_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2 as api

from services.domain.backtest.digest import digest
from services.domain.backtest.simulation import Simulation
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderType, Side, TimeInForce
from services.portfolio import book
from tests.component.portfolio.peers import STOPPED, Peers, Replay
from tests.component.portfolio.played import (
    INSTRUMENTS,
    PLANS,
    START,
    eventually,
    expected,
    histories,
    listed,
    open_portfolios,
    run,
    simulation,
    tape,
)
from tests.component.portfolio.running import Service

Serve = Callable[..., Any]


def replay_of(peers: Peers) -> Replay:
    return peers.add(Replay("replay-1", tape(), INSTRUMENTS, START))


async def points(stub: Any, portfolio_id: str) -> list[tuple[int, int, Decimal, Decimal]]:
    request = api.ListEquityPointsRequest(portfolio_id=portfolio_id, page_size=1000)
    page = await stub.ListEquityPoints(request)
    return [
        (p.tape_sequence, p.event_time.ToNanoseconds(), Decimal(p.cash), Decimal(p.equity)) for p in page.equity_points
    ]


def curve(ran: Simulation, portfolio_id: str) -> list[tuple[int, int, Decimal, Decimal]]:
    mine = [point for point in ran.result.equity if point.portfolio_id == portfolio_id]
    return [(p.tape_sequence, p.time, round(p.cash, 9), round(p.equity, 9)) for p in mine]


async def assert_equal(stub: Any, ran: Simulation) -> None:
    """Entries, equity, cash, positions and lots are the simulation's."""
    assert digest(await histories(stub)) == digest(expected(ran))
    for plan in PLANS:
        key, ledger = plan.portfolio_id, ran.books.ledgers[plan.portfolio_id]
        assert await points(stub, key) == curve(ran, key)
        portfolio = await stub.GetPortfolio(api.GetPortfolioRequest(portfolio_id=key))
        assert Decimal(portfolio.cash[0].amount) == round(ledger.cash, 9)
        assert Decimal(portfolio.realized_pnl.amount) == round(ledger.realized_pnl, 9)
        assert portfolio.tape_sequence == ran.position
        positions = await stub.ListPositions(api.ListPositionsRequest(portfolio_id=key))
        assert {p.symbol: Decimal(p.quantity) for p in positions.positions} == {
            p.symbol: p.quantity for p in ledger.positions.values()
        }
        for position in positions.positions:
            lots = await stub.ListLots(api.ListLotsRequest(portfolio_id=key, symbol=position.symbol))
            held = ledger.lots(position.symbol)
            assert [(lot.lot_id, Decimal(lot.quantity)) for lot in lots.lots] == [
                (lot.open_exec_id, lot.quantity) for lot in held
            ]
            assert Decimal(position.mark_price) == round(ran.timeline.mark(position.symbol, ran.position) or 0, 9)


async def test_the_ledger_is_that_of_the_simulation(peers: Peers, service: Service) -> None:
    """Rule 32c: the same entries at the same positions, whole digest, with fills, splits and cash in lieu."""
    replay = peers.add(Replay("replay-1", tape(), INSTRUMENTS, START))
    await open_portfolios(service.stub)
    ran = simulation(replay.tape)
    await run(peers, replay, ran)
    assert digest(await histories(service.stub)) == digest(expected(ran))
    kinds = {entry.kind.value for entries in ran.result.entries.values() for entry in entries}
    assert kinds >= {"DEPOSIT", "TRADE", "SPLIT", "CASH_IN_LIEU"}


async def test_cash_positions_lots_and_equity_are_those_of_the_simulation(peers: Peers, service: Service) -> None:
    """Rule 32c: equity points at closes, after fills, and one at the tape's end."""
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran)
    await assert_equal(service.stub, ran)


async def test_entries_are_numbered_without_gaps_and_sum_to_the_balances(peers: Peers, service: Service) -> None:
    """Rule 16: every transaction sums to zero for each asset, and each entry says its account's balance."""
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran)
    entries = [entry for plan in PLANS for entry in await listed(service.stub, plan.portfolio_id)]
    assert sorted(entry.sequence for entry in entries) == list(range(1, len(entries) + 1))
    balances: dict[tuple[str, int, str], Decimal] = {}
    for entry in entries:
        key = entry.portfolio_id, entry.account, entry.asset
        balances[key] = balances.get(key, Decimal(0)) + Decimal(entry.amount)
        assert Decimal(entry.balance) == balances[key]
    for _, group in groupby(entries, lambda entry: (entry.portfolio_id, entry.transaction_id)):
        of_one = list(group)
        for asset in {entry.asset for entry in of_one}:
            assert sum(Decimal(entry.amount) for entry in of_one if entry.asset == asset) == 0


async def test_a_fill_and_a_split_tell_their_cause(peers: Peers, service: Service) -> None:
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran)
    entries = [entry for plan in PLANS for entry in await listed(service.stub, plan.portfolio_id)]
    trade = next(entry for entry in entries if entry.kind == portfolio_pb2.LEDGER_ENTRY_KIND_TRADE)
    assert trade.traceparent
    assert trade.principal == "trader"
    assert trade.exec_id.startswith(trade.order_id)
    ratios = {
        (entry.asset, entry.split_numerator, entry.split_denominator)
        for entry in entries
        if entry.kind == portfolio_pb2.LEDGER_ENTRY_KIND_SPLIT
    }
    assert ratios <= {("A", "3", "2"), ("B", "2", "1")}
    assert ratios


async def test_a_repeated_fold_gives_the_same_answer_and_counts_nothing_twice(peers: Peers, service: Service) -> None:
    """Rule 33."""
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    while not replay.events or ran.books.ledgers["trend"].sequence < 6:
        await run(peers, replay, ran, cycles=1)
    cycle, position = replay.cycle, replay.position
    head = max(e.sequence for e in replay.events if e.exec_type == 4)
    first = await peers.coordinator.fold(replay, cycle, position, head)
    for again in (cycle, cycle, cycle - 1):
        assert await peers.coordinator.fold(replay, again, position, head) == first
    replay.cycle = cycle
    await run(peers, replay, ran)
    await assert_equal(service.stub, ran)


async def test_a_restart_goes_on_where_the_store_stands(peers: Peers, serve: Serve) -> None:
    """Rule 2: a restart after every few cycles, with a lag between what is folded and what is stored."""
    replay, ran = replay_of(peers), simulation(tape())
    async with serve() as service:
        await open_portfolios(service.stub)
    while replay.state != 5:
        async with serve() as service:
            await run(peers, replay, ran, cycles=7)
            if replay.state == 5:
                await assert_equal(service.stub, ran)
                before = await service.stub.ListPortfolios(api.ListPortfoliosRequest())
    async with serve() as service:
        assert await service.stub.ListPortfolios(api.ListPortfoliosRequest()) == before
        await assert_equal(service.stub, ran)


async def test_a_restart_asks_only_for_events_from_the_first_fill_on_that_is_not_folded(
    peers: Peers, serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(book, "PASSED_OVER", 50)
    replay = replay_of(peers)
    order = Order("o", "c", "trend", "A", Side.BUY, OrderType.MARKET, TimeInForce.GTC, Decimal(1))
    seen = [OrderEvent(ExecType.NEW, order, 0, START) for n in range(60)]
    fill = OrderEvent(ExecType.TRADE, order, 0, START + 1, Decimal(1), Decimal(10))
    async with serve() as service:
        await open_portfolios(service.stub)
        replay.publish([*seen, fill, *seen])
        await eventually(lambda: service.keeper._feeds["replay-1"][0].arrived == 121)
    async with serve() as service:
        await eventually(lambda: len(peers.asked) == 2)
        await peers.coordinator.fold(replay, 1, START + 1, 121)
        held = await service.stub.ListPositions(api.ListPositionsRequest(portfolio_id="trend"))
        assert [(each.symbol, each.quantity) for each in held.positions] == [("A", "1")]
    assert peers.asked == [0, 60]


async def test_a_broken_stream_of_events_is_read_on_without_a_gap(peers: Peers, service: Service) -> None:
    peers.batch, peers.breaks = 2, 3
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran)
    await assert_equal(service.stub, ran)


async def test_a_coordinator_that_comes_back_is_answered(peers: Peers, service: Service) -> None:
    """Rule 33: the stream breaks between any two cycles."""
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    while replay.state != 5:
        await run(peers, replay, ran, cycles=15)
        peers.coordinator.hang_up()
    await assert_equal(service.stub, ran)
    assert peers.coordinator.hellos > 2


async def test_a_portfolio_opened_on_the_way_is_entered_where_time_stands(peers: Peers, service: Service) -> None:
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran, cycles=20)
    request = api.CreatePortfolioRequest(portfolio_id="late", environment_id="replay-1")
    request.initial_cash.currency_code, request.initial_cash.amount = "USD", "5000"
    late = await service.stub.CreatePortfolio(request)
    [deposit, _] = await listed(service.stub, "late")
    assert late.opening_ledger_sequence == deposit.sequence
    assert deposit.tape_sequence == replay.position == late.tape_sequence
    assert deposit.event_time.ToNanoseconds() == int(replay.tape.time[replay.position - 1])
    await run(peers, replay, ran)
    assert digest(await histories(service.stub)) == digest(expected(ran))


async def test_a_stopped_environment_is_valued_where_it_ends(peers: Peers, service: Service) -> None:
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran, cycles=12)
    peers.end(replay, STOPPED)
    await eventually(lambda: service.keeper._shelf.books["replay-1"].cursor.ended)
    mine = await points(service.stub, "trend")
    assert mine[-1][3] == round(ran.books.point("trend", ran.position).equity, 9)
    assert len({at for at, *_ in mine}) == len(mine)


async def test_books_of_an_environment_that_ended_while_we_were_away_are_closed(peers: Peers, serve: Serve) -> None:
    replay, ran = replay_of(peers), simulation(tape())
    async with serve() as service:
        await open_portfolios(service.stub)
        await run(peers, replay, ran, cycles=12)
    replay.state = STOPPED
    async with serve() as service:
        await eventually(lambda: service.keeper._shelf.books["replay-1"].cursor.ended)
        assert (await points(service.stub, "trend"))[-1][0] == replay.position


async def test_what_cannot_be_booked_blocks_and_changes_nothing(peers: Peers, service: Service) -> None:
    """A fill for a portfolio that is not here: the fold is never answered, and what is stored stays whole."""
    replay, ran = replay_of(peers), simulation(tape())
    await open_portfolios(service.stub)
    while not any(event.exec_type == 4 for event in replay.events):
        await run(peers, replay, ran, cycles=1)
    before = await listed(service.stub, "trend")
    fill = next(event for event in replay.events if event.exec_type == 4)
    broken = type(fill)()
    broken.CopyFrom(fill)
    broken.sequence, broken.order.portfolio_id, broken.tape_sequence = replay.head + 1, "unknown", replay.position
    replay.events.append(broken)
    replay.publish([])
    fold = asyncio.ensure_future(peers.coordinator.fold(replay, replay.cycle + 1, replay.position + 3, replay.head))
    hellos = peers.coordinator.hellos
    await eventually(lambda: peers.coordinator.hellos >= hellos + 2)
    assert not fold.done()
    assert await listed(service.stub, "trend") == before
    fold.cancel()


async def test_nothing_is_told_before_it_is_stored(peers: Peers, service: Service) -> None:
    """Neither the portfolio nor a fold's head that counts its deposit, which a crash would undo."""
    replay = replay_of(peers)
    await open_portfolios(service.stub)
    gate, writer = asyncio.Event(), service.database.writer
    transaction = writer._transaction

    async def slow(groups: Any) -> None:
        await gate.wait()
        await transaction(groups)

    writer._transaction = slow
    request = api.CreatePortfolioRequest(portfolio_id="late", environment_id="replay-1")
    request.initial_cash.currency_code, request.initial_cash.amount = "USD", "1"
    told: list[asyncio.Future[Any]] = [asyncio.ensure_future(service.stub.CreatePortfolio(request))]
    await eventually(lambda: bool(service.keeper._shelf._pending))
    told.append(asyncio.ensure_future(peers.coordinator.fold(replay, 1, START + 1, 0)))
    told.append(asyncio.ensure_future(service.stub.GetPortfolio(api.GetPortfolioRequest(portfolio_id="late"))))
    told.append(asyncio.ensure_future(service.stub.ListPortfolios(api.ListPortfoliosRequest())))
    done, _ = await asyncio.wait(told, timeout=0.2)
    assert not done
    gate.set()
    made, head, found, listing = await asyncio.gather(*told)
    assert (made.ledger_sequence, head) == (6, 6)
    assert found.portfolio_id == "late"
    assert len(listing.portfolios) == 3
