"""One wrapper around every handler instead of a stack of interceptors: context, validation, errors, a span.

grpc.aio's interceptors build a chain on every call. Here a handler is wrapped once, when it is registered, and a call
pays for what it uses: a deadline, a traceparent, its rules.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager, nullcontext
from contextvars import ContextVar
from typing import Any, Final

import grpc
from google.protobuf.message import DecodeError, Message

from services.chassis import deadline
from services.chassis.calls.validation import validate
from services.chassis.details import FieldViolation
from services.chassis.errors import DETAILS_KEY, ApiError, api_error
from services.chassis.telemetry import tracing

Context = grpc.aio.ServicerContext[Any, Any]

LOCAL_PRINCIPAL: Final = "local"

Opens = Callable[[AsyncIterator[Any]], "_Requests"]

_principal: ContextVar[str] = ContextVar("tickmesh_principal", default=LOCAL_PRINCIPAL)


def principal() -> str:
    """Who makes the current call: the local principal, as long as the contract knows no identities."""
    return _principal.get()


class _Undecodable:
    """What a request that is no message of its type is decoded to; grpc.aio itself would answer UNKNOWN."""


_UNDECODABLE: Final = _Undecodable()


class Conversations:
    """The request streams open now. Draining ends them, as if their clients had: they never end by themselves."""

    def __init__(self) -> None:
        self._open: set[_Requests] = set()
        self._ended = False

    def open(self, requests: AsyncIterator[Any]) -> _Requests:
        """Takes a request stream in."""
        opened = _Requests(requests, self._open)
        if self._ended:
            opened.end()
        return opened

    def end(self) -> None:
        """Ends all, and those to come."""
        self._ended = True
        for each in list(self._open):
            each.end()


class _Requests:
    """A stream of checked requests that can be ended from outside, at no cost a message."""

    def __init__(self, requests: AsyncIterator[Any], among: set[_Requests]) -> None:
        self._iterator = aiter(requests)
        self._reader: asyncio.Task[Any] | None = None
        self._among = among
        self.ended = False
        among.add(self)

    def __aiter__(self) -> _Requests:
        return self

    async def __anext__(self) -> Any:
        if self.ended:
            raise StopAsyncIteration
        self._reader = reader = asyncio.current_task()
        try:
            request = await anext(self._iterator)
        except asyncio.CancelledError:
            if self.ended and reader is not None and reader.uncancel() == 0:
                raise StopAsyncIteration from None
            raise
        finally:
            self._reader = None
        _check(request)
        return request

    def end(self) -> None:
        self.ended = True
        if self._reader is not None:
            self._reader.cancel()

    async def close(self) -> None:
        self._among.discard(self)
        # What a handler left unread would otherwise be closed by the collector, which may come after the loop's end.
        if self._reader is None and hasattr(self._iterator, "aclose"):
            await self._iterator.aclose()

    def confirm(self) -> None:
        """A handler that returned early because its requests ended has no result to be believed."""
        if self.ended:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is restarting; connect again.")


def wrap(service: str, method: str, handler: Any, conversations: Conversations) -> Any:
    """The handler with all of the chassis around it; of all four kinds.

    Servicers may answer with messages or with their bytes (encoded once for all subscribers). Requests of a stream
    are to be read by their iterator: what `context.read()` gives is not validated.
    """
    decode, encode = _decoder(handler.request_deserializer), _encoder(handler.response_serializer)
    name, many = f"{service}/{method}", handler.request_streaming
    opens = conversations.open if many else None
    if not handler.response_streaming:
        inner = handler.stream_unary if many else handler.unary_unary
        make = grpc.stream_unary_rpc_method_handler if many else grpc.unary_unary_rpc_method_handler
        return make(_unary(inner, opens, name), decode, encode)
    inner = handler.stream_stream if many else handler.unary_stream
    make = grpc.stream_stream_rpc_method_handler if many else grpc.unary_stream_rpc_method_handler
    # A coroutine calls context.write() itself, returns nothing to iterate over, and is wrapped like a unary one.
    if inspect.iscoroutinefunction(inner):
        return make(_unary(inner, opens, name, streaming=True), decode, encode)
    return make(_stream(inner, opens, name), decode, encode)


def _unary(inner: Any, opens: Opens | None, name: str, *, streaming: bool = False) -> Callable[[Any, Context], Any]:
    joins_only = streaming or opens is not None

    async def call(request: Any, context: Context) -> Any:
        try:
            with _enter(context, name, joins_only):
                if opens is None:
                    _check(request)
                    return await inner(request, context)
                requests = opens(request)
                try:
                    result = await inner(requests, context)
                finally:
                    await requests.close()
                requests.confirm()
                return result
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, the caller gets a status
            await _abort(context, api_error(error))

    return call


def _stream(inner: Any, opens: Opens | None, name: str) -> Callable[[Any, Context], Any]:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            with _enter(context, name, True):
                if opens is None:
                    _check(request)
                    requests = None
                else:
                    request = requests = opens(request)
                responses = inner(request, context)
                try:
                    async for response in responses:
                        yield response
                finally:
                    # A subscriber that left must not keep its subscription until it is collected.
                    if hasattr(responses, "aclose"):
                        await responses.aclose()
                    if requests is not None:
                        await requests.close()
                if requests is not None:
                    requests.confirm()
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, the caller gets a status
            await _abort(context, api_error(error))

    return call


def _enter(context: Context, name: str, joins_only: bool) -> AbstractContextManager[Any]:
    """Takes deadline, trace and principal over into this call's task, whose context nobody else sees."""
    deadline.start(context.time_remaining())
    traceparent = ""
    for key, value in context.invocation_metadata() or ():
        if key == tracing.HEADER:
            traceparent = str(value)
            break
    tracing.adopt(traceparent)
    # A stream may last for days: it gets a span only where its caller's trace asks for one, and never starts a trace.
    if joins_only and not traceparent:
        return nullcontext()
    return tracing.span_if_sampled(name, kind="SERVER")


def _check(request: Any) -> None:
    if request is _UNDECODABLE:
        text = "The request's bytes are no message of its type."
        # No field is to blame: the path of the whole.
        raise ApiError.invalid_argument(text, field_violations=[FieldViolation("", text, "INVALID_ARGUMENT")])
    if isinstance(request, Message):
        validate(request)


async def _abort(context: Context, error: ApiError) -> None:
    details = error.to_status()
    await context.abort(error.code, details.message, ((DETAILS_KEY, details.SerializeToString()),))


def _decoder(decode: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    def decoded(data: bytes) -> Any:
        try:
            return decode(data)
        except DecodeError:
            return _UNDECODABLE

    return decoded


def _encoder(encode: Callable[[Any], bytes]) -> Callable[[Any], bytes]:
    def encoded(response: Any) -> bytes:
        return response if type(response) is bytes else encode(response)

    return encoded
