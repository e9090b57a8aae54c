"""Sessions: many commands in one stream, each acknowledged as its own call would be answered."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.order.v1 import order_pb2, order_service_pb2

from tests.component.order.calls import refused
from tests.component.order.sessions import Command, Request, Session, cancel, create, error_of, orders_of, resting, said
from tests.component.order.support import SEAT, Mesh, limit, request

STATE = order_pb2.OrderState
ANY = order_service_pb2.SessionOptions()


def as_bytes(mesh: Mesh) -> Any:
    """A stub that also sends what is no message."""
    method = mesh.channel.stream_stream(
        "/tickmesh.order.v1.OrderService/EnterOrders",
        request_serializer=lambda each: each if isinstance(each, bytes) else each.SerializeToString(),
        response_deserializer=order_service_pb2.EnterOrdersResponse.FromString,
    )
    return SimpleNamespace(EnterOrders=method)


async def test_every_command_of_a_message_is_acknowledged_by_its_number(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    first = await session.ask(*resting("a", "b", "c"))
    second = await session.ask(*resting("d"), cancel(client_order_id="b"))
    assert [(ack.number, ack.client_order_id) for ack in (*first, *second)] == [
        (1, "a"),
        (2, "b"),
        (3, "c"),
        (4, "d"),
        (5, "b"),
    ]
    assert [order.order_id for order in orders_of(first)] == ["replay-1-1", "replay-1-2", "replay-1-3"]
    assert orders_of(second)[1].state == STATE.ORDER_STATE_CANCELED
    for name, order in zip("acdb", orders_of([first[0], first[2], *second]), strict=True):
        assert await mesh.get(name) == order
    assert await session.end()


WRONG: dict[str, Callable[[Any], Any]] = {
    "no quantity": lambda _: request("wrong", quantity=""),
    "no side": lambda _: request("wrong", side=0),
    "10 kB id": lambda _: request("x" * 10_000),
    "deployment's id": lambda _: request("1-2-3"),
    "off increment": lambda _: request("wrong", quantity="1.5"),
    "no portfolio": lambda _: request("wrong", portfolio_id="nobody"),
    "no instrument": lambda _: request("wrong", symbol="NONE"),
    "other tape": lambda _: request("wrong", symbol="IBM"),
    "beyond cash": lambda _: request("wrong", quantity="2000"),
    "id used": lambda _: limit("before", "51"),
    "no seat": lambda _: request("wrong", deployment_id="d", strategy_id="s", basis_sequence=3),
    "no order": lambda _: order_service_pb2.CancelOrderRequest(order_id="replay-1-99"),
    "no order of the client": lambda _: cancel(client_order_id="nobody").cancel,
    "no name": lambda _: order_service_pb2.CancelOrderRequest(),
    "two names": lambda _: order_service_pb2.CancelOrderRequest(
        order_id="replay-1-1", portfolio_id="trend", orig_client_order_id="before"
    ),
    "half a name": lambda _: order_service_pb2.CancelOrderRequest(portfolio_id="trend"),
    "10 kB name": lambda _: cancel(client_order_id="x" * 10_000).cancel,
    "ended": lambda filled: order_service_pb2.CancelOrderRequest(order_id=filled.order_id),
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG.keys())
async def test_a_wrong_command_among_right_ones_gets_the_error_that_its_own_call_gets(
    mesh: Mesh, wrong: Callable[[Any], Any]
) -> None:
    filled = await mesh.orders.CreateOrder(request("filled"))
    await mesh.orders.CreateOrder(limit("before"))
    await mesh.market.run(1, 5)
    mesh.market.idle(5)
    bad = wrong(filled)
    is_create = isinstance(bad, order_service_pb2.CreateOrderRequest)
    session = Session(mesh.orders)
    acks = await session.ask(*resting("a"), create(bad) if is_create else Command(cancel=bad), *resting("b"))
    by_itself = await refused((mesh.orders.CreateOrder if is_create else mesh.orders.CancelOrder)(bad))
    assert said(error_of(acks[1])) == said(by_itself)
    named = bad.client_order_id if is_create else bad.orig_client_order_id
    assert acks[1].client_order_id == named[:64]
    assert [order.client_order_id for order in orders_of([acks[0], acks[2]])] == ["a", "b"]
    await session.end()


async def test_a_wrong_command_consumes_nothing(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    wrong = [request("a", quantity="1.5"), request("a", side=0), request("a", symbol="NONE"), request("1-2-3")]
    acks = await session.ask(*map(create, wrong), Command(), cancel(), cancel("replay-1-1"))
    assert all(error_of(ack) for ack in acks)
    assert not await mesh.events()
    assert orders_of(await session.ask(*resting("a")))[0].order_id == "replay-1-1"
    await session.end()


async def test_an_empty_command_is_an_invalid_argument(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    acks = await session.ask(*resting("a"), Command(), *resting("b"))
    error = error_of(acks[1])
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert [violation.field for violation in error.field_violations] == ["command"]
    assert len(orders_of([acks[0], acks[2]])) == 2
    await session.end()


async def test_a_cancel_in_the_message_of_its_create_waits_for_it(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    names = [f"n-{n}" for n in range(40)]
    pairs = zip(resting(*names), (cancel(client_order_id=each) for each in names), strict=True)
    acks = await session.ask(*(command for pair in pairs for command in pair))
    created, canceled = orders_of(acks[::2]), orders_of(acks[1::2])
    assert {order.state for order in created} == {STATE.ORDER_STATE_NEW}
    assert {order.state for order in canceled} == {STATE.ORDER_STATE_CANCELED}
    assert [order.order_id for order in canceled] == [order.order_id for order in created]
    await session.end()


async def test_a_cancel_of_an_order_that_was_refused_meanwhile_says_so(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    both = [create(request("much", quantity="5000")), cancel(client_order_id="much")]
    never = [create(request("never", quantity="1.5")), cancel(client_order_id="never")]
    errors = [error_of(ack) for ack in await session.ask(*both, *never)]
    reasons = ["INSUFFICIENT_BUYING_POWER", "ORDER_ENDED", "OFF_INCREMENT", "ORDER_NOT_FOUND"]
    assert [error.reason for error in errors] == reasons
    assert errors[1].metadata["state"] == "REJECTED"
    await session.end()


async def test_a_cancel_overtakes_creates_that_wait_for_risk(mesh: Mesh) -> None:
    session = Session(mesh.orders)
    await session.ask(*resting("a"))
    mesh.gate.silent = True
    await session.send(*resting("waits"), cancel(client_order_id="a"))
    (ack,) = await session.answers(1)
    assert (ack.number, ack.order.state) == (3, STATE.ORDER_STATE_CANCELED)
    (late,) = await session.answers(1)
    assert (late.number, error_of(late).reason) == (2, "RISK_UNAVAILABLE")
    mesh.gate.silent = False
    await session.end()


async def test_a_cancel_names_its_order_by_id_or_as_the_client_does(mesh: Mesh) -> None:
    first, second = [await mesh.orders.CreateOrder(limit(name)) for name in ("a", "b")]
    session = Session(mesh.orders)
    acks = await session.ask(cancel(first.order_id), cancel(client_order_id="b"), cancel(client_order_id="b"))
    assert [order.order_id for order in orders_of(acks)] == [first.order_id, second.order_id, second.order_id]
    assert [ack.client_order_id for ack in acks] == ["", "b", "b"]
    await session.end()
    third = await mesh.orders.CreateOrder(limit("c"))
    by_name = order_service_pb2.CancelOrderRequest(portfolio_id="trend", orig_client_order_id="c")
    canceled = await mesh.orders.CancelOrder(by_name)
    assert (canceled.order_id, canceled.state) == (third.order_id, STATE.ORDER_STATE_CANCELED)
    assert await mesh.orders.CancelOrder(by_name) == canceled


async def test_a_repeat_is_the_same_order_in_this_session_in_another_and_in_a_call(mesh: Mesh) -> None:
    first, second = Session(mesh.orders), Session(mesh.orders)
    twice = await first.ask(*resting("a", "a"))
    asked = [first.ask(*resting("b")), second.ask(*resting("b")), mesh.orders.CreateOrder(limit("b"))]
    mine, theirs, plain = await asyncio.gather(*asked)
    again = await second.ask(*resting("a", "b"))
    by_call = [await mesh.orders.CreateOrder(limit(name)) for name in "ab"]
    told = [*orders_of(twice), *orders_of(again)[:1], by_call[0]]
    assert {order.order_id for order in told} == {by_call[0].order_id}
    told = [*orders_of(mine), *orders_of(theirs), plain, *orders_of(again)[1:], by_call[1]]
    assert {order.order_id for order in told} == {by_call[1].order_id}
    assert len(await mesh.events()) == 2
    other = await second.ask(create(limit("a", "51")))
    assert error_of(other[0]).reason == "CLIENT_ORDER_ID_REUSED"
    await asyncio.gather(first.end(), second.end())


@pytest.mark.parametrize("wrong", [Request(options=ANY), b"\xff\xff", Request(commands=resting("a") * 257)])
async def test_a_wrong_message_ends_the_session_after_all_answers(mesh: Mesh, wrong: Any) -> None:
    session = Session(as_bytes(mesh))
    names = [f"n-{n}" for n in range(100)]
    await session.send(*resting(*names), options=ANY)
    await session.call.write(wrong)
    error = await session.fail()
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert sorted(order.client_order_id for order in orders_of(session.acks)) == sorted(names)
    assert len(await mesh.events()) == 100


async def test_a_strategy_commands_by_session_with_its_seat_token(mesh: Mesh) -> None:
    await mesh.market.run(1, 5)
    mine = {"deployment_id": "d", "strategy_id": "s", "basis_sequence": 5}
    outside, seated = Session(mesh.orders), Session(mesh.orders, metadata=SEAT)
    (ack,) = await outside.ask(create(request("1-5-1", **mine)))
    assert (error_of(ack).code, error_of(ack).reason) == (StatusCode.PERMISSION_DENIED, "SEAT_TOKEN_INVALID")
    # Inside of its cycle, in which others wait.
    stale = request("1-4-1", **(mine | {"basis_sequence": 4}))
    acks = await seated.ask(create(request("1-5-1", **mine)), create(stale), cancel(client_order_id="1-5-1"))
    assert (acks[0].order.deployment_id, acks[0].order.basis_sequence) == ("d", 5)
    assert (error_of(acks[1]).code, error_of(acks[1]).reason) == (StatusCode.ABORTED, "BASIS_STALE")
    assert acks[2].order.state == STATE.ORDER_STATE_CANCELED
    await outside.send(*resting("waits"))
    mesh.market.idle(5)
    assert orders_of(await outside.answers(1))[0].client_order_id == "waits"
    await asyncio.gather(outside.end(), seated.end())
