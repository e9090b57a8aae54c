"""A session as a client holds it that has many things to do at once: a call of each, answered as its own would be."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub

from services.chassis.errors import ApiError

LOST = ApiError.unavailable("SERVICE_UNAVAILABLE", "The session has ended.")


class Entry:
    """Calls that travel in one session; those without an answer fail when it ends, and then all to come."""

    def __init__(self, call: Any, *, cancel_on_disconnect: bool = False) -> None:
        self._call = call
        self._options = order_service_pb2.SessionOptions(cancel_on_disconnect=cancel_on_disconnect)
        self._waiting: dict[int, asyncio.Future[order_service_pb2.OrderAck]] = {}
        self._count = 0
        self._writing = asyncio.Lock()
        self._ended: ApiError | None = None

    async def create(
        self,
        request: order_service_pb2.CreateOrderRequest,
        timeout: float,  # noqa: ASYNC109 a stub's own parameter
    ) -> order_pb2.Order:
        """As `CreateOrder`."""
        return (await self._ask(order_service_pb2.OrderCommand(create=request), timeout)).order

    async def create_list(
        self,
        request: order_list_pb2.CreateOrderListRequest,
        timeout: float,  # noqa: ASYNC109 as above
    ) -> order_list_pb2.OrderList:
        """As `CreateOrderList`."""
        return (await self._ask(order_service_pb2.OrderCommand(create_list=request), timeout)).order_list

    async def cancel(
        self,
        request: order_service_pb2.CancelOrderRequest,
        timeout: float,  # noqa: ASYNC109 as above
    ) -> order_pb2.Order:
        """As `CancelOrder`."""
        return (await self._ask(order_service_pb2.OrderCommand(cancel=request), timeout)).order

    async def replace(
        self,
        request: order_service_pb2.ReplaceOrderRequest,
        timeout: float,  # noqa: ASYNC109 as above
    ) -> order_pb2.Order:
        """As `ReplaceOrder`."""
        return (await self._ask(order_service_pb2.OrderCommand(replace=request), timeout)).order

    async def read(self) -> None:
        """Hands out answers until the session ends."""
        try:
            async for message in self._call:
                for ack in message.acks.acks:
                    answer = self._waiting.pop(ack.number)
                    if not answer.done():
                        answer.set_result(ack)
        except ApiError as error:
            self._end(error)
        else:
            self._end(LOST)

    async def _ask(self, command: order_service_pb2.OrderCommand, seconds: float) -> order_service_pb2.OrderAck:
        answer: asyncio.Future[order_service_pb2.OrderAck] = asyncio.get_running_loop().create_future()
        try:
            async with asyncio.timeout(seconds):
                async with self._writing:
                    if self._ended is not None:
                        raise self._ended
                    self._count += 1
                    self._waiting[self._count] = answer
                    options = self._options if self._count == 1 else None
                    await self._call.write(order_service_pb2.EnterOrdersRequest(options=options, commands=[command]))
                ack = await answer
        except TimeoutError:
            raise ApiError.deadline_exceeded("No answer came in time.") from None
        if ack.HasField("error"):
            raise ApiError.from_status(ack.error)
        return ack

    def _end(self, error: ApiError) -> None:
        self._ended = error
        for answer in self._waiting.values():
            if not answer.done():
                answer.set_exception(error)
            # Who gave up waiting asks no more.
            _ = answer.cancelled() or answer.exception()


@contextlib.asynccontextmanager
async def entering(orders: OrderServiceStub, *, cancel_on_disconnect: bool = False) -> AsyncIterator[Entry]:
    """A session, for as long as the block; with it may end what it created."""
    call: Any = orders.EnterOrders()
    entry = Entry(call, cancel_on_disconnect=cancel_on_disconnect)
    reading = asyncio.create_task(entry.read())
    try:
        yield entry
    finally:
        call.cancel()
        reading.cancel()
        await asyncio.wait({reading})
