"""Lists of orders, of fills and of events: by time, by cursor, by whose they are, and page by page."""

from typing import Any

from grpc import StatusCode
from tickmesh.order.v1 import order_service_pb2

from services.chassis.errors import ApiError
from services.wire.values import timestamp
from tests.component.order.calls import cancel, refused
from tests.component.order.support import ENVIRONMENT, MINUTE, OPEN, Mesh, limit, request


async def orders(mesh: Mesh, **fields: Any) -> list[str]:
    asked = order_service_pb2.ListOrdersRequest(**fields)
    return [each.client_order_id for each in (await mesh.orders.ListOrders(asked)).orders]


async def fills(mesh: Mesh, **fields: Any) -> list[str]:
    asked = order_service_pb2.ListExecutionsRequest(**fields)
    return [each.client_order_id for each in (await mesh.orders.ListExecutions(asked)).executions]


async def events(mesh: Mesh, **fields: Any) -> list[int]:
    asked = order_service_pb2.ListOrderEventsRequest(**fields)
    return [each.sequence for each in (await mesh.orders.ListOrderEvents(asked)).order_events]


async def trade(mesh: Mesh) -> None:
    """Four minutes, each with an order that the next bar fills, and one that rests: events 1 to 9."""
    at = mesh.market.start_sequence
    await mesh.orders.CreateOrder(limit("rests"))
    for cycle, who in enumerate(("trend", "other", "trend", "other"), start=1):
        symbol = "MSFT" if cycle == 3 else "AAPL"
        await mesh.orders.CreateOrder(request(f"buy-{cycle}", portfolio_id=who, symbol=symbol))
        at = (await mesh.market.run(cycle, at + 4)).tape_sequence
        mesh.market.idle(at, cycle=cycle)


async def test_lists_are_cut_by_time_by_a_cursor_and_by_whose_they_are(mesh: Mesh) -> None:
    await trade(mesh)
    whole = await fills(mesh)
    assert whole == ["buy-1", "buy-2", "buy-3", "buy-4"]
    first = (await mesh.orders.ListExecutions(order_service_pb2.ListExecutionsRequest())).executions
    times = [each.transact_time for each in first]
    # The start counts, the end does not.
    assert await fills(mesh, start_time=times[1], end_time=times[3]) == ["buy-2", "buy-3"]
    assert await fills(mesh, start_time=times[1], portfolio_id="other") == ["buy-2", "buy-4"]
    assert await fills(mesh, end_time=times[3], symbol="MSFT") == ["buy-3"]
    assert await fills(mesh, start_time=times[3], order_id=first[0].order_id) == []
    assert await fills(mesh, after_sequence=first[1].sequence) == ["buy-3", "buy-4"]
    assert await fills(mesh, after_sequence=first[1].sequence, portfolio_id="trend") == ["buy-3"]
    assert await orders(mesh, after_sequence=first[1].sequence) == ["buy-4", "buy-3"]
    taken = (await mesh.orders.ListOrders(order_service_pb2.ListOrdersRequest())).orders
    since = next(each.basis_time for each in taken if each.client_order_id == "buy-3")
    assert await orders(mesh, start_time=since) == ["buy-4", "buy-3"]
    assert await orders(mesh, end_time=since, portfolio_id="trend", open_only=True) == ["rests"]
    assert await events(mesh) == list(range(1, 10))
    assert await events(mesh, portfolio_id="other") == [4, 5, 8, 9]
    assert await events(mesh, environment_id=ENVIRONMENT, after_sequence=5, symbol="MSFT") == [6, 7]
    assert await events(mesh, order_id=first[0].order_id) == [2, 3]
    assert await events(mesh, order_id=first[0].order_id, start_time=times[1]) == []


async def test_pages_survive_what_comes_in_between(mesh: Mesh) -> None:
    await trade(mesh)
    for fields in ({}, {"start_time": timestamp(OPEN)}):
        asked = order_service_pb2.ListOrderEventsRequest(page_size=4, **fields)
        page = await mesh.orders.ListOrderEvents(asked)
        told = [each.sequence for each in page.order_events]
        newest = order_service_pb2.ListOrdersRequest(page_size=2, **fields)
        orders_page = await mesh.orders.ListOrders(newest)
        seen = [each.client_order_id for each in orders_page.orders]
        late = f"late-{len(fields)}"
        placed = await mesh.orders.CreateOrder(limit(late))
        await mesh.orders.CancelOrder(cancel(placed.order_id))
        while page.next_page_token:
            asked.page_token = page.next_page_token
            page = await mesh.orders.ListOrderEvents(asked)
            told += [each.sequence for each in page.order_events]
        assert sorted(told) == list(range(1, placed.last_event_sequence + 2))
        while orders_page.next_page_token:
            newest.page_token = orders_page.next_page_token
            orders_page = await mesh.orders.ListOrders(newest)
            seen += [each.client_order_id for each in orders_page.orders]
        assert len(set(seen)) == len(seen)
        assert late not in seen
        assert {"rests", "buy-1", "buy-4"} <= set(seen)


async def test_what_cannot_be_listed_is_refused(mesh: Mesh) -> None:
    backwards = {"start_time": timestamp(OPEN + MINUTE), "end_time": timestamp(OPEN)}
    both = {"start_time": timestamp(OPEN), "after_sequence": 3}
    for fields in (backwards, both, {"after_sequence": -1}, {"page_token": "garbage"}):
        for asking in (orders, fills, events):
            error = await refused(asking(mesh, **fields))
            assert error.code is StatusCode.INVALID_ARGUMENT
    missing: ApiError = await refused(events(mesh, order_id=f"{ENVIRONMENT}-99"))
    assert missing.reason == "ORDER_NOT_FOUND"
