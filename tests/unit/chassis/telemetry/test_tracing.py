"""Spans follow W3C context, by our own light hand."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.errors import ApiError
from services.chassis.telemetry import tracing
from services.chassis.telemetry.exporting import export

SAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
UNSAMPLED = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-00"


@pytest.fixture
def exporter() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    export("toy", exporter, batch=False)
    tracing.adopt(None)
    yield exporter
    tracing.shutdown()
    tracing.adopt(None)


def test_a_child_joins_its_parents_trace(exporter: InMemorySpanExporter) -> None:
    with tracing.span("parent"):
        outside = tracing.current_traceparent()
        with tracing.span("child", {"symbol": "AAPL", "server.port": 1}, kind="CLIENT"):
            inside = tracing.current_traceparent()
        assert tracing.current_traceparent() == outside
    child, parent = exporter.get_finished_spans()
    assert parent.parent is None
    assert child.parent is not None
    assert child.parent.span_id == parent.context.span_id
    assert inside == f"00-{parent.context.trace_id:032x}-{child.context.span_id:016x}-01"
    assert dict(child.attributes or {}) == {
        "rpc.system.name": "grpc",
        "rpc.method": "child",
        "rpc.response.status_code": "OK",
        "tickmesh.symbol": "AAPL",
        "server.port": 1,
    }
    assert child.kind.name == "CLIENT"
    assert parent.resource.attributes["service.name"] == "toy"


FORKED = """
import os
from services.chassis.telemetry import tracing
from services.chassis.telemetry.logs import JsonFormatter
from services.chassis.telemetry.exporting import export

for _ in range(2):
    pid = os.fork()
    if not pid:
        with tracing.span("work"):
            print(tracing.current_traceparent(), flush=True)
        os._exit(0)
    os.waitpid(pid, 0)
"""


def test_processes_forked_from_one_draw_ids_of_their_own() -> None:
    ended = subprocess.run([sys.executable, "-c", FORKED], capture_output=True, text=True, check=True)
    first, second = ended.stdout.split()
    assert first[3:35] != second[3:35]
    assert first[36:52] != second[36:52]


def test_an_asynchronous_part_joins_by_the_stored_traceparent_and_may_be_back_dated(
    exporter: InMemorySpanExporter,
) -> None:
    with tracing.span_from(SAMPLED, "fill", start_time_ns=1_000, end_time_ns=2_000):
        pass
    [span] = exporter.get_finished_spans()
    assert span.parent is not None
    assert f"{span.context.trace_id:032x}" == SAMPLED[3:35]
    assert f"{span.parent.span_id:016x}" == SAMPLED[36:52]
    assert (span.start_time, span.end_time) == (1_000, 2_000)


def test_a_trace_that_its_root_did_not_sample_is_carried_on_and_not_exported(exporter: InMemorySpanExporter) -> None:
    with tracing.span_from(UNSAMPLED, "fill") as span:
        assert span is None
        assert tracing.current_traceparent() == UNSAMPLED
        with tracing.span("child"):
            assert tracing.current_traceparent() == UNSAMPLED
    assert exporter.get_finished_spans() == ()


def test_the_ratio_decides_only_at_the_root() -> None:
    exporter = InMemorySpanExporter()
    export("toy", exporter, ratio=0.0, batch=False)
    try:
        with tracing.span_from("", "root"):
            assert tracing.current_traceparent().endswith("-00")
        with tracing.span_from(SAMPLED, "child"):
            pass
    finally:
        tracing.shutdown()
    assert [span.name for span in exporter.get_finished_spans()] == ["child"]


def test_an_error_marks_its_span(exporter: InMemorySpanExporter) -> None:
    with pytest.raises(ValueError, match="no"), tracing.span("root"):
        raise ValueError("no")
    [span] = exporter.get_finished_spans()
    assert span.status.status_code.name == "ERROR"
    assert dict(span.attributes or {}) == {"error.type": "ValueError"}


@pytest.mark.parametrize(
    ("error", "code", "fault"),
    [
        (ApiError.failed_precondition("ORDER_ENDED", "no"), "FAILED_PRECONDITION", False),
        (ApiError.unavailable("SERVICE_UNAVAILABLE", "no"), "UNAVAILABLE", True),
        (TimeoutError(), "DEADLINE_EXCEEDED", True),
        (ValueError(), "INTERNAL", True),
        (asyncio.CancelledError(), "CANCELLED", False),
    ],
)
def test_a_served_call_is_marked_an_error_only_where_the_server_is_at_fault(
    exporter: InMemorySpanExporter, error: BaseException, code: str, fault: bool
) -> None:
    with pytest.raises(type(error)), tracing.span("toy.ToyService/Echo", kind="SERVER"):
        raise error
    [span] = exporter.get_finished_spans()
    assert (span.attributes or {})["rpc.response.status_code"] == code
    assert (span.attributes or {}).get("error.type") == (code if fault else None)
    assert (span.status.status_code.name == "ERROR") is fault


def test_without_an_exporter_spans_only_carry_ids() -> None:
    tracing.adopt(None)
    with tracing.span("root") as span:
        assert span is None
        assert tracing.current_traceparent().endswith("-00")
    assert tracing.current_traceparent() == ""


@pytest.mark.parametrize(
    "header", ["", "x", SAMPLED + "0", SAMPLED.upper(), "00-" + "0" * 32 + SAMPLED[35:], "ff" + SAMPLED[2:], None]
)
def test_a_malformed_traceparent_is_ignored(header: str | None) -> None:
    tracing.adopt(header)
    assert tracing.current_traceparent() == ""
