"""Load in Python: over REST always, and by gRPC where there is no Go to build the better one with."""

from __future__ import annotations

import asyncio
import contextlib
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Final

from tickmesh.order.v1 import order_service_pb2

from tests.performance.rig import PORTFOLIO, Mesh, order

CREATE: Final = "/tickmesh.order.v1.OrderService/CreateOrder"
ENTER: Final = "/tickmesh.order.v1.OrderService/EnterOrders"
CHECK: Final = "/grpc.health.v1.Health/Check"
Send = Callable[[str], Awaitable[None]]


@contextlib.asynccontextmanager
async def over_grpc(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Senders over one channel; answers stay encoded, what a client does with them is its own."""
    async with mesh.channel("order") as channel:
        call: Any = channel.unary_unary(CREATE)

        async def send(client_order_id: str) -> None:
            await call(order(client_order_id).SerializeToString())

        yield [send] * in_flight


@contextlib.asynccontextmanager
async def bare(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Callers of a method that does nothing, over one channel."""
    async with mesh.channel("order") as channel:
        call: Any = channel.unary_unary(CHECK)

        async def send(_: str) -> None:
            await call(b"")

        yield [send] * in_flight


@contextlib.asynccontextmanager
async def by_session(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Senders that share one session: what is to be sent while a message is written travels with the next."""
    async with mesh.channel("order") as channel:
        call: Any = channel.stream_stream(
            ENTER,
            request_serializer=order_service_pb2.EnterOrdersRequest.SerializeToString,
            response_deserializer=order_service_pb2.EnterOrdersResponse.FromString,
        )()
        entry = Entry(call)
        tasks = [asyncio.create_task(entry.write()), asyncio.create_task(entry.read())]
        try:
            yield [entry.send] * in_flight
        finally:
            for task in tasks:
                task.cancel()
            call.cancel()


class Entry:
    """The client's side of a session."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._waiting: list[order_service_pb2.OrderCommand] = []
        self._news = asyncio.Event()
        self._answers: dict[str, asyncio.Future[None]] = {}

    async def send(self, client_order_id: str) -> None:
        """Sends an order with the next message, and waits for its acknowledgement."""
        answer = self._answers[client_order_id] = asyncio.get_running_loop().create_future()
        self._waiting.append(order_service_pb2.OrderCommand(create=order(client_order_id)))
        self._news.set()
        await answer

    async def write(self) -> None:
        """Sends what waits, until cancelled."""
        while await self._news.wait():
            self._news.clear()
            waiting, self._waiting = self._waiting, []
            if waiting:
                await self._call.write(order_service_pb2.EnterOrdersRequest(commands=waiting))

    async def read(self) -> None:
        """Hands out acknowledgements, until cancelled."""
        async for message in self._call:
            for ack in message.acks.acks:
                answer = self._answers.pop(ack.client_order_id)
                if ack.HasField("order"):
                    answer.set_result(None)
                else:
                    answer.set_exception(RuntimeError(ack.error.message))


@contextlib.asynccontextmanager
async def over_rest(mesh: Mesh, in_flight: int) -> AsyncIterator[list[Send]]:
    """Senders over a kept connection each, through Envoy."""
    connections = [await asyncio.open_connection("127.0.0.1", mesh.ports["edge"]) for _ in range(in_flight)]
    try:
        yield [rest_sender(*connection) for connection in connections]
    finally:
        for _, writer in connections:
            writer.close()


def rest_sender(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Send:
    """Posts JSON; as little of HTTP as that takes, because a whole client would be most of what is measured."""

    async def send(client_order_id: str) -> None:
        body = json.dumps(
            {
                "client_order_id": client_order_id,
                "portfolio_id": PORTFOLIO,
                "symbol": "AAPL",
                "side": "SIDE_BUY",
                "order_type": "ORDER_TYPE_LIMIT",
                "time_in_force": "TIME_IN_FORCE_GTC",
                "quantity": "1",
                "limit_price": "1.5",
            }
        ).encode()
        head = "POST /api/v1/orders HTTP/1.1\r\nhost: bench\r\ncontent-type: application/json\r\n"
        writer.write(f"{head}content-length: {len(body)}\r\n\r\n".encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
        length = int(answer.split("content-length: ")[1].split("\r\n")[0])
        content = await reader.readexactly(length)
        if not answer.startswith("http/1.1 200"):
            raise RuntimeError(content.decode())

    return send


WAYS: Final = {"bare": bare, "enter": by_session, "create": over_grpc, "rest": over_rest}


async def keep_in_flight(mesh: Mesh, way: str, in_flight: int, seconds: float, warm_up: float) -> list[float]:
    """Keeps so many orders in flight; the seconds that each took which was sent after the warm-up."""
    latencies: list[float] = []
    run_id = f"{way}-{in_flight}-{time.time_ns()}"
    began = time.perf_counter() + warm_up
    until = began + seconds

    async def worker(number: int, send: Send) -> None:
        n = 0
        while (sent := time.perf_counter()) < until:
            n += 1
            await send(f"{run_id}-{number}-{n}")
            if sent >= began:
                latencies.append(time.perf_counter() - sent)

    async with WAYS[way](mesh, in_flight) as senders:
        await asyncio.gather(*(worker(number, send) for number, send in enumerate(senders)))
    return latencies
