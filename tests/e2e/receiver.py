"""A real OTLP receiver over gRPC, which keeps the spans of every service."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import grpc
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc
from opentelemetry.proto.trace.v1.trace_pb2 import Span as Received


@dataclass(frozen=True)
class Span:
    """One span; ids in hex, times in ns since the epoch."""

    service: str
    name: str
    kind: str
    trace_id: str
    span_id: str
    parent_id: str
    start: int
    end: int
    attributes: dict[str, Any]

    @property
    def traceparent(self) -> str:
        """As it travels."""
        return f"00-{self.trace_id}-{self.span_id}-01"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what comes."""

    def __init__(self) -> None:
        self.endpoint = ""
        self._spans: dict[str, dict[str, Span]] = {}

    def Export(self, request: Any, context: Any) -> Any:
        """The collector's one method."""
        for resource in request.resource_spans:
            service = _values(resource.resource.attributes)["service.name"]
            for scope in resource.scope_spans:
                for each in scope.spans:
                    made = _span(service, each)
                    self._spans.setdefault(made.trace_id, {})[made.span_id] = made
        return trace_service_pb2.ExportTraceServiceResponse()

    def spans(self) -> list[Span]:
        """All that have come."""
        return [span for trace in self._spans.values() for span in trace.values()]

    def trace(self, trace_id: str, complete: Callable[[list[Span]], bool], seconds: float = 60.0) -> list[Span]:
        """A trace's spans by their start, when all have come: once a second, later where an exporter failed first."""
        deadline = time.monotonic() + seconds
        while True:
            found = sorted(self._spans.get(trace_id, {}).values(), key=lambda span: span.start)
            if complete(found):
                return found
            assert time.monotonic() < deadline, tree(found)
            time.sleep(0.05)


def tree(spans: list[Span]) -> str:
    """A trace as lines, each below its cause: `order SERVER tickmesh.order.v1.OrderService/CreateOrder`."""
    ids = {span.span_id for span in spans}

    def lines(parent_id: str, depth: int) -> Iterator[str]:
        for span in spans:
            if span.parent_id == parent_id or (depth == 0 and span.parent_id not in ids):
                yield f"{'  ' * depth}{span.service} {span.kind} {span.name}"
                yield from lines(span.span_id, depth + 1)

    return "\n".join(lines("", 0))


@contextlib.contextmanager
def receiving() -> Iterator[Receiver]:
    """A receiver on a port of its own."""
    receiver, server = Receiver(), grpc.server(ThreadPoolExecutor(8))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)  # type: ignore[no-untyped-call]
    receiver.endpoint = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(None)


def _span(service: str, each: Received) -> Span:
    return Span(
        service,
        each.name,
        Received.SpanKind.Name(each.kind).removeprefix("SPAN_KIND_"),
        each.trace_id.hex(),
        each.span_id.hex(),
        each.parent_span_id.hex(),
        each.start_time_unix_nano,
        each.end_time_unix_nano,
        _values(each.attributes),
    )


def _values(attributes: Any) -> dict[str, Any]:
    return {each.key: getattr(each.value, each.value.WhichOneof("value")) for each in attributes}
