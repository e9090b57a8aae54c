"""`cancel_on_disconnect`: no order outlives the session that created it, however that ends."""

import asyncio
from pathlib import Path

from grpc import StatusCode
from tickmesh.order.v1 import order_pb2, order_service_pb2

from tests.component.order.calls import how
from tests.component.order.sessions import (
    ENDS,
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
from tests.component.order.support import ENVIRONMENT, SEAT, Mesh, limit, request, running
from tests.component.order.turns import meanwhile, pending, still, submitted

STATE, REASON = order_pb2.OrderState, order_pb2.CancelReason
NEW = STATE.ORDER_STATE_NEW
DISCONNECTED = (STATE.ORDER_STATE_CANCELED, REASON.CANCEL_REASON_DISCONNECTED)


async def all_ended(mesh: Mesh, *client_order_ids: str) -> list[order_pb2.Order]:
    """Waits until all of them are there and none is open."""

    async def ended() -> list[order_pb2.Order]:
        orders = await asyncio.gather(*map(mesh.get, client_order_ids), return_exceptions=True)
        found = [each for each in orders if isinstance(each, order_pb2.Order)]
        return found if len(found) == len(orders) and all(each.state != NEW for each in found) else []

    return await until(ended)


async def open_orders(mesh: Mesh) -> set[str]:
    """The clients' ids of the orders that are open."""
    wanted = order_service_pb2.ListOrdersRequest(environment_id=ENVIRONMENT, open_only=True, page_size=1000)
    listed = await mesh.orders.ListOrders(wanted)
    return {order.client_order_id for order in listed.orders}


async def test_a_session_that_has_said_all_takes_its_open_orders_along(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    created = orders_of(await session.ask(*resting("a", "b"), options=ENDS))
    assert len({order.session_id for order in created}) == 1
    assert created[0].session_id
    await session.end()
    ended = await all_ended(mesh, "a", "b")
    assert [how(order) for order in ended] == [DISCONNECTED] * 2
    last = (await mesh.events())[-1]
    assert (last.cause, last.order.session_id) == ("disconnect", created[0].session_id)
    assert {order.order_id for order in ended} == {order.order_id for order in created}


async def test_a_session_that_breaks_takes_its_open_orders_along(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    await session.ask(*resting("a", "b"), options=ENDS)
    session.break_off()
    assert [how(order) for order in await all_ended(mesh, "a", "b")] == [DISCONNECTED] * 2


async def test_a_session_that_said_something_wrong_takes_its_open_orders_along(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    await session.ask(*resting("a"), options=ENDS)
    await session.send(options=ENDS)
    assert (await session.fail()).code is StatusCode.INVALID_ARGUMENT
    assert [how(order) for order in await all_ended(mesh, "a")] == [DISCONNECTED]


async def test_a_session_whose_deadline_passes_takes_its_open_orders_along(mesh: Mesh) -> None:
    session = Session(mesh.orders, timeout=5.0)
    await session.ask(*resting("a"), options=ENDS)
    assert (await session.fail()).code is StatusCode.DEADLINE_EXCEEDED
    assert [how(order) for order in await all_ended(mesh, "a")] == [DISCONNECTED]


async def test_a_session_that_breaks_while_it_reads_no_answers_takes_its_open_orders_along(mesh: Mesh) -> None:
    session, names = Session(mesh.orders), [f"n-{n}" for n in range(60)]
    wrong = [create(request("x" * 300, portfolio_id="x" * 300, symbol="x" * 300))] * 255

    async def send() -> None:
        for name in names:
            await session.call.write(Request(options=ENDS if name == "n-0" else None, commands=wrong + resting(name)))

    sending = asyncio.create_task(send())
    now = await until(lambda: still(mesh, lambda: open_orders(mesh))) or set()
    assert not sending.done()
    session.break_off()
    assert {how(order) for order in await all_ended(mesh, *now)} == {DISCONNECTED}
    await asyncio.wait({sending})
    assert sending.cancelled() or sending.exception()
    assert not await open_orders(mesh)


async def test_creates_that_are_on_their_way_when_it_breaks_are_canceled_too(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("before"))
    deciding, go_on = asyncio.Event(), asyncio.Event()

    async def hold() -> None:
        deciding.set()
        await go_on.wait()

    mesh.gate.before_answer = hold
    session = Session(mesh.orders)
    await session.send(*resting("a", "b"), options=ENDS)
    await asyncio.wait_for(deciding.wait(), 30)
    with submitted() as commands:
        await session.send(*resting("c"))
        await commands.get()
    session.break_off()
    await meanwhile(mesh)
    go_on.set()
    # What risk says next comes at once.
    mesh.gate.before_answer = None
    assert {how(order) for order in await all_ended(mesh, "a", "b", "c")} == {DISCONNECTED}
    assert await open_orders(mesh) == {"before"}


async def test_creates_that_wait_for_a_cycles_end_when_it_breaks_are_canceled_too(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("before"))
    await mesh.market.run(1, 5)
    session = Session(mesh.orders)
    with submitted() as commands:
        await session.send(*resting("a"), options=ENDS)
        await commands.get()
    session.break_off()
    await meanwhile(mesh)
    mesh.market.idle(5)
    assert [how(order) for order in await all_ended(mesh, "a")] == [DISCONNECTED]


async def test_creates_whose_portfolio_is_being_asked_for_when_it_breaks_leave_nothing_open(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    names = [f"n-{n}" for n in range(50)]
    # Of each the first is wrong, so that the second makes the order.
    pairs = [each for name in names for each in (create(limit(name, quantity="1.5")), *resting(name, price="1"))]
    await session.send(*pairs, options=ENDS)
    await asyncio.sleep(0.005)
    session.break_off()
    await mesh.orders.CreateOrder(limit("plain"))

    async def alone() -> bool:
        return await open_orders(mesh) == {"plain"}

    await until(alone)
    # Nor does one come later.
    await meanwhile(mesh)
    assert await alone()


async def test_orders_of_others_are_left_alone(mesh: Mesh) -> None:
    leaving, staying, careless = (Session(mesh.orders) for _ in range(3))
    await mesh.orders.CreateOrder(limit("plain"))
    await leaving.ask(*resting("mine"), options=ENDS)
    await staying.ask(*resting("theirs"), options=ENDS)
    await careless.ask(*resting("kept"), options=order_service_pb2.SessionOptions())
    # Who asks again for an order of somebody else does not own it.
    await leaving.ask(*resting("plain", "theirs", "kept"))
    await leaving.end()
    await careless.end()
    assert [how(order) for order in await all_ended(mesh, "mine")] == [DISCONNECTED]
    assert await open_orders(mesh) == {"plain", "theirs", "kept"}
    staying.break_off()
    await all_ended(mesh, "theirs")
    assert await open_orders(mesh) == {"plain", "kept"}
    assert [(await mesh.get(name)).session_id for name in ("plain", "kept")] == ["", ""]


async def test_what_has_filled_or_ended_meanwhile_stays_as_it_is(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    commands = [create(request("fills")), *resting("canceled", "open")]
    await session.ask(*commands, options=ENDS)
    await session.ask(cancel(client_order_id="canceled"))
    await mesh.market.run(1, 5)
    mesh.market.idle(5)
    before = await mesh.get("fills"), await mesh.get("canceled")
    assert [order.state for order in before] == [STATE.ORDER_STATE_FILLED, STATE.ORDER_STATE_CANCELED]
    session.break_off()
    await all_ended(mesh, "open")
    assert (await mesh.get("fills"), await mesh.get("canceled")) == before
    assert before[1].cancel_reason == REASON.CANCEL_REASON_REQUESTED


async def test_orders_end_while_risk_is_silent_and_while_time_does_not_move(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    await session.ask(*resting("a"), options=ENDS)
    mesh.gate.silent = True
    waiting = await pending(mesh, mesh.place(limit("waits"), 60))
    await mesh.market.run(1, 5)
    session.break_off()
    assert [how(order) for order in await all_ended(mesh, "a")] == [DISCONNECTED]
    assert not waiting.done()
    mesh.gate.silent = False
    mesh.market.idle(5)
    await waiting


async def test_a_strategys_orders_end_with_its_session(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    mine = {"deployment_id": "d", "strategy_id": "s", "basis_sequence": 5}
    session = Session(mesh.orders, metadata=SEAT)
    await session.ask(create(limit("1-5-1", **mine)), options=ENDS)
    session.break_off()
    (order,) = await all_ended(mesh, "1-5-1")
    assert (how(order), order.deployment_id) == (DISCONNECTED, "d")


async def test_a_drained_service_leaves_no_order_of_a_session_open(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    await mesh.orders.CreateOrder(limit("plain"))
    await session.ask(*resting("a", "b"), options=ENDS)
    await asyncio.gather(mesh.stop(), session.fail())
    await mesh.start()
    assert {how(order) for order in await all_ended(mesh, "a", "b")} == {DISCONNECTED}
    assert await open_orders(mesh) == {"plain"}
    assert len(await mesh.events()) == 5


async def test_a_killed_service_cancels_them_before_anything_else_happens_to_them(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.spawn()
        await mesh.market.joined()
        session = Session(mesh.orders)
        await mesh.place(limit("plain"))
        created = orders_of(await session.ask(*resting("a", "b"), create(request("market")), options=ENDS))
        for batch in many(700, "flood"):
            await session.send(*batch)
        await session.at_least(103)
        assert mesh.process is not None
        mesh.process.kill()
        assert (await session.fail()).code is StatusCode.UNAVAILABLE
        assert await mesh.died() < 0
        mesh.spawn()
        await mesh.ready()
        join = await mesh.market.joined()
        # The venue would fill it with the next record.
        await mesh.market.run(1, join.tape_sequence + 4)
        mesh.market.idle(join.tape_sequence + 4)
        acknowledged = {ack.client_order_id: ack.order for ack in session.acks}
        assert len(acknowledged) >= 103
        for order in (*created, *acknowledged.values()):
            now = await mesh.get(order.client_order_id)
            assert (now.order_id, how(now)) == (order.order_id, DISCONNECTED)
        assert await open_orders(mesh) == {"plain"}
        again = Session(mesh.orders)
        repeats = await again.ask(*resting("a"), create(request("market")), create(limit("b", "51")))
        assert [order.order_id for order in orders_of(repeats[:2])] == [created[0].order_id, created[2].order_id]
        assert error_of(repeats[2]).reason == "CLIENT_ORDER_ID_REUSED"
        await again.end()
