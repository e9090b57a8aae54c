"""A toy service on the well-known wrapper types, served for real on loopback."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, ClassVar

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis import deadline
from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from services.chassis.telemetry import tracing

Serve = Callable[..., AbstractAsyncContextManager["Mesh"]]
DECODE, ENCODE = StringValue.FromString, StringValue.SerializeToString


class ToySettings(ServiceSettings):
    """The toy borrows a name of the catalog."""

    service: ClassVar[str] = "order"


class Toy:
    """Answers, streams and fails on request."""

    def __init__(self) -> None:
        self.calls = 0
        self.failures = 0
        self.peer: Any = None
        self.seen: list[str] = []
        self.cancelled = asyncio.Event()

    async def Echo(self, request: StringValue, context: Any) -> StringValue | bytes:
        self.calls += 1
        match request.value:
            case "deadline":
                return StringValue(value=str(deadline.remaining()))
            case "trace":
                return StringValue(value=tracing.current_traceparent())
            case "forward":
                return StringValue(value=(await self.peer(StringValue(value="deadline"))).value)
            case "missing":
                raise ApiError.not_found("toy", "x", "ORDER_NOT_FOUND")
            case "broken":
                raise KeyError("secret")
            case "flaky" if self.failures:
                self.failures -= 1
                raise ApiError.unavailable("SERVICE_UNAVAILABLE", "not yet")
            case "slow":
                try:
                    await asyncio.sleep(600)
                except asyncio.CancelledError:
                    self.cancelled.set()
                    raise
            case "brief":
                await asyncio.sleep(0.3)
            case "bytes":
                return StringValue(value="encoded once").SerializeToString()
        return request

    async def Count(self, request: StringValue, context: Any) -> AsyncIterator[StringValue | bytes]:
        try:
            for number in range(int(request.value)):
                message = StringValue(value=str(number))
                yield message if number % 2 else message.SerializeToString()
        except (GeneratorExit, asyncio.CancelledError):
            self.cancelled.set()
            raise
        raise ApiError.aborted("BASIS_STALE", "counted enough")

    async def Join(self, requests: AsyncIterator[StringValue], context: Any) -> StringValue:
        return StringValue(value=",".join([request.value async for request in requests]))

    async def Pipe(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async for request in requests:
            self.seen.append(request.value)
            if request.value == "missing":
                raise ApiError.not_found("toy", "x", "ORDER_NOT_FOUND")
            yield request


def add_toy(toy: Toy, server: Any) -> None:
    """As generated code does."""
    methods = {
        "Echo": grpc.unary_unary_rpc_method_handler(toy.Echo, DECODE, ENCODE),
        "Count": grpc.unary_stream_rpc_method_handler(toy.Count, DECODE, ENCODE),
        "Join": grpc.stream_unary_rpc_method_handler(toy.Join, DECODE, ENCODE),
        "Pipe": grpc.stream_stream_rpc_method_handler(toy.Pipe, DECODE, ENCODE),
    }
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("toy.ToyService", methods),))
    server.add_registered_method_handlers("toy.ToyService", methods)


class Stub:
    """As generated code does."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self.Echo: Any = channel.unary_unary("/toy.ToyService/Echo", ENCODE, DECODE)
        self.Count: Any = channel.unary_stream("/toy.ToyService/Count", ENCODE, DECODE)
        self.Join: Any = channel.stream_unary("/toy.ToyService/Join", ENCODE, DECODE)
        self.Pipe: Any = channel.stream_stream("/toy.ToyService/Pipe", ENCODE, DECODE)


class Mesh:
    """A running toy server and a stub on it."""

    def __init__(self, server: Server, toy: Toy, stub: Stub) -> None:
        self.server, self.toy, self.stub = server, toy, stub

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server.port}"

    async def echo(self, value: str, **options: Any) -> str:
        return str((await self.stub.Echo(StringValue(value=value), **options)).value)


@asynccontextmanager
async def serve_toy(address: str = "127.0.0.1:0", idempotent: tuple[str, ...] = ()) -> AsyncIterator[Mesh]:
    server, toy = Server(ToySettings(), address=address), Toy()
    server.add(add_toy, toy)
    server.reflect()
    port = await server.start()
    try:
        async with connect(f"127.0.0.1:{port}", idempotent=idempotent) as channel:
            yield Mesh(server, toy, Stub(channel))
    finally:
        await server.stop(0)


@pytest.fixture
def serve() -> Serve:
    """Runs a toy server: `async with serve() as mesh`."""
    return serve_toy


@pytest.fixture
def stub_of() -> Callable[[grpc.aio.Channel], Stub]:
    """A stub of the toy service."""
    return Stub


@pytest.fixture
async def mesh() -> AsyncIterator[Mesh]:
    """A running toy server."""
    async with serve_toy() as mesh:
        yield mesh


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], Awaitable[None]]:
    """Waits for a condition."""

    async def wait(condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(30):
            while not condition():  # noqa: ASYNC110 any condition, not only events
                await asyncio.sleep(0.005)

    return wait
