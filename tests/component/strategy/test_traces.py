"""A signal is a trace: the tick that caused it, the signal, and the order that it led to."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from services.chassis.telemetry import tracing
from services.chassis.telemetry.exporting import export
from tests.component.strategy.mesh import Toy, peers, plans, settings_for, strategy_service
from tests.component.strategy.runs import INSTRUMENTS, deploy_both, signals_of, tape_of


@pytest.fixture
def spans() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    export("strategy", exporter, batch=False)
    yield exporter
    tracing.shutdown()


async def test_the_tick_causes_the_signal_which_causes_the_order(tmp_path: Path, spans: InMemorySpanExporter) -> None:
    toy = Toy(tape_of(6, 80), INSTRUMENTS, plans(2))
    async with peers(toy) as address, strategy_service(settings_for(address, tmp_path)) as stub:
        await deploy_both(stub)
        await toy.run()
        signals = await signals_of(stub)
    finished = spans.get_finished_spans()
    by_id: dict[int, Any] = {span.context.span_id: span for span in finished if span.context is not None}
    assert len(signals) > 5
    for signal in signals:
        span = by_id[int(signal.traceparent[36:52], 16)]
        assert (span.name, span.attributes["tickmesh.signal_id"]) == ("signal", signal.signal_id)
        tick = by_id[span.parent.span_id]
        assert (tick.name, tick.parent) == ("tick", None)
        assert tick.attributes["tickmesh.tape_sequence"] == signal.tape_sequence
        assert tick.start_time <= span.start_time <= span.end_time
        for client_order_id in signal.client_order_ids:
            called = toy.traces[client_order_id]
            assert called[3:35] == signal.traceparent[3:35]
            served = by_id[int(called[36:52], 16)]
            asked = by_id[served.parent.span_id]
            assert asked.name.endswith("OrderService/CreateOrder")
            assert asked.parent.span_id == span.context.span_id
            assert asked.end_time <= span.end_time
    assert len({signal.traceparent[3:35] for signal in signals}) == len(signals)
