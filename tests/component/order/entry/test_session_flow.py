"""How much of a session is under way at once, and how it goes on or ends when somebody else does not."""

import asyncio

from grpc import StatusCode
from tickmesh.order.v1 import order_pb2, order_service_pb2

from tests.component.order.sessions import (
    Request,
    Session,
    cancel,
    create,
    error_of,
    many,
    orders_of,
    resting,
    until,
)
from tests.component.order.support import ENVIRONMENT, Mesh, limit, request, start_peer, stop_peer
from tests.component.order.turns import still

STATE = order_pb2.OrderState


async def placed(mesh: Mesh) -> int:
    """How many orders there are."""
    newest = await mesh.orders.ListOrders(order_service_pb2.ListOrdersRequest(environment_id=ENVIRONMENT, page_size=1))
    return int(newest.orders[0].order_id.rpartition("-")[2]) if newest.orders else 0


async def test_a_client_that_has_said_all_gets_all_answers_and_then_the_end(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    for batch in many(600):
        await session.send(*batch)
    assert len(orders_of(await session.end())) == 600
    silent = Session(mesh.orders)
    assert await silent.end() == []


async def test_a_client_that_reads_no_answers_is_read_no_further_and_loses_none(mesh: Mesh) -> None:
    session, messages = Session(mesh.orders), 60
    # A refusal's answer is long. One order in each message shows how far the service has read.
    wrong = [create(request("x" * 300, portfolio_id="x" * 300, symbol="x" * 300))] * 255

    async def send() -> None:
        for number in range(messages):
            await session.call.write(Request(commands=[*wrong, *resting(f"n-{number}")]))

    sending = asyncio.create_task(send())
    # 1,024 commands are 4 messages; the others' answers, 8 MB at most, are on their way in HTTP/2's windows.
    assert 4 <= (await until(lambda: still(mesh, lambda: placed(mesh))) or 0) < messages - 20
    assert not sending.done()
    # Nobody else waits for it.
    assert (await mesh.orders.CreateOrder(limit("other"), timeout=20)).state == STATE.ORDER_STATE_NEW
    answers = await session.answers(256 * messages)
    await sending
    session.sent = 256 * messages
    assert [ack.number for ack in answers if ack.HasField("order")] == [256 * n for n in range(1, messages + 1)]
    assert await session.end() == answers
    assert session.largest < 4 * 1024 * 1024


async def test_refusals_of_the_longest_kind_fit_into_messages(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    wrong = order_service_pb2.CreateOrderRequest(client_order_id="ä" * 300, portfolio_id="ä" * 300, symbol="ä" * 300)
    for _ in range(5):
        await session.send(*[create(wrong)] * 256)
    assert {error_of(ack).code for ack in await session.end()} == {StatusCode.INVALID_ARGUMENT}
    assert session.largest < 4 * 1024 * 1024


async def test_a_quiet_session_hears_that_it_is_alive(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    await session.heartbeat()
    await session.ask(*resting("a"))
    await session.heartbeat()
    await session.end()


async def test_a_drained_service_answers_what_it_has_read_and_ends_its_sessions_unavailable(mesh: Mesh) -> None:
    busy, quiet = Session(mesh.orders), Session(mesh.orders)
    await quiet.heartbeat()
    for batch in many(500):
        await busy.send(*batch)
    stopping = asyncio.create_task(mesh.stop())
    errors = await asyncio.gather(busy.fail(), quiet.fail())
    await stopping
    assert [(error.code, error.reason) for error in errors] == [(StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")] * 2
    told = {order.client_order_id: order for order in orders_of(busy.acks)}
    await mesh.start()
    await mesh.market.joined()
    again = Session(mesh.orders)
    for batch in many(500):
        await again.send(*batch)
    orders = orders_of(await again.end())
    assert len({order.order_id for order in orders}) == await placed(mesh) == 500
    assert all(told.get(order.client_order_id, order) == order for order in orders)


async def test_commands_behind_one_that_cannot_be_looked_up_get_their_answers(mesh: Mesh) -> None:
    resting_order = await mesh.orders.CreateOrder(limit("a"))
    await stop_peer(mesh, "portfolio")
    session = Session(mesh.orders)
    unknown = [create(limit(f"o-{n}", portfolio_id="other")) for n in range(20)]
    async with asyncio.timeout(8):
        acks = await session.ask(*unknown, cancel(resting_order.order_id), *resting("b"))
    # They asked once, all together, and who asks nothing of the absent did not wait for them.
    assert session.acks[0].number == 21
    assert {error_of(ack).code for ack in acks[:20]} == {StatusCode.UNAVAILABLE}
    assert orders_of(acks[20:])[0].state == STATE.ORDER_STATE_CANCELED
    await start_peer(mesh, "portfolio")
    assert len(orders_of(await session.ask(*unknown))) == 20
    await session.end()
