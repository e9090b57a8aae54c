"""Spans reach a real OTLP receiver."""

import asyncio
import json
import logging
from collections.abc import Iterator
from typing import Any

import grpc
import pytest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from services.chassis.telemetry import tracing
from services.chassis.telemetry.setup import configure


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        self.spans: dict[str, Any] = {}
        self.services: set[str] = set()

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            attributes = {each.key: each.value.string_value for each in resource.resource.attributes}
            self.services.add(attributes["service.name"])
            self.spans.update({span.name: span for scope in resource.scope_spans for span in scope.spans})
        return trace_service_pb2.ExportTraceServiceResponse()


@pytest.fixture
def logs() -> Iterator[None]:
    """Gives the root logger back as it was."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


async def test_a_trace_over_two_asynchronous_parts_is_exported_whole(
    logs: None, capsys: pytest.CaptureFixture[str]
) -> None:
    receiver, server = Receiver(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    tracing.adopt(None)
    configure("order", otlp_endpoint=f"http://127.0.0.1:{port}")
    with tracing.span("signal", {"symbol": "AAPL"}, start_time_ns=1_700_000_000_000_000_000):
        stored = tracing.current_traceparent()
        logging.getLogger("toy").info("signalled")
    with tracing.span_from(stored, "fill", kind="CONSUMER"):
        pass
    await asyncio.to_thread(tracing.shutdown)
    await server.stop(0)
    signal, fill = receiver.spans["signal"], receiver.spans["fill"]
    assert receiver.services == {"order"}
    assert fill.trace_id == signal.trace_id
    assert fill.parent_span_id == signal.span_id
    assert signal.start_time_unix_nano == 1_700_000_000_000_000_000
    [line] = [json.loads(each) for each in capsys.readouterr().err.splitlines() if "signalled" in each]
    assert (line["trace_id"], line["span_id"]) == (signal.trace_id.hex(), signal.span_id.hex())
