"""The order service on a real PostgreSQL: the same orders, events and recovery as on SQLite."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from services.chassis.storage.database import Database
from services.order import migrations
from tests.component.order.listed import check_lists, explained, fill
from tests.component.order.sessions import ENDS, Session, resting, until
from tests.component.order.support import Mesh, limit, request, running

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def mesh(url: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path, database_url=url) as each:
        await each.market.joined()
        yield each


async def test_orders_lists_streams_and_recovery(mesh: Mesh) -> None:
    orders = mesh.orders
    resting = [await orders.CreateOrder(limit(f"rest-{n}", "50.5")) for n in range(3)]
    by_cash = await orders.CreateOrder(request("cash", quantity="", cash_quantity="5000.123456789"))
    with pytest.raises(ApiError, match="buying_power"):
        await orders.CreateOrder(request("much", quantity="100000"))
    again = await asyncio.gather(*(orders.CreateOrder(limit("rest-0", "50.50")) for _ in range(20)))
    assert {order.order_id for order in again} == {resting[0].order_id}
    reached = await mesh.market.run(1, 9)
    canceled = await orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=resting[1].order_id))
    fills = await orders.ListExecutions(order_service_pb2.ListExecutionsRequest())
    assert [fill.order_id for fill in fills.executions] == [by_cash.order_id]
    page = await orders.ListOrders(order_service_pb2.ListOrdersRequest(page_size=2, portfolio_id="trend"))
    rest = await orders.ListOrders(
        order_service_pb2.ListOrdersRequest(page_size=10, portfolio_id="trend", page_token=page.next_page_token)
    )
    listed = [order.client_order_id for order in (*page.orders, *rest.orders)]
    assert listed == ["much", "cash", "rest-2", "rest-1", "rest-0"]
    events = await mesh.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))
    before = (await orders.ListOrders(order_service_pb2.ListOrdersRequest())).orders
    await mesh.stop()
    await mesh.start()
    join = await mesh.market.joined(at=reached.tape_sequence)
    assert (join.cycle, join.tape_sequence) == (1, reached.tape_sequence)
    assert await mesh.market.run(1, 9) == reached
    assert (await orders.ListOrders(order_service_pb2.ListOrdersRequest())).orders == before
    assert await mesh.events() == events
    assert (await mesh.get("rest-1")) == canceled
    open_only = await orders.ListOrders(order_service_pb2.ListOrdersRequest(open_only=True))
    assert {order.client_order_id for order in open_only.orders} == {"rest-0", "rest-2"}
    # The whole of the money is kept, to the last of the nine places.
    assert (await mesh.get("cash")).cash_quantity == "5000.123456789"


async def test_many_orders_at_once(mesh: Mesh) -> None:
    placed = await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"many-{n}", "1")) for n in range(200)))
    assert len({order.order_id for order in placed}) == 200
    events = await mesh.events()
    assert [event.sequence for event in events] == list(range(1, len(events) + 1))


async def test_a_sessions_orders_end_with_it_and_with_the_service(mesh: Mesh) -> None:
    first, second = Session(mesh.orders), Session(mesh.orders)
    await asyncio.gather(*(each.ask(*resting(name), options=ENDS) for each, name in ((first, "one"), (second, "two"))))
    first.break_off()

    async def ended(name: str) -> bool:
        return (await mesh.get(name)).cancel_reason == order_pb2.CancelReason.CANCEL_REASON_DISCONNECTED

    await until(lambda: ended("one"))
    assert not await ended("two")
    await asyncio.gather(mesh.stop(), second.fail())
    await mesh.start()
    await until(lambda: ended("two"))


async def test_every_list_is_what_fits_in_order_and_read_by_an_index(url: str) -> None:
    async with await Database.open(url, migrations) as database:
        stored = await fill(database)
        plans = explained(database)
        await check_lists(database, stored)
    assert not [plan for plan in plans if "Seq Scan" in plan or "Sort" in plan]
    for name in ("orders_by_", "orders_open", "order_events_by_", "order_events_fills"):
        assert any(name in plan for plan in plans), name
