"""Spans as OpenTelemetry's exporters take them, each made whole when it has ended.

The SDK's own spans can be changed while they last. That took three times as long, and an order of ten has two of them.
"""

from __future__ import annotations

import os
from typing import Any, Final

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SimpleSpanProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from services.chassis.telemetry import tracing
from services.chassis.telemetry.tracing import Attributes, Ended, Kind

# Statuses that are a server's fault; the others are its answer to a caller's mistake (semantic conventions for gRPC).
_FAULTS: Final = frozenset({"UNKNOWN", "DEADLINE_EXCEEDED", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE", "DATA_LOSS"})
_CALLS: Final = ("SERVER", "CLIENT")
_SCOPE: Final = InstrumentationScope("tickmesh")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)
_UNSET: Final = Status(StatusCode.UNSET)


def export(service: str, exporter: Any, ratio: float = 1.0, *, batch: bool = True) -> None:
    """Sends spans to an OpenTelemetry exporter; `batch=False` sends each at once, for tests."""
    tracing.send_to(Export(service, exporter, batch=batch), ratio)


class Export:
    """Hands spans to an exporter: many at a time, each second, or each at once."""

    def __init__(self, service: str, exporter: Any, *, batch: bool) -> None:
        named: Any = {"service.namespace": "tickmesh", "service.name": service, "process.pid": os.getpid()}
        self._resource = _Resource(Resource.create(named).attributes)
        # One second instead of five: a live view follows the trade, and a kill loses little.
        self._processor: Any = (
            BatchSpanProcessor(exporter, schedule_delay_millis=1000) if batch else SimpleSpanProcessor(exporter)
        )

    def add(self, span: Ended) -> None:
        """Takes in a span that has ended; sends nothing itself where they go many at a time."""
        attributes = _described(span.name, span.kind, span.attributes)
        failure = _conclude(attributes, span.kind, span.error)
        made = ReadableSpan(
            span.name,
            _context(span.own, is_remote=False),
            _context(span.parent, is_remote=True) if span.parent else None,
            self._resource,
            attributes,
            kind=SpanKind[span.kind],
            status=_UNSET if failure is None else Status(StatusCode.ERROR, failure),
            start_time=span.began,
            end_time=span.ended,
            instrumentation_scope=_SCOPE,
        )
        self._processor.on_end(made)

    def shutdown(self) -> None:
        """Sends what waits; blocks for as long as that takes."""
        self._processor.shutdown()


class _Resource(Resource):
    """The process. The SDK's would be written as JSON for every span that is sent: its hash is of that text."""

    __hash__ = object.__hash__


def _context(traceparent: str, *, is_remote: bool) -> SpanContext:
    return SpanContext(int(traceparent[3:35], 16), int(traceparent[36:52], 16), is_remote, _SAMPLED)


def _described(name: str, kind: Kind, attributes: Attributes) -> dict[str, str | int | float | bool]:
    """Attributes under their full names."""
    described = {key if "." in key else f"tickmesh.{key}": value for key, value in attributes.items()}
    return {"rpc.system.name": "grpc", "rpc.method": name, **described} if kind in _CALLS else described


def _conclude(attributes: dict[str, str | int | float | bool], kind: Kind, error: BaseException | None) -> str | None:
    """Adds how it ended: a call by its status, other work by its exception; what it failed with, if it did."""
    if kind in _CALLS:
        kind_of_error = code = "OK" if error is None else _code(error)
        attributes["rpc.response.status_code"] = code
        failed = code in _FAULTS if kind == "SERVER" else code != "OK"
    else:
        kind_of_error, failed = type(error).__qualname__, isinstance(error, Exception)
    if not failed:
        return None
    attributes["error.type"] = kind_of_error
    return str(error)[:256]


def _code(error: BaseException) -> str:
    """The status that a caller is answered with for it."""
    if not isinstance(error, Exception):
        return "CANCELLED"
    code = getattr(error, "code", None)
    name = getattr(code() if callable(code) else code, "name", None)
    return name if isinstance(name, str) else "DEADLINE_EXCEEDED" if isinstance(error, TimeoutError) else "INTERNAL"
