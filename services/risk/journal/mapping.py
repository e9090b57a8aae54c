"""What happened at the gate, as the contract tells it; pure."""

import json
from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from tickmesh.risk.v1 import risk_event_pb2, risk_pb2

from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import length_delimited
from services.risk.mapping import kill_switch_to_proto, limit_to_proto
from services.risk.records import Journalled, KillRecord, LimitRecord, RiskKind, Scope
from services.wire.values import text, timestamp

_EVENTS_FIELD = risk_event_pb2.RiskEvents.RISK_EVENTS_FIELD_NUMBER
_KINDS = {
    RiskKind.BREACH: risk_event_pb2.RISK_EVENT_KIND_BREACH,
    RiskKind.RUNAWAY: risk_event_pb2.RISK_EVENT_KIND_BREACH,
    RiskKind.NEAR_BREACH: risk_event_pb2.RISK_EVENT_KIND_NEAR_BREACH,
    RiskKind.EXCEEDED: risk_event_pb2.RISK_EVENT_KIND_EXCEEDED,
    RiskKind.CLEARED: risk_event_pb2.RISK_EVENT_KIND_CLEARED,
    RiskKind.MARGIN_CALL: risk_event_pb2.RISK_EVENT_KIND_MARGIN_CALL,
    RiskKind.LIMIT_SET: risk_event_pb2.RISK_EVENT_KIND_LIMIT_CHANGED,
    RiskKind.LIMIT_DELETED: risk_event_pb2.RISK_EVENT_KIND_LIMIT_CHANGED,
    RiskKind.KILL_SWITCH_ENGAGED: risk_event_pb2.RISK_EVENT_KIND_KILL_SWITCH_CHANGED,
    RiskKind.KILL_SWITCH_RELEASED: risk_event_pb2.RISK_EVENT_KIND_KILL_SWITCH_CHANGED,
}
LIMIT_CHANGES = frozenset({RiskKind.LIMIT_SET, RiskKind.LIMIT_DELETED})


def kinds_from_proto(kinds: Iterable[risk_event_pb2.RiskEventKind.ValueType]) -> frozenset[RiskKind]:
    """The kinds that are asked for; none for all."""
    wanted = set(kinds)
    return frozenset(kind for kind, number in _KINDS.items() if number in wanted)


def event_entry(event: Journalled) -> Entry[Journalled]:
    """An event as the stream holds it."""
    return Entry(event.sequence, event, length_delimited(_EVENTS_FIELD, event_to_proto(event).SerializeToString()))


def event_to_proto(event: Journalled) -> risk_event_pb2.RiskEvent:
    """An event."""
    payload = json.loads(event.payload)
    message = risk_event_pb2.RiskEvent(
        sequence=event.sequence,
        kind=_KINDS[event.kind],
        environment_id=event.environment_id,
        portfolio_id=event.portfolio_id,
        strategy_id=payload.get("strategy_id", ""),
        symbol=payload.get("symbol", ""),
        order_id=payload.get("order_id", ""),
        limit=payload.get("limit", ""),
        bound=_amount(payload, "bound"),
        value=_amount(payload, "value"),
        tape_sequence=event.tape_sequence,
        create_time=timestamp(event.create_time),
        principal=event.principal,
    )
    if event.market_time:
        message.market_time.CopyFrom(timestamp(event.market_time))
    if event.kind in LIMIT_CHANGES:
        message.limit_change.CopyFrom(limit_change_to_proto(event))
    elif "scope" in payload:
        switch = _kill_record(event, payload)
        message.kill_switch.CopyFrom(kill_switch_to_proto(switch))
        message.strategy_id = switch.kill_scope.strategy_id
    return message


def limit_change_to_proto(event: Journalled) -> risk_pb2.LimitChange:
    """A change of a limit."""
    payload = json.loads(event.payload)
    return risk_pb2.LimitChange(
        limit=limit_to_proto(_limit_record(event, payload)),
        previous_bound=_amount(payload, "previous_bound"),
        deleted=event.kind is RiskKind.LIMIT_DELETED,
        order_sequence=event.order_head,
        after_order_id=event.after_order_id,
        sequence=event.sequence,
    )


def _limit_record(event: Journalled, payload: dict[str, Any]) -> LimitRecord:
    where = (event.portfolio_id or payload.get("portfolio_id", ""), payload.get("strategy_id", ""))
    return LimitRecord(
        event.environment_id,
        *where,
        payload.get("symbol", ""),
        payload["limit"],
        Decimal(payload["bound"]),
        event.kind is RiskKind.LIMIT_DELETED,
        payload["version"],
        event.tape_sequence,
        payload.get("update_time", event.create_time),
        event.principal,
        event.owner,
    )


def _kill_record(event: Journalled, payload: dict[str, Any]) -> KillRecord:
    return KillRecord(
        event.environment_id,
        Scope(payload["scope"]),
        payload["target_id"],
        event.kind is RiskKind.KILL_SWITCH_ENGAGED,
        payload["allow_reducing"],
        payload["reason"],
        payload["version"],
        event.tape_sequence,
        payload.get("update_time", event.create_time),
        event.principal,
        event.owner,
    )


def _amount(payload: dict[str, Any], name: str) -> str:
    value = payload.get(name, "")
    return text(Decimal(value)) if value else ""
