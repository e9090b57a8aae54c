"""Channels to other services: deadlines and trace context on every call, retries of idempotent ones, typed errors.

The channel wraps the multicallables a stub asks it for, instead of using grpc.aio's client interceptors, which put
another task around every call.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from types import TracebackType
from typing import Any, Final, Self

import grpc

from services.chassis import deadline
from services.chassis.calls.server import MAX_MESSAGE_BYTES
from services.chassis.errors import ApiError
from services.chassis.telemetry import tracing

DEFAULT_DEADLINE_SECONDS: Final = 5.0
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # A peer that vanished without a FIN is noticed within 15 s, also between calls.
    ("grpc.keepalive_time_ms", 10_000),
    ("grpc.keepalive_timeout_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
    # Services restart in any order: the default waits up to 2 min between attempts, which outlives any patience.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.enable_retries", 1),
    # Channels to one address would otherwise share a subchannel, and its backoff.
    ("grpc.use_local_subchannel_pool", 1),
)


def connect(
    address: str,
    *,
    idempotent: Iterable[str] = (),
    deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
    options: Sequence[tuple[str, Any]] = (),
) -> Channel:
    """Opens a channel; it connects at its first call and for ever again after that.

    Args:
        address: `host:port`; several addresses behind one name (`dns:///risk:50054`) are used in turn.
        idempotent: methods to repeat on UNAVAILABLE, as `package.Service/Method` or `package.Service` for all of one.
        deadline_seconds: the longest wait for a unary call which names no `timeout`; the caller's own deadline
            shortens it. Streams have none of their own.
        options: more channel options.
    """
    config = json.dumps(service_config(idempotent))
    given = [*OPTIONS, *options, ("grpc.service_config", config)]
    return Channel(grpc.aio.insecure_channel(address, options=given), deadline_seconds, _server(address))


def _server(address: str) -> tracing.Attributes:
    """Who is called, as spans tell it; an address without a port, such as a socket's path, is told as it is."""
    host, _, port = address.rpartition("/")[2].rpartition(":")
    if not port.isdecimal():
        return {"server.address": address}
    return {"server.address": host.strip("[]"), "server.port": int(port)}


def service_config(idempotent: Iterable[str]) -> dict[str, Any]:
    """Round robin, and up to 4 attempts within about 0.7 s: a supervisor's restart takes longer, a blip does not."""
    names = []
    for each in idempotent:
        service, _, method = each.strip("/").partition("/")
        names.append({"service": service, "method": method} if method else {"service": service})
    config: dict[str, Any] = {"loadBalancingConfig": [{"round_robin": {}}]}
    if names:
        policy = {
            "maxAttempts": 4,
            "initialBackoff": "0.1s",
            "maxBackoff": "0.5s",
            "backoffMultiplier": 2,
            "retryableStatusCodes": ["UNAVAILABLE"],
        }
        config["methodConfig"] = [{"name": names, "retryPolicy": policy}]
    return config


class Channel(grpc.aio.Channel):
    """A channel to give to a generated stub; its calls raise `ApiError`."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        deadline_seconds: float = DEFAULT_DEADLINE_SECONDS,
        server: tracing.Attributes | None = None,
    ) -> None:
        """Wraps a channel; `server` says in spans who is called."""
        self._channel = channel
        self._seconds = deadline_seconds
        self._server = server

    def unary_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Called by a stub."""
        return _Unary(self._channel.unary_unary(method, *args, **kwargs), method, self._seconds, self._server)

    def stream_unary(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Called by a stub."""
        return _Stream(self._channel.stream_unary(method, *args, **kwargs))

    def unary_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Called by a stub."""
        return _Stream(self._channel.unary_stream(method, *args, **kwargs))

    def stream_stream(self, method: str, *args: Any, **kwargs: Any) -> Any:
        """Called by a stub."""
        return _Stream(self._channel.stream_stream(method, *args, **kwargs))

    async def close(self, grace: float | None = None) -> None:
        """Ends all calls, after `grace` seconds, and the connection."""
        await self._channel.close(grace)

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        """The state of the connection."""
        return self._channel.get_state(try_to_connect)

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """Returns when the state is another."""
        await self._channel.wait_for_state_change(last_observed_state)

    async def channel_ready(self) -> None:
        """Returns when connected."""
        await self._channel.channel_ready()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


class _Unary:
    def __init__(self, inner: Any, method: str, seconds: float, server: tracing.Attributes | None) -> None:
        self._inner = inner
        self._name = method.lstrip("/")
        self._seconds = seconds
        self._server = server

    async def __call__(
        self,
        request: Any,
        *,
        timeout: float | None = None,  # noqa: ASYNC109 a stub's own parameter
        metadata: Any = None,
        **more: Any,
    ) -> Any:
        left = deadline.budget(self._seconds if timeout is None else timeout)
        with tracing.span_if_sampled(self._name, self._server, kind="CLIENT"), _Outcome():
            return await self._inner(request, timeout=left, metadata=_with_trace(metadata), **more)


class _Stream:
    def __init__(self, inner: Any) -> None:
        self._inner = inner

    def __call__(self, *args: Any, timeout: float | None = None, metadata: Any = None, **more: Any) -> StreamCall:
        left = deadline.budget(timeout)
        return StreamCall(self._inner(*args, timeout=left, metadata=_with_trace(metadata), **more))


class StreamCall:
    """A running stream: iterate, or `read` and `write`; everything else is the grpc.aio call's own."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._call, name)

    async def __aiter__(self) -> AsyncIterator[Any]:
        messages = aiter(self._call)
        while True:
            with _Outcome():
                message = await anext(messages, grpc.aio.EOF)
            if message is grpc.aio.EOF:
                return
            yield message

    def __await__(self) -> Any:
        return self._result().__await__()

    async def _result(self) -> Any:
        with _Outcome():
            return await self._call

    async def read(self) -> Any:
        """The next message, or `grpc.aio.EOF`."""
        with _Outcome():
            return await self._call.read()

    async def write(self, request: Any) -> None:
        """Sends a message; one at a time."""
        try:
            with _Outcome():
                await self._call.write(request)
        except asyncio.InvalidStateError as error:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", "The stream has ended.") from error


class _Outcome:
    """How something awaited of a call ends: a status is an `ApiError`, and who was cancelled meanwhile is cancelled.

    grpc.aio forgets a cancellation that comes together with the call's own end: of streams that a peer ended, one in a
    hundred did, and a task that was told to end connected anew, for ever.
    """

    __slots__ = ("_task", "_told")

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._told = 0 if self._task is None else self._task.cancelling()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._task is not None and self._task.cancelling() > self._told and kind is not asyncio.CancelledError:
            raise asyncio.CancelledError from None
        if isinstance(error, grpc.aio.AioRpcError):
            raise ApiError.from_rpc_error(error) from None


def _with_trace(metadata: Any) -> Any:
    traceparent = tracing.current_traceparent()
    if not traceparent:
        return metadata
    return (*(metadata or ()), (tracing.HEADER, traceparent))
