"""The messages exchanged with risk's gate, as values: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from typing import NamedTuple

from tickmesh.risk.v1 import risk_gate_service_pb2, risk_pb2

from services.domain.costs import NO_SLIP, Slip
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.order import INITIAL_MARGIN, Order, OrderState, Reservation
from services.domain.risk.gate import Verdict
from services.domain.risk.limits import KillScope
from services.domain.risk.preview import Preview
from services.order.mapping import order_to_proto, set_asked
from services.order.records import RunawayRow
from services.order.ticket import Provenance
from services.wire.limits import check_from_proto
from services.wire.orders import refusal_from_proto
from services.wire.values import optional, set_time, text


class Check(NamedTuple):
    """One order to check, a new one or an open one on new terms, with what risk must know before.

    Attributes:
        slip: what the venue can say of the prices to come.
    """

    order: Order
    provenance: Provenance
    instrument: Instrument
    reference_price: Decimal
    ledger_sequence: int
    traceparent: str
    slip: Slip = NO_SLIP


class Kill(NamedTuple):
    """A kill switch as risk tells of it."""

    scope: KillScope
    engaged: bool
    allow_reducing: bool
    principal: str


class Guard(NamedTuple):
    """A runaway guard as risk tells of it: orders a second of wall time, of a portfolio or where none is named of each.

    Attributes:
        bound: None where there is no guard any more.
    """

    portfolio_id: str
    bound: Decimal | None


class Ready(NamedTuple):
    """Risk answers from here on; these switches are engaged, and these guards set."""

    kills: tuple[Kill, ...]
    guards: tuple[Guard, ...] = ()


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
    order_events: bytes = b"",
    standing: Iterable[int] = (),
) -> risk_gate_service_pb2.CheckOrdersRequest:
    """Orders for risk's gate, or some that are only thought of, with what happened before them."""
    message = risk_gate_service_pb2.CheckOrdersRequest()
    # Everything is written where it belongs: messages made apart are copied into one another, three times here.
    batch = message.batch
    batch.batch_id, batch.order_head, batch.tape_sequence = batch_id, order_head, tape_sequence
    batch.order_events = order_events
    batch.standing_batch_ids.extend(standing)
    set_time(batch.market_time, market_time)
    for check in checks:
        _set_check(batch.checks.add(), check)
    for check in previews:
        _set_check(batch.previews.add(), check)
    return message


def _set_check(message: risk_gate_service_pb2.OrderCheck, check: Check) -> None:
    if check.order.state is OrderState.PENDING_NEW:
        set_asked(message.order, check.order, check.provenance, check.instrument)
    else:
        # Of an open one also what has filled.
        message.order.CopyFrom(order_to_proto(check.order, check.provenance, check.instrument, 0))
    message.reference_price = text(check.reference_price)
    message.ledger_sequence = check.ledger_sequence
    message.traceparent = check.traceparent
    if check.slip is not NO_SLIP:
        message.spread, message.size_share = text(check.slip.spread), text(check.slip.share)
        for level in check.slip.levels:
            message.levels.add(distance=text(level.distance), quantity=text(level.units))


def runaway_to_proto(runaway: RunawayRow) -> risk_gate_service_pb2.ReportRunawayRequest:
    """What risk is told of a portfolio whose orders are turned away."""
    message = risk_gate_service_pb2.ReportRunawayRequest(
        environment_id=runaway.environment_id,
        portfolio_id=runaway.portfolio_id,
        bound=text(runaway.bound),
        value=runaway.value,
        principal=runaway.principal,
    )
    set_time(message.begin_time, runaway.begin_time)
    return message


def gate_answer(message: risk_gate_service_pb2.CheckOrdersResponse) -> Ready | Verdicts | Kill | Guard | None:
    """What risk's gate says."""
    match message.WhichOneof("message"):
        case "ready":
            guards = tuple(_guard(each) for each in message.ready.runaway_guards)
            return Ready(tuple(_kill(each) for each in message.ready.kill_switches), guards)
        case "verdicts":
            told = message.verdicts
            return Verdicts(told.batch_id, tuple(map(_verdict, told.verdicts)), tuple(map(_preview, told.previews)))
        case "kill_switch":
            return _kill(message.kill_switch)
        case "runaway_guard":
            return _guard(message.runaway_guard)
        case _:
            return None


def _kill(switch: risk_pb2.KillSwitch) -> Kill:
    portfolio_id = switch.target_id if switch.scope == risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO else ""
    strategy_id = switch.target_id if switch.scope == risk_pb2.KILL_SWITCH_SCOPE_STRATEGY else ""
    return Kill(KillScope(portfolio_id, strategy_id), switch.engaged, switch.allow_reducing, switch.principal)


def _guard(guard: risk_gate_service_pb2.RunawayGuard) -> Guard:
    return Guard(guard.portfolio_id, Decimal(guard.bound) if guard.bound else None)


def _verdict(verdict: risk_gate_service_pb2.Verdict) -> Verdict:
    checks = tuple(map(check_from_proto, verdict.checks)) if verdict.checks else ()
    if verdict.WhichOneof("outcome") == "refusal":
        return Verdict(verdict.order_id, refusal=refusal_from_proto(verdict.refusal), checks=checks)
    reserved = verdict.reservation
    cash, quantity, headroom = (Decimal(each) for each in (reserved.cash, reserved.quantity, reserved.headroom))
    fee = Decimal(reserved.commission) if reserved.commission else ZERO
    margin = Decimal(reserved.margin) if reserved.margin else INITIAL_MARGIN
    return Verdict(verdict.order_id, Reservation(cash, quantity, headroom, fee, margin), checks=checks)


def _preview(message: risk_gate_service_pb2.PreviewVerdict) -> Preview:
    return Preview(
        verdict=_verdict(message.verdict),
        price=Decimal(message.price),
        quantity=Decimal(message.quantity),
        notional=Decimal(message.notional),
        largest=optional(message.largest_quantity),
        beyond=refusal_from_proto(message.next_refusal) if message.HasField("next_refusal") else None,
        slippage=Decimal(message.slippage),
        initial_margin=Decimal(message.initial_margin),
    )
