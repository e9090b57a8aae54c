"""The edge's own span, sent to a real OTLP receiver."""

import asyncio
import json
from collections.abc import Callable
from typing import Any

import grpc
import httpx
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2, trace_service_pb2_grpc

from tests.integration.gateway.support import ORDER, Backend, Edge

TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
PARENT_ID = "b7ad6b7169203331"


class Receiver(trace_service_pb2_grpc.TraceServiceServicer):
    """Keeps the spans, by service."""

    def __init__(self) -> None:
        self.spans: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()

    async def Export(self, request: Any, context: Any) -> Any:
        for resource in request.resource_spans:
            names = {each.key: each.value.string_value for each in resource.resource.attributes}
            for scope in resource.scope_spans:
                for span in scope.spans:
                    self.spans.put_nowait((f"{names['service.namespace']} {names['service.name']}", span))
        return trace_service_pb2.ExportTraceServiceResponse()


async def test_the_edge_adds_its_span_to_the_callers_trace(own_edge: Callable[..., tuple[Edge, Backend]]) -> None:
    receiver, server = Receiver(), grpc.aio.server()
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(receiver, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    try:
        edge, _ = await asyncio.to_thread(own_edge, otlp_endpoint=f"http://127.0.0.1:{port}")
        async with httpx.AsyncClient(base_url=edge.url, timeout=20) as client:
            headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
            answer = await client.post("/api/v1/orders", json={**ORDER, "label": "metadata"}, headers=headers)
        sent = json.loads(answer.json()["owner"])["traceparent"]
        found = {}
        while len(found) < 2:
            service, span = await asyncio.wait_for(receiver.spans.get(), 30)
            if span.trace_id.hex() == TRACE_ID:
                found[span.span_id.hex()] = span
                assert service == "tickmesh edge"
    finally:
        await server.stop(0)
    [server_span] = [span for span in found.values() if span.parent_span_id.hex() == PARENT_ID]
    [client_span] = [span for span in found.values() if span.parent_span_id == server_span.span_id]
    # The service joins under the edge's call to it.
    assert sent == f"00-{TRACE_ID}-{client_span.span_id.hex()}-01"
