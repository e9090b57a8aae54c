"""One trace of an order: its creation, risk's check, its fill; asynchronous parts join by what events hold."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.telemetry import tracing
from services.chassis.telemetry.exporting import export
from tests.component.order.support import Mesh, request

TRACE, CALLER = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    made = InMemorySpanExporter()
    export("test", made, batch=False)
    yield made
    tracing.shutdown()


def span_id(span: ReadableSpan) -> str:
    return f"{span.context.span_id:016x}"


async def test_check_and_fill_join_the_creations_trace(exporter: InMemorySpanExporter, mesh: Mesh) -> None:
    with tracing.span_from(f"00-{TRACE}-{CALLER}-01", "client"):
        await mesh.orders.CreateOrder(request("a"))
    await mesh.market.run(1, 9)
    spans = [span for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE]
    named = {span.name: span for span in spans}
    create = next(span for span in spans if span.name.endswith("CreateOrder") and span.kind.name == "SERVER")
    check = named["tickmesh.risk.v1.RiskGateService/CheckOrders"]
    fill = named["fill"]
    for child in (check, fill):
        assert child.parent is not None
        assert f"{child.parent.span_id:016x}" == span_id(create)
    accepted, filled = await mesh.events()
    assert accepted.traceparent == f"00-{TRACE}-{span_id(create)}-01"
    assert filled.traceparent == f"00-{TRACE}-{span_id(fill)}-01"
    # Risk joins under the question, not beside it.
    assert mesh.gate.traceparents == [f"00-{TRACE}-{span_id(check)}-01"]


async def test_an_order_of_no_trace_makes_no_spans(exporter: InMemorySpanExporter, mesh: Mesh) -> None:
    exporter.clear()
    unsampled = f"00-{TRACE}-{CALLER}-00"
    with tracing.span_from(unsampled, "client"):
        await mesh.orders.CreateOrder(request("a"))
    await mesh.market.run(1, 9)
    names = {span.name for span in exporter.get_finished_spans() if f"{span.context.trace_id:032x}" == TRACE}
    assert not names
    assert {event.traceparent for event in await mesh.events()} == {unsampled}
