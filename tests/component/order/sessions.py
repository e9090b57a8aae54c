"""A client's side of `EnterOrders`: it sends commands, and holds every answer against what it sent."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import grpc
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub

from services.chassis.errors import ApiError
from tests.component.order.support import limit

Request, Command = order_service_pb2.EnterOrdersRequest, order_service_pb2.OrderCommand
T = TypeVar("T")
Ack = order_service_pb2.OrderAck
# Nothing takes so long: it is how long a test hangs that waits for what never comes.
SECONDS = 60.0
ENDS = order_service_pb2.SessionOptions(cancel_on_disconnect=True)


def create(order: order_service_pb2.CreateOrderRequest) -> Command:
    """A command to create an order."""
    return Command(create=order)


def resting(*client_order_ids: str, **values: Any) -> list[Command]:
    """Commands to create orders that rest."""
    return [create(limit(each, **values)) for each in client_order_ids]


def cancel(order_id: str = "", client_order_id: str = "", portfolio_id: str = "trend") -> Command:
    """A command to cancel an order, by its id or else by the client's."""
    request = order_service_pb2.CancelOrderRequest(order_id=order_id)
    if client_order_id:
        request.portfolio_id, request.orig_client_order_id = portfolio_id, client_order_id
    return Command(cancel=request)


class Session:
    """One session.

    Attributes:
        sent: how many commands it sent.
        acks: all that were read, in the order they came.
        heartbeats: how many messages said nothing new.
        largest: bytes of the largest message that was read.
    """

    def __init__(self, orders: OrderServiceStub, **call: Any) -> None:
        self.call: Any = orders.EnterOrders(**call)
        self.sent = 0
        self.acks: list[Ack] = []
        self.heartbeats = 0
        self.largest = 0

    async def send(self, *commands: Command, options: order_service_pb2.SessionOptions | None = None) -> None:
        """Sends commands as one message."""
        async with asyncio.timeout(SECONDS):
            await self.call.write(Request(options=options, commands=commands))
        self.sent += len(commands)

    async def answers(self, count: int) -> list[Ack]:
        """The next so many acknowledgements, in the order of their commands."""
        before = len(self.acks)
        await self.at_least(before + count)
        assert len(self.acks) == before + count
        return sorted(self.acks[before:], key=lambda ack: ack.number)

    async def at_least(self, count: int) -> None:
        """Reads until there are so many acknowledgements."""
        async with asyncio.timeout(SECONDS):
            while len(self.acks) < count:
                assert await self._read(), "the session ended early"

    async def ask(self, *commands: Command, options: order_service_pb2.SessionOptions | None = None) -> list[Ack]:
        """Sends commands, and waits for their acknowledgements."""
        await self.send(*commands, options=options)
        return await self.answers(len(commands))

    async def end(self) -> list[Ack]:
        """Says that there is nothing more to come, and reads until the end: every command is acknowledged once."""
        await self.call.done_writing()
        async with asyncio.timeout(SECONDS):
            while await self._read():
                pass
        assert sorted(ack.number for ack in self.acks) == list(range(1, self.sent + 1))
        return sorted(self.acks, key=lambda ack: ack.number)

    async def fail(self) -> ApiError:
        """Reads until the session fails; its error."""
        try:
            async with asyncio.timeout(SECONDS):
                while await self._read():
                    pass
        except ApiError as error:
            return error
        raise AssertionError("the session did not fail")

    async def heartbeat(self) -> None:
        """Waits for a message that says nothing new."""
        before = self.heartbeats
        async with asyncio.timeout(SECONDS):
            while self.heartbeats == before:
                assert await self._read()

    def break_off(self) -> None:
        """Is gone, as a client that died."""
        self.call.cancel()

    async def _read(self) -> bool:
        message = await self.call.read()
        if message is grpc.aio.EOF:
            return False
        if message.HasField("heartbeat"):
            self.heartbeats += 1
        else:
            assert message.acks.acks, "a message of acknowledgements has some"
            self.acks += message.acks.acks
            self.largest = max(self.largest, message.ByteSize())
        return True


def orders_of(acks: list[Ack]) -> list[order_pb2.Order]:
    """The orders that commands came to; none of them failed."""
    assert all(ack.HasField("order") for ack in acks), [ack for ack in acks if not ack.HasField("order")]
    return [ack.order for ack in acks]


def error_of(ack: Ack) -> ApiError:
    """What a command was refused with, as a call of its own would have raised it."""
    assert ack.HasField("error"), ack
    return ApiError.from_status(ack.error)


def said(error: ApiError) -> tuple[Any, ...]:
    """All that an error says."""
    told = (error.code, error.reason, error.message, error.metadata, error.retry_delay)
    return (*told, error.field_violations, error.precondition_violations, error.resource)


def in_messages(commands: list[Command]) -> list[list[Command]]:
    """Commands in messages, as many in each as there may be."""
    return [commands[start : start + 256] for start in range(0, len(commands), 256)]


def many(count: int, name: str = "n") -> list[list[Command]]:
    """Messages of commands which create orders that rest."""
    return in_messages(resting(*(f"{name}-{number}" for number in range(count)), price="1"))


async def until(found: Callable[[], Awaitable[T]], seconds: float = SECONDS) -> T:
    """What is found, once it is."""
    async with asyncio.timeout(seconds):
        while not (answer := await found()):  # noqa: ASYNC110 another process tells no event
            await asyncio.sleep(0.02)
    return answer
