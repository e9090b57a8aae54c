"""Sessions of orders through the edge: any client, and whoever is killed in their midst."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest
from grpc import StatusCode
from grpclib.client import Channel
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh_api.tickmesh.order import v1 as sdk

from services.chassis.calls.channel import connect
from tests.component.order.sessions import (
    ENDS,
    Command,
    Session,
    cancel,
    error_of,
    in_messages,
    orders_of,
    resting,
    until,
)
from tests.e2e.front import Front, open_edge, standing
from tests.e2e.world import FILLED, PORTFOLIO, get, order, populate, post
from tests.nursery import Nursery

pytestmark = pytest.mark.timeout(240)

STATE, REASON = order_pb2.OrderState, order_pb2.CancelReason
DISCONNECTED = (STATE.ORDER_STATE_CANCELED, REASON.CANCEL_REASON_DISCONNECTED)
LIMIT = {"order_type": "ORDER_TYPE_LIMIT", "limit_price": "1.5"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, prepared: Path, nursery: Nursery) -> Iterator[Front]:
    with standing(tmp_path_factory.mktemp("sessions"), prepared, nursery, heartbeat_seconds="1") as made:
        populate(made)
        yield made


@pytest.fixture
async def orders(front: Front) -> AsyncIterator[OrderServiceStub]:
    """A client at the edge."""
    async with connect(front.mesh.addresses["edge"]) as channel:
        yield OrderServiceStub(channel)


def create(name: str, count: int) -> list[Command]:
    """Commands for orders that rest."""
    return resting(*(f"{name}-{number}" for number in range(count)), price="1.5", quantity="1")


async def listed(orders: OrderServiceStub, name: str) -> dict[str, order_pb2.Order]:
    """The orders there are, by the client's ids, none of which is there twice."""
    request = order_service_pb2.ListOrdersRequest(portfolio_id=PORTFOLIO, page_size=1000)
    every = (await orders.ListOrders(request, wait_for_ready=True)).orders
    found = [each for each in every if each.client_order_id.startswith(f"{name}-")]
    by_name = {each.client_order_id: each for each in found}
    assert len(by_name) == len(found)
    return by_name


async def persist(orders: OrderServiceStub, commands: list[Command]) -> dict[str, order_pb2.Order]:
    """Repeats what was not answered, in new sessions, until all is; as a client does that lost its session."""
    told: dict[str, order_pb2.Order] = {}

    async def answered() -> bool:
        session = Session(orders)
        left = [each for each in commands if each.create.client_order_id not in told]
        for message in in_messages(left):
            await session.send(*message)
        for ack in await session.end():
            if ack.HasField("order"):
                told[ack.client_order_id] = ack.order
            else:
                assert error_of(ack).code is StatusCode.UNAVAILABLE
        return len(told) == len(commands)

    await until(answered, 60)
    return told


async def test_rule_2_what_a_session_acknowledged_survives_kill_9_and_ends_with_it(
    front: Front, orders: OrderServiceStub
) -> None:
    session, commands = Session(orders), create("killed", 500)
    plain = Session(orders)
    kept = orders_of(await plain.ask(*create("kept", 1)))[0]
    await session.send(*commands[:100], options=ENDS)
    await session.at_least(1)
    await session.send(*commands[100:300])
    await session.send(*commands[300:])
    await session.at_least(150)
    await asyncio.to_thread(front.mesh.kill, "order")
    errors = await asyncio.gather(session.fail(), plain.fail())
    assert {error.code for error in errors} == {StatusCode.UNAVAILABLE}
    await front.mesh.serving(["order"])
    acknowledged = {ack.client_order_id: ack.order for ack in session.acks}
    assert len(acknowledged) >= 150

    async def ended() -> dict[str, order_pb2.Order]:
        found = await listed(orders, "killed")
        return found if all(each.state != STATE.ORDER_STATE_NEW for each in found.values()) else {}

    found = await until(ended)
    assert acknowledged.keys() <= found.keys()
    for name, now in found.items():
        assert (now.state, now.cancel_reason) == DISCONNECTED
        assert now.order_id == acknowledged.get(name, now).order_id
    request = order_service_pb2.GetOrderRequest(order_id=kept.order_id)
    assert await orders.GetOrder(request) == kept
    # What was there is answered as it is; the rest comes in now, and nothing twice.
    told = await persist(orders, commands)
    assert {name: each for name, each in told.items() if name in found} == found
    assert {each.state for name, each in told.items() if name not in found} <= {STATE.ORDER_STATE_NEW}
    assert await listed(orders, "killed") == told
    closing_up = Session(orders)
    late = [name for name in told if name not in found]
    for message in in_messages([cancel(client_order_id=name) for name in ("kept-0", *late)]):
        acks = await closing_up.ask(*message)
        assert {each.cancel_reason for each in orders_of(acks)} == {REASON.CANCEL_REASON_REQUESTED}
    await closing_up.end()


async def test_orders_end_with_their_session_when_the_edge_is_killed(front: Front, orders: OrderServiceStub) -> None:
    session = Session(orders)
    await session.ask(*create("edge", 20), options=ENDS)
    await asyncio.to_thread(front.mesh.kill, "edge")
    assert (await session.fail()).code is StatusCode.UNAVAILABLE
    await asyncio.to_thread(open_edge, front)

    async def ended() -> bool:
        found = await listed(orders, "edge")
        assert len(found) == 20
        return {(each.state, each.cancel_reason) for each in found.values()} == {DISCONNECTED}

    await until(ended)


async def test_a_quiet_session_stays_open_at_the_edge(orders: OrderServiceStub) -> None:
    session = Session(orders)
    for _ in range(2):
        await session.heartbeat()
    assert orders_of(await session.ask(*create("quiet", 1)))[0].state == STATE.ORDER_STATE_NEW
    await session.ask(cancel(client_order_id="quiet-0", portfolio_id=PORTFOLIO))
    await session.end()


def test_a_cancel_over_rest_names_its_order_as_the_client_does(front: Front) -> None:
    made = post(front, "/orders", order("by-name-1", **LIMIT))
    named = {"portfolio_id": PORTFOLIO, "orig_client_order_id": "by-name-1"}
    first, again = (post(front, "/orders:cancelByClientOrderId", named) for _ in range(2))
    assert (first["order_id"], first["state"]) == (made["order_id"], "ORDER_STATE_CANCELED")
    assert again == first


def test_grpcurl_holds_a_session(front: Front, tool: Callable[[str], str]) -> None:
    messages = [
        {"options": {"cancel_on_disconnect": True}, "commands": [{"create": order("grpcurl-1", **LIMIT)}]},
        {"commands": [{"create": order("grpcurl-2", quantity="1.5")}, {"cancel": {"order_id": FILLED}}]},
    ]
    method = "tickmesh.order.v1.OrderService/EnterOrders"
    done = subprocess.run(
        [tool("grpcurl"), "-plaintext", "-d", "@", front.mesh.addresses["edge"], method],
        input="\n".join(map(json.dumps, messages)),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    acks = {ack["number"]: ack for each in _messages(done.stdout) for ack in each["acks"]["acks"]}
    assert acks["1"]["order"]["state"] == "ORDER_STATE_NEW"
    reasons = [acks[number]["error"]["details"][0]["reason"] for number in "23"]
    assert reasons == ["OFF_INCREMENT", "ORDER_ENDED"]
    query = {"portfolio_id": PORTFOLIO, "client_order_id": "grpcurl-1"}
    while (found := get(front, "/orders:byClientOrderId", **query))["state"] == "ORDER_STATE_NEW":
        pass
    assert (found["state"], found["cancel_reason"]) == ("ORDER_STATE_CANCELED", "CANCEL_REASON_DISCONNECTED")


def _messages(text: str) -> Iterator[dict[str, object]]:
    """JSON texts one after the other."""
    decoder, at = json.JSONDecoder(), 0
    while at < len(text.rstrip()):
        message, at = decoder.raw_decode(text, at)
        yield message
        at += len(text[at:]) - len(text[at:].lstrip())


async def test_the_generated_python_client_holds_a_session(front: Front) -> None:
    host, _, port = front.mesh.addresses["edge"].rpartition(":")
    heard: asyncio.Queue[sdk.OrderAck] = asyncio.Queue()
    said: list[sdk.OrderAck] = []
    wanted = sdk.CreateOrderRequest().from_dict({**order("client-1", **LIMIT), "quantity": "5"})

    async def commands() -> AsyncIterator[sdk.EnterOrdersRequest]:
        yield sdk.EnterOrdersRequest(commands=[sdk.OrderCommand(create=wanted)])
        said.append(await heard.get())
        named = sdk.CancelOrderRequest(portfolio_id=PORTFOLIO, orig_client_order_id="client-1")
        yield sdk.EnterOrdersRequest(commands=[sdk.OrderCommand(cancel=named)])

    with closing(Channel(host, int(port))) as channel:
        async for message in sdk.OrderServiceStub(channel).enter_orders(commands()):
            for ack in message.acks.acks if message.acks else ():
                heard.put_nowait(ack)
    said.append(heard.get_nowait())
    assert [(ack.number, ack.client_order_id, ack.error) for ack in said] == [
        (1, "client-1", None),
        (2, "client-1", None),
    ]
    states = [ack.order.state for ack in said if ack.order is not None]
    assert states == [sdk.OrderState.NEW, sdk.OrderState.CANCELED]
