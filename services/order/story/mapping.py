"""An order's story as the contract tells it: pure functions."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from tickmesh.order.v1 import order_explanation_pb2, order_pb2

from services.domain.market import Bar, Clock, Record
from services.domain.money import decimal_of
from services.domain.venue.telling.reasons import Reason
from services.order.story.explaining import Story, by_tape
from services.wire.values import text, timestamp


def story_to_proto(story: Story) -> order_explanation_pb2.OrderExplanation:
    """All that is known of an order."""
    entries = defaultdict(list)
    for entry in story.entries:
        entries[entry.exec_id].append(entry)
    return order_explanation_pb2.OrderExplanation(
        order=story.order,
        decision=_decision(story),
        events=[
            _explained(event, reason, story.records, entries[event.exec_id])
            for event, reason in zip(story.events, story.reasons, strict=True)
        ],
        more_events=story.more,
        gaps=[
            order_explanation_pb2.ExplanationGap(part=gap.part, service=gap.service, status=gap.error.to_status())
            for gap in story.gaps
        ],
        halts=story.halts,
    )


def _decision(story: Story) -> order_explanation_pb2.OrderDecision:
    # New terms have a position of their own; what was decided first is in the first event.
    first = story.events[0].order
    return order_explanation_pb2.OrderDecision(
        principal=first.principal,
        create_time=first.create_time,
        basis_sequence=first.basis_sequence,
        record=_record(first.basis_sequence, story.records.get(first.basis_sequence)),
        signal=story.signal,
        strategy=story.strategy,
    )


def _explained(
    event: order_pb2.OrderEvent, reason: Reason, records: dict[int, Record], entries: list[Any]
) -> order_explanation_pb2.ExplainedEvent:
    order = event.order
    # The domain's enums have the wire's numbers.
    basis: Any = reason.basis
    explained = order_explanation_pb2.ExplainedEvent(
        event=event,
        state=order.state,
        cum_quantity=order.cum_quantity,
        leaves_quantity=order.leaves_quantity,
        reservation=order.reservation,
        refusal=order.refusal if order.HasField("refusal") else None,
        record=_record(event.tape_sequence, records.get(event.tape_sequence)) if by_tape(event) else None,
        reason=reason.text,
        price_basis=basis,
        ledger_entries=entries,
    )
    explained.event.ClearField("order")
    return explained


def _record(sequence: int, record: Record | None) -> order_explanation_pb2.TapeRecord | None:
    if record is None:
        return None
    about = _figures(record)
    symbol = about.pop("calendar") if isinstance(record, Clock) else about.pop("symbol")
    times = (about.pop("start"), about.pop("end")) if isinstance(record, Bar) else (about["time"], about.pop("time"))
    interval = about.pop("interval", "")
    return order_explanation_pb2.TapeRecord(
        tape_sequence=sequence,
        kind=type(record).__name__.upper(),
        symbol=symbol,
        interval=interval,
        start_time=timestamp(times[0]),
        event_time=timestamp(times[1]),
        values={name: text(decimal_of(float(value))) for name, value in about.items()},
    )


def _figures(record: Record) -> dict[str, Any]:
    """What a record holds by name; the levels behind a quote's best ones are `bid_2`, `bid_size_2` and so on."""
    about = record._asdict()
    for side in ("bid", "ask"):
        for place, (price, size) in enumerate(about.pop(f"{side}s", ())[1:], 2):
            about |= {f"{side}_{place}": price, f"{side}_size_{place}": size}
    return about
