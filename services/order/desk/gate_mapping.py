"""The messages exchanged with risk's gate, as values: pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from typing import NamedTuple

from tickmesh.order.v1 import order_pb2
from tickmesh.risk.v1 import risk_gate_service_pb2, risk_pb2

from services.domain.gate import Verdict
from services.domain.instrument import Instrument
from services.domain.limits import KillScope
from services.domain.money import ZERO
from services.domain.order import Order, OrderState, Reservation
from services.domain.preview import Preview
from services.order.mapping import asked_to_proto, order_to_proto
from services.order.ticket import Provenance
from services.wire.orders import refusal_from_proto
from services.wire.values import optional, text, timestamp


class Check(NamedTuple):
    """One order to check, a new one or an open one on new terms, with what risk must know before."""

    order: Order
    provenance: Provenance
    instrument: Instrument
    reference_price: Decimal
    ledger_sequence: int
    traceparent: str


class Kill(NamedTuple):
    """A kill switch as risk tells of it."""

    scope: KillScope
    engaged: bool
    allow_reducing: bool
    principal: str


class Ready(NamedTuple):
    """Risk answers from here on; these switches are engaged."""

    kills: tuple[Kill, ...]


class Verdicts(NamedTuple):
    """Risk's answer to a batch."""

    batch_id: int
    verdicts: tuple[Verdict, ...]
    previews: tuple[Preview, ...] = ()


def connect(environment_id: str, epoch: int, order_head: int) -> risk_gate_service_pb2.CheckOrdersRequest:
    """The first message to risk's gate."""
    message = risk_gate_service_pb2.Connect(environment_id=environment_id, epoch=epoch, order_head=order_head)
    return risk_gate_service_pb2.CheckOrdersRequest(connect=message)


def check_batch(
    batch_id: int,
    order_head: int,
    tape_sequence: int,
    market_time: int,
    *,
    checks: Sequence[Check] = (),
    previews: Sequence[Check] = (),
) -> risk_gate_service_pb2.CheckOrdersRequest:
    """Orders for risk's gate, or some that are only thought of."""
    batch = risk_gate_service_pb2.CheckBatch(
        batch_id=batch_id,
        order_head=order_head,
        tape_sequence=tape_sequence,
        market_time=timestamp(market_time),
        checks=map(_check, checks),
        previews=map(_check, previews),
    )
    return risk_gate_service_pb2.CheckOrdersRequest(batch=batch)


def _check(check: Check) -> risk_gate_service_pb2.OrderCheck:
    return risk_gate_service_pb2.OrderCheck(
        order=_checked(check),
        reference_price=text(check.reference_price),
        ledger_sequence=check.ledger_sequence,
        traceparent=check.traceparent,
    )


def _checked(check: Check) -> order_pb2.Order:
    """A new order as it was asked for; of an open one also what has filled."""
    if check.order.state is OrderState.PENDING_NEW:
        return asked_to_proto(check.order, check.provenance, check.instrument)
    return order_to_proto(check.order, check.provenance, check.instrument, 0)


def gate_answer(message: risk_gate_service_pb2.CheckOrdersResponse) -> Ready | Verdicts | Kill | None:
    """What risk's gate says."""
    match message.WhichOneof("message"):
        case "ready":
            return Ready(tuple(_kill(each) for each in message.ready.kill_switches))
        case "verdicts":
            told = message.verdicts
            return Verdicts(told.batch_id, tuple(map(_verdict, told.verdicts)), tuple(map(_preview, told.previews)))
        case "kill_switch":
            return _kill(message.kill_switch)
        case _:
            return None


def _kill(switch: risk_pb2.KillSwitch) -> Kill:
    portfolio_id = switch.target_id if switch.scope == risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO else ""
    strategy_id = switch.target_id if switch.scope == risk_pb2.KILL_SWITCH_SCOPE_STRATEGY else ""
    return Kill(KillScope(portfolio_id, strategy_id), switch.engaged, switch.allow_reducing, switch.principal)


def _verdict(verdict: risk_gate_service_pb2.Verdict) -> Verdict:
    if verdict.WhichOneof("outcome") == "refusal":
        return Verdict(verdict.order_id, refusal=refusal_from_proto(verdict.refusal))
    reserved = verdict.reservation
    cash, quantity, headroom = (Decimal(each) for each in (reserved.cash, reserved.quantity, reserved.headroom))
    fee = Decimal(reserved.commission) if reserved.commission else ZERO
    return Verdict(verdict.order_id, Reservation(cash, quantity, headroom, fee))


def _preview(message: risk_gate_service_pb2.PreviewVerdict) -> Preview:
    return Preview(
        verdict=_verdict(message.verdict),
        price=Decimal(message.price),
        quantity=Decimal(message.quantity),
        notional=Decimal(message.notional),
        largest=optional(message.largest_quantity),
        beyond=refusal_from_proto(message.next_refusal) if message.HasField("next_refusal") else None,
    )
