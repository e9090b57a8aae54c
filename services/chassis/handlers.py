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

from services.chassis import deadline, telemetry
from services.chassis.errors import DETAILS_KEY, ApiError, api_error
from services.chassis.validation import validate

Context = grpc.aio.ServicerContext[Any, Any]

LOCAL_PRINCIPAL: Final = "local"

_principal: ContextVar[str] = ContextVar("tickmesh_principal", default=LOCAL_PRINCIPAL)


def principal() -> str:
    """Who makes the current call; a single local principal for now."""
    return _principal.get()


class _Undecodable:
    """What a request that is no message of its type is decoded to; grpc.aio itself would answer UNKNOWN."""


_UNDECODABLE: Final = _Undecodable()


def wrap(service: str, method: str, handler: Any) -> Any:
    """The handler with all of the chassis around it; of all four kinds.

    Servicers may answer with messages or with their bytes (encoded once for all subscribers). Requests of a stream
    are to be read by their iterator: what `context.read()` gives is not validated.
    """
    decode, encode = _decoder(handler.request_deserializer), _encoder(handler.response_serializer)
    attributes = {"rpc.system": "grpc", "rpc.service": service, "rpc.method": method}
    name, many = f"{service}/{method}", handler.request_streaming
    if not handler.response_streaming:
        inner = handler.stream_unary if many else handler.unary_unary
        make = grpc.stream_unary_rpc_method_handler if many else grpc.unary_unary_rpc_method_handler
        return make(_unary(inner, many, name, attributes), decode, encode)
    inner = handler.stream_stream if many else handler.unary_stream
    make = grpc.stream_stream_rpc_method_handler if many else grpc.unary_stream_rpc_method_handler
    # A handler that calls context.write() itself returns nothing to iterate over and is wrapped like a unary one.
    kind = _stream if inspect.isasyncgenfunction(inner) else _unary
    return make(kind(inner, many, name, attributes, streaming=True), decode, encode)


def _unary(
    inner: Any, many: bool, name: str, attributes: dict[str, Any], *, streaming: bool = False
) -> Callable[[Any, Context], Any]:
    joins_only = many or streaming

    async def call(request: Any, context: Context) -> Any:
        try:
            with _enter(context, name, attributes, joins_only) as span:
                if many:
                    request = _checked(request)
                else:
                    _check(request)
                if span is None:
                    return await inner(request, context)
                with _StatusOn(span):
                    return await inner(request, context)
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, the caller gets a status
            await _abort(context, api_error(error))

    return call


def _stream(
    inner: Any, many: bool, name: str, attributes: dict[str, Any], *, streaming: bool = True
) -> Callable[[Any, Context], Any]:
    async def call(request: Any, context: Context) -> AsyncIterator[Any]:
        try:
            with _enter(context, name, attributes, True) as span, _StatusOn(span):
                if many:
                    request = _checked(request)
                else:
                    _check(request)
                async for response in inner(request, context):
                    yield response
        except (grpc.aio.AbortError, asyncio.CancelledError):
            raise
        except Exception as error:  # noqa: BLE001 whatever it is, the caller gets a status
            await _abort(context, api_error(error))

    return call


def _enter(context: Context, name: str, attributes: dict[str, Any], joins_only: bool) -> AbstractContextManager[Any]:
    """Takes deadline, trace and principal over into this call's task, whose context nobody else sees."""
    deadline.start(context.time_remaining())
    traceparent = ""
    for key, value in context.invocation_metadata() or ():
        if key == telemetry.HEADER:
            traceparent = str(value)
            break
    telemetry.adopt(traceparent)
    # A stream may last for days: it gets a span only where its caller's trace asks for one, and never starts a trace.
    if joins_only and not traceparent:
        return nullcontext()
    return telemetry.span_if_sampled(name, attributes, kind="SERVER")


class _StatusOn:
    """Puts the status code on a span as the call leaves; nothing for None."""

    def __init__(self, span: Any) -> None:
        self._span = span

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if self._span is not None:
            code = grpc.StatusCode.OK
            if error is not None:
                ours = error.code if isinstance(error, ApiError) else grpc.StatusCode.UNKNOWN
                code = ours if isinstance(error, Exception) else grpc.StatusCode.CANCELLED
            self._span.set_attribute("rpc.grpc.status_code", code.value[0])


def _check(request: Any) -> None:
    if request is _UNDECODABLE:
        raise ApiError.invalid_argument("The request's bytes are no message of its type.")
    if isinstance(request, Message):
        validate(request)


async def _checked(requests: AsyncIterator[Any]) -> AsyncIterator[Any]:
    async for request in requests:
        _check(request)
        yield request


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
