"""The posting joins the trace of the order that filled, through the traceparent stored on its event."""

from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.telemetry import tracing
from services.chassis.telemetry.exporting import export
from tests.component.portfolio.peers import TRACEPARENT, Peers, Replay
from tests.component.portfolio.played import INSTRUMENTS, START, listed, open_portfolios, run, simulation, tape
from tests.component.portfolio.running import Service


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    export("portfolio", exporter, batch=False)
    yield exporter
    tracing.shutdown()


async def test_a_posting_is_a_span_of_the_orders_trace(
    peers: Peers, service: Service, spans: InMemorySpanExporter
) -> None:
    replay, ran = peers.add(Replay("replay-1", tape(), INSTRUMENTS, START)), simulation(tape())
    await open_portfolios(service.stub)
    await run(peers, replay, ran)
    postings = [span for span in spans.get_finished_spans() if span.name == "ledger posting"]
    assert len(postings) == len(ran.result.fills)
    for span in postings:
        assert span.context is not None
        assert span.parent is not None
        assert f"{span.context.trace_id:032x}" == TRACEPARENT[3:35]
        assert f"{span.parent.span_id:016x}" == TRACEPARENT[36:52]
        assert span.attributes is not None
        assert span.attributes["tickmesh.portfolio_id"] in {"trend", "revert"}
    entries = await listed(service.stub, "trend")
    assert {entry.traceparent for entry in entries if entry.exec_id} == {TRACEPARENT}
