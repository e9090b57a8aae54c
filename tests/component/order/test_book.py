"""The paper venue's book over RPC: as of what is durable, with one's own orders marked."""

import asyncio
import base64
from pathlib import Path
from typing import Any

import numpy as np
from grpc import StatusCode
from tickmesh.common.v1 import stream_pb2
from tickmesh.order.v1 import order_book_pb2, order_book_service_pb2, order_pb2
from tickmesh.order.v1.order_book_service_pb2_grpc import OrderBookServiceStub

from services.chassis.streams.tokens import ResumeTokens, filter_hash
from services.domain.tape import Kind, Series, Source, merge
from tests.component.order.calls import cancel, refused
from tests.component.order.support import ENVIRONMENT, Mesh, limit, quoted_tape, request, running


def books(mesh: Mesh) -> OrderBookServiceStub:
    return OrderBookServiceStub(mesh.channel)


async def book(mesh: Mesh, **fields: Any) -> order_book_pb2.OrderBook:
    asked = {"symbol": "AAPL", "environment_id": ENVIRONMENT} | fields
    return await books(mesh).GetOrderBook(order_book_service_pb2.GetOrderBookRequest(**asked))


async def test_a_book_shows_levels_best_first_and_marks_ones_own_orders_with_their_place(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a", "50"))
    await mesh.orders.CreateOrder(limit("b", "50", quantity="7"))
    await mesh.orders.CreateOrder(limit("c", "51"))
    await mesh.orders.CreateOrder(limit("d", "50", symbol="MSFT"))
    found = await book(mesh, portfolio_id="trend")
    assert [(level.price, level.quantity, level.order_count) for level in found.bids] == [
        ("51.0000", "10", 1),
        ("50.0000", "17", 2),
    ]
    assert [(own.client_order_id, own.quantity_ahead) for own in found.bids[1].own_orders] == [("a", "0"), ("b", "10")]
    assert (found.environment_id, found.symbol, found.sequence) == (ENVIRONMENT, "AAPL", 4)
    assert found.tape_sequence == mesh.market.start_sequence
    assert float(found.buy_reference_price) > 0
    assert found.buy_reference_price == found.sell_reference_price
    assert not found.asks
    assert not found.waiting


async def test_what_hides_or_waits_is_shown_to_its_owner_alone(mesh: Mesh) -> None:
    iceberg = await mesh.orders.CreateOrder(limit("a", "50", display_quantity="2"))
    waits = await mesh.orders.CreateOrder(request("b"))
    own = await book(mesh, portfolio_id="trend")
    (level,), (entry,) = own.bids, own.waiting
    assert (level.quantity, level.hidden_quantity, level.order_count) == ("2", "8", 1)
    assert [each.order_id for each in level.own_orders] == [iceberg.order_id]
    assert (entry.order_id, entry.order_type) == (waits.order_id, order_pb2.ORDER_TYPE_MARKET)
    assert (entry.client_order_id, entry.portfolio_id) == ("b", "trend")
    for whose in ({}, {"portfolio_id": "other"}):
        found = await book(mesh, **whose)
        (level,) = found.bids
        assert (level.quantity, level.hidden_quantity, level.order_count) == ("2", "0", 1)
        assert not level.own_orders
        assert not found.waiting
        assert found.omitted_count == 0


async def test_who_waits_for_the_close_is_shown_as_waiting_and_before_nobody(mesh: Mesh) -> None:
    closing = {"time_in_force": order_pb2.TIME_IN_FORCE_CLS}
    first = await mesh.orders.CreateOrder(limit("a", "50", **closing))
    await mesh.orders.CreateOrder(limit("b", "50"))
    found = await book(mesh, portfolio_id="trend")
    ((level,), (entry,)) = found.bids, found.waiting
    assert (level.quantity, level.order_count) == ("10", 1)
    assert [(own.client_order_id, own.quantity_ahead) for own in level.own_orders] == [("b", "0")]
    assert (entry.order_id, entry.quantity_ahead) == (first.order_id, "")


async def test_depth_says_what_it_left_out(mesh: Mesh) -> None:
    for n in range(5):
        await mesh.orders.CreateOrder(limit(f"a{n}", str(50 + n)))
    found = await book(mesh, depth=2)
    assert [level.price for level in found.bids] == ["54.0000", "53.0000"]
    assert found.omitted_count == 3


async def test_a_book_is_the_same_after_a_restart(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a", "50"))
    await mesh.orders.CreateOrder(limit("b", "51"))
    before = await book(mesh, portfolio_id="trend")
    await mesh.stop()
    await mesh.start()
    assert (await book(mesh, portfolio_id="trend")).bids == before.bids


async def test_a_stream_brings_the_book_and_brings_it_again_when_its_own_orders_change(mesh: Mesh) -> None:
    asked = order_book_service_pb2.StreamOrderBookRequest(symbol="AAPL", portfolio_id="trend")
    asked.max_delay.FromMilliseconds(0)
    call: Any = books(mesh).StreamOrderBook(asked)
    first = await snapshot(call)
    assert not first.snapshot.bids
    order = await mesh.orders.CreateOrder(limit("a", "50"))
    second = await snapshot(call)
    assert second.previous_sequence == first.sequence
    assert [level.price for level in second.snapshot.bids] == ["50.0000"]
    await mesh.orders.CreateOrder(limit("b", "50", symbol="MSFT"))
    await mesh.orders.CancelOrder(cancel(order.order_id))
    third = await snapshot(call)
    assert (third.sequence, list(third.snapshot.bids)) == (3, [])
    call.cancel()
    again: Any = books(mesh).StreamOrderBook(
        order_book_service_pb2.StreamOrderBookRequest(
            symbol="AAPL", portfolio_id="trend", resume_token=third.resume_token
        )
    )
    assert (await snapshot(again)).sequence == 3
    again.cancel()


async def test_changes_of_one_window_travel_in_one_message(mesh: Mesh) -> None:
    asked = order_book_service_pb2.StreamOrderBookRequest(symbol="AAPL", environment_id=ENVIRONMENT)
    asked.max_delay.FromMilliseconds(500)
    call: Any = books(mesh).StreamOrderBook(asked)
    await snapshot(call)
    await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"a{n}", "50")) for n in range(20)))
    assert (await snapshot(call)).snapshot.bids[0].order_count == 20
    call.cancel()


async def test_what_cannot_be_shown_is_refused_by_its_reason(mesh: Mesh) -> None:
    for fields, code, reason in (
        ({"environment_id": "nobody"}, StatusCode.NOT_FOUND, "ENVIRONMENT_NOT_FOUND"),
        ({"portfolio_id": "nobody"}, StatusCode.NOT_FOUND, "PORTFOLIO_NOT_FOUND"),
        ({"symbol": "NOBODY"}, StatusCode.NOT_FOUND, "INSTRUMENT_NOT_FOUND"),
        ({"symbol": "aapl"}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"depth": 1001}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
    ):
        error = await refused(book(mesh, **fields))
        assert (error.code, error.reason) == (code, reason)


async def snapshot(call: Any) -> order_book_service_pb2.StreamOrderBookResponse:
    """The next message that is no heartbeat."""
    async with asyncio.timeout(30):
        while (message := await call.read()).WhichOneof("event") == "heartbeat":
            pass
    assert message.WhichOneof("event") == "snapshot"
    found: order_book_service_pb2.StreamOrderBookResponse = message
    return found


async def test_a_token_that_has_expired_is_reset_and_the_book_follows(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a", "50"))
    asked = order_book_service_pb2.StreamOrderBookRequest(symbol="AAPL", environment_id=ENVIRONMENT)
    hashed = filter_hash(asked, "max_delay", "depth")
    call = books(mesh).StreamOrderBook(asked)
    own = (await call.read()).resume_token
    call.cancel()
    epoch = base64.urlsafe_b64decode(own + "=" * (-len(own) % 4))[4:].split(b"\x1f")[0].decode()
    # One of another life of the store, and one that knows more than there is: of a copy that was put back.
    for tokens, at in ((ResumeTokens("another"), 1), (ResumeTokens(epoch), 50)):
        asked.resume_token = tokens.encode({ENVIRONMENT: at}, hashed)
        call = books(mesh).StreamOrderBook(asked)
        reset, shown = await call.read(), await call.read()
        assert reset.reset.reason == stream_pb2.ResetReason.RESET_REASON_TOKEN_EXPIRED
        assert (reset.sequence, shown.previous_sequence) == (1, 1)
        assert [level.price for level in shown.snapshot.bids] == ["50.0000"]
        call.cancel()
    asked.resume_token = own
    call = books(mesh).StreamOrderBook(asked)
    assert (await call.read()).WhichOneof("event") == "snapshot"
    call.cancel()


def shown(levels: Any) -> list[tuple[str, str]]:
    return [(level.price, level.size) for level in levels]


async def test_a_book_shows_the_market_s_levels_as_the_last_quote_has_them(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.market.tape = quoted_tape()
        await mesh.start()
        await mesh.market.joined()
        found = await book(mesh)
        assert shown(found.market_bids) == [("99.9000", "30"), ("99.8000", "50"), ("99.7000", "70")]
        assert shown(found.market_asks) == [("100.1000", "40"), ("100.2000", "60")]
        assert shown((await book(mesh, depth=2)).market_bids) == shown(found.market_bids)[:2]
        other = await book(mesh, symbol="MSFT")
        assert (shown(other.market_bids), shown(other.market_asks)) == ([("50.0000", "")], [("50.5000", "")])


async def test_a_stream_brings_the_book_again_when_the_market_has_moved(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        when = np.arange(1, 5, dtype=np.int64) * 1_000_000_000
        values = np.array([[99, 101, 5, 5, 0], [98, 101, 5, 5, 0], [98, 101, 5, 5, 0], [97, 101, 5, 5, 0]], np.float64)
        mesh.market.tape = merge([Series(Source(Kind.QUOTE, "AAPL"), when, when, values)])
        mesh.market.start_sequence = 1
        await mesh.start()
        await mesh.market.joined()
        asked = order_book_service_pb2.StreamOrderBookRequest(symbol="AAPL", environment_id=ENVIRONMENT)
        call: Any = books(mesh).StreamOrderBook(asked)
        first = await snapshot(call)
        assert shown(first.snapshot.market_bids) == [("99.0000", "5")]
        await mesh.market.run(1, 2)
        second = await snapshot(call)
        assert (second.sequence, second.previous_sequence, second.snapshot.tape_sequence) == (0, 0, 2)
        assert shown(second.snapshot.market_bids) == [("98.0000", "5")]
        # The next quote says the same: no message tells of it.
        await mesh.market.run(2, 3)
        await mesh.market.run(3, 4)
        third = await snapshot(call)
        assert (third.snapshot.tape_sequence, third.snapshot.sell_reference_price) == (4, "97.0000")
        call.cancel()


async def test_a_book_of_a_tape_without_quotes_shows_no_market(mesh: Mesh) -> None:
    found = await book(mesh)
    assert not found.market_bids
    assert not found.market_asks
