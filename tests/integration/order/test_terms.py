"""New terms, many cancels, and positions on a real PostgreSQL: the same as on SQLite."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tickmesh.order.v1 import order_pb2

from tests.component.order.calls import cancel_all, close, hold, refused, replace
from tests.component.order.support import Mesh, limit, request, running

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
async def mesh(url: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path, database_url=url) as each:
        await each.market.joined()
        yield each


async def test_terms_requests_and_positions_are_there_after_a_restart(mesh: Mesh) -> None:
    await hold(mesh)
    order_id, request_id = (await mesh.orders.CreateOrder(limit("a"))).order_id, str(uuid.uuid4())
    once = replace(order_id, quantity="20", request_id=request_id)
    answers = await asyncio.gather(*(mesh.orders.ReplaceOrder(once) for _ in range(20)))
    assert {each.quantity for each in answers} == {"20"}
    await mesh.orders.ReplaceOrder(replace(order_id, limit_price="51.0001"))
    await mesh.stop()
    await mesh.start()
    await mesh.market.joined()
    again = await mesh.orders.ReplaceOrder(once)
    assert (again.quantity, again.limit_price, again.event_count) == ("20", "51.0001", 3)
    assert (await refused(mesh.orders.ReplaceOrder(replace(order_id, quantity="9", request_id=request_id)))).reason == (
        "REQUEST_ID_REUSED"
    )
    closing = await mesh.orders.ClosePosition(close("closing"))
    assert (closing.quantity, closing.reduce_only) == ("10", True)
    await mesh.market.run(2, 8)
    mesh.market.idle(8)
    assert (await mesh.get("closing")).state == order_pb2.ORDER_STATE_FILLED
    assert (await refused(mesh.orders.ClosePosition(close("again")))).reason == "POSITION_NOT_FOUND"
    await mesh.orders.CreateOrder(request("b", order_type=order_pb2.ORDER_TYPE_STOP, stop_price="900", quantity="1"))
    swept = await mesh.orders.BatchCancelOrders(cancel_all())
    assert (swept.count, swept.more) == (2, False)
