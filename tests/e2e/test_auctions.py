"""Auctions and halts of the NSE, through the five processes: traded, listed and explained (rules 15, 24 and 31)."""

from __future__ import annotations

from collections import Counter

import pytest
from tickmesh.marketdata.v1 import market_data_pb2, market_data_service_pb2
from tickmesh.order.v1 import order_explanation_pb2, order_explanation_service_pb2, order_pb2, order_service_pb2

from services.domain.market import Auction, Halt, Quote
from services.domain.orders.order import CancelReason, ExecType, OrderEvent, TimeInForce
from services.domain.tape import Tape
from services.wire.values import nanoseconds
from tests.e2e.auctions import AUCTIONED, CALLING, SYMBOLS, write_auctions
from tests.e2e.conftest import Meshes
from tests.e2e.mesh import Clients
from tests.e2e.replaying import replay_under_blows, replayed
from tests.e2e.trading import Trial, trial

pytestmark = pytest.mark.timeout(300)
REPLAY = "replay-auctions"
BASIS = order_explanation_pb2.PriceBasis


async def test_rules_15_24_and_31_auctions_and_halts_of_the_nse(meshes: Meshes) -> None:
    async with meshes(strategy_path=CALLING) as mesh, mesh.clients() as clients:
        write_auctions(mesh.data)
        wanted = await trial(AUCTIONED, mesh, CALLING)
        check(wanted)
        await replayed(mesh, clients, wanted, "auctions")
        assert not mesh.deaths
        await listed(clients, wanted.simulation.timeline.tape)
        await explained(clients, wanted)
        await replay_under_blows(mesh, clients, wanted, 7)


def check(wanted: Trial) -> None:
    """That all of it happens: fills in both auctions, some in part, and orders that wait, end and are missed."""
    tape, result = wanted.simulation.timeline.tape, wanted.result
    met = Counter((event.order.time_in_force, type(tape.record(event.tape_sequence))) for event in result.fills)
    assert met[TimeInForce.OPG, Auction] > 3
    assert met[TimeInForce.CLS, Auction] > 3
    # Nobody else fills in an auction, and they nowhere else.
    in_auctions = {TimeInForce.OPG, TimeInForce.CLS}
    assert {(tif in in_auctions, kind) for tif, kind in met} == {(True, Auction), (False, Quote)}
    assert any(event.order.leaves_quantity for event in result.fills if event.order.time_in_force is TimeInForce.CLS)
    ends = Counter((event.order.time_in_force, event.order.cancel_reason) for event in result.events)
    assert ends[TimeInForce.OPG, CancelReason.AUCTION_OVER] > 10
    assert ends[TimeInForce.CLS, CancelReason.AUCTION_OVER] > 10
    assert ends[TimeInForce.DAY, CancelReason.END_OF_SESSION] > 10
    assert any(event.exec_type is ExecType.HELD for event in result.events)
    assert waited(wanted)
    stops: dict[str, bool] = {}
    filled = {event.tape_sequence for event in result.fills}
    for sequence in range(1, len(tape) + 1):
        record = tape.record(sequence)
        if isinstance(record, Halt):
            stops[record.symbol] = record.halted
        elif isinstance(record, Quote | Auction) and stops.get(record.symbol):
            assert sequence not in filled


def waited(wanted: Trial) -> list[OrderEvent]:
    """The fills of orders that were decided as trading stopped: they waited until it went on."""
    tape = wanted.simulation.timeline.tape
    return [
        event
        for event in wanted.result.fills
        if isinstance(decided := tape.record(event.order.basis_sequence), Halt) and decided.halted
    ]


async def listed(clients: Clients, tape: Tape) -> None:
    """The lists show what is on the tape."""
    records = [(sequence, tape.record(sequence)) for sequence in range(1, len(tape) + 1)]
    for symbol in SYMBOLS:
        of = {"symbol": symbol, "environment_id": REPLAY}
        auctions = (await clients.market.ListAuctions(market_data_service_pb2.ListAuctionsRequest(**of))).auctions
        opening = market_data_pb2.AUCTION_TYPE_OPENING
        assert [
            (each.tape_sequence, nanoseconds(each.event_time), float(each.price), each.auction_type == opening)
            for each in auctions
        ] == [
            (sequence, record.time, record.price, record.opening)
            for sequence, record in records
            if isinstance(record, Auction) and record.symbol == symbol
        ]
        halts = (await clients.market.ListHalts(market_data_service_pb2.ListHaltsRequest(**of))).halts
        assert [(each.tape_sequence, nanoseconds(each.event_time), each.halted) for each in halts] == [
            (sequence, record.time, record.halted)
            for sequence, record in records
            if isinstance(record, Halt) and record.symbol == symbol
        ]


async def explained(clients: Clients, wanted: Trial) -> None:
    """A fill in an auction, an order that waited through a halt, and one whose auction never came, say so."""
    request = order_service_pb2.ListExecutionsRequest(environment_id=REPLAY, page_size=1000)
    executions = list((await clients.orders.ListExecutions(request)).executions)

    async def story(order_id: str) -> order_explanation_pb2.OrderExplanation:
        asked = order_explanation_service_pb2.ExplainOrderRequest(order_id=order_id)
        found: order_explanation_pb2.OrderExplanation = await clients.explanations.ExplainOrder(asked)
        assert not found.gaps
        return found

    tape = wanted.simulation.timeline.tape
    called = next(each for each in executions if isinstance(tape.record(each.tape_sequence), Auction))
    fill = next(each for each in (await story(called.order_id)).events if each.event.exec_id == called.exec_id)
    assert (fill.price_basis, fill.record.kind) == (BASIS.PRICE_BASIS_AUCTION, "AUCTION")
    assert "auction, which has one price for all" in fill.reason
    late = waited(wanted)[0].tape_sequence
    stories = [await story(each.order_id) for each in executions if each.tape_sequence == late]
    found = next(each for each in stories if each.decision.record.kind == "HALT")
    assert [each.halted for each in found.halts] == [True, False]
    assert found.halts[0].tape_sequence == found.decision.basis_sequence
    assert found.halts[1].tape_sequence < late
    # BBB's last closing auction is missing.
    listing = order_service_pb2.ListOrdersRequest(environment_id=REPLAY, symbol=SYMBOLS[1], page_size=1000)
    orders = (await clients.orders.ListOrders(listing)).orders
    missed = [
        each
        for each in orders
        if each.time_in_force == order_pb2.TIME_IN_FORCE_CLS
        and each.cancel_reason == order_pb2.CANCEL_REASON_AUCTION_OVER
    ]
    reason = (await story(missed[0].order_id)).events[-1].reason
    assert reason == "Its session closed, and no closing auction had filled it."
