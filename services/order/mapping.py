"""Orders and their events between the domain and the wire: pure functions."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import Any, NamedTuple

from tickmesh.order.v1 import cancel_timer_pb2, order_list_pb2, order_pb2

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import length_delimited
from services.domain.instrument import Instrument
from services.domain.money import places
from services.domain.orders.order import INITIAL_MARGIN, Order, OrderEvent
from services.domain.orders.replacing import INVERTED
from services.domain.orders.telling import inversion_told
from services.domain.risk.limit import Checked
from services.order.records import TimerRow
from services.order.ticket import Provenance
from services.wire.costs import duration, put_terms
from services.wire.limits import check_to_proto
from services.wire.orders import refusal_to_proto
from services.wire.values import nanoseconds, set_time, text, timestamp
from services.wire.versions import ORDER_EVENT, check_version

_ORDER_IN_EVENT = order_pb2.OrderEvent.ORDER_FIELD_NUMBER
_ORDER_IN_LIST = order_list_pb2.OrderList.ORDERS_FIELD_NUMBER
_MONEY_PLACES = 2
# The fields from `expire_time` to `trail_price`: most orders have none of them, and one look says so.
_INSTRUCTIONS = slice(Order._fields.index("expire_time"), Order._fields.index("trail_price") + 1)
_NO_INSTRUCTIONS = tuple(Order._field_defaults[name] for name in Order._fields[_INSTRUCTIONS])
_FUNDS = frozenset({"INSUFFICIENT_BUYING_POWER", "SHORT_NOT_ALLOWED"})
_SESSION = frozenset({"MARKET_CLOSED"})
# Of a refusal, what its answer tells by the same names.
_TOLD = ("limit", "bound", "value", "missing", "portfolio_id", "strategy_id", "symbol", "kill_switch_reason")


class Encoded(NamedTuple):
    """An event's bytes and, within them, its order's: both are encoded once, whoever reads them."""

    event: bytes
    order: bytes


@lru_cache(maxsize=8192)
def exact(value: Decimal) -> str:
    """All digits, also beyond the wire's nine places: what a desk that restarts must find again as it was."""
    whole, _, fraction = format(value, "f").partition(".")
    fraction = fraction.rstrip("0")
    return f"{whole}.{fraction}" if len(fraction) > 9 else text(value, _MONEY_PLACES)


@lru_cache
def _places(instrument_steps: tuple[Decimal, Decimal]) -> tuple[int, int]:
    quantity, price = instrument_steps
    return places(quantity), places(price)


def places_of(instrument: Instrument) -> tuple[int, int]:
    """Digits after the point of the instrument's quantities and prices."""
    return _places((instrument.quantity_increment, instrument.price_increment))


def set_asked(message: Any, order: Order, provenance: Provenance, instrument: Instrument) -> None:
    """Writes the order as it was before it was decided on: what risk needs to know of it, half of its fields."""
    units, price = places_of(instrument)
    # Field by field, and plain numbers: with arguments and enums, whose numbers are the wire's, it takes twice as long.
    message.order_id = order.order_id
    message.client_order_id = order.client_order_id
    message.portfolio_id = order.portfolio_id
    message.environment_id = provenance.environment_id
    message.symbol = order.symbol
    message.side = order.side.real
    message.order_type = order.order_type.real
    message.time_in_force = order.time_in_force.real
    message.quantity = text(order.quantity, units)
    if order.cash_quantity is not None:
        message.cash_quantity = text(order.cash_quantity, _MONEY_PLACES)
    if order.limit_price is not None:
        message.limit_price = text(order.limit_price, price)
    if order.stop_price is not None:
        message.stop_price = text(order.stop_price, price)
    message.state = order.state.real
    message.deployment_id = order.deployment_id
    message.strategy_id = order.strategy_id
    message.basis_sequence = order.basis_sequence
    if order[_INSTRUCTIONS] != _NO_INSTRUCTIONS:
        _instruct(message, order, units, price)
    if order.order_list_id:
        message.order_list_id, message.parent_order_id = order.order_list_id, order.parent_order_id
        message.contingency_type = order.contingency_type.real
    if order.costs is not None or order.fill_settings is not None:
        put_terms(message, order)


def _instruct(message: order_pb2.Order, order: Order, units: int, price: int) -> None:
    if order.expire_time:
        set_time(message.expire_time, order.expire_time)
    if order.trailing_amount is not None:
        message.trailing_amount = text(order.trailing_amount, price)
    if order.trailing_percent is not None:
        message.trailing_percent = text(order.trailing_percent)
    if order.display_quantity is not None:
        message.display_quantity = text(order.display_quantity, units)
    if order.trail_price is not None:
        message.trail_price = exact(order.trail_price)
    message.post_only, message.reduce_only = order.post_only, order.reduce_only


def order_to_proto(order: Order, provenance: Provenance, instrument: Instrument, sequence: int) -> order_pb2.Order:
    """The order as clients see it, after event `sequence`."""
    units, price = places_of(instrument)
    reserved, refusal = order.reservation, order.refusal
    message: Any = order_pb2.Order()
    set_asked(message, order, provenance, instrument)
    message.cum_quantity = text(order.cum_quantity, units)
    message.leaves_quantity = text(order.leaves_quantity, units)
    message.avg_price = text(order.avg_price, price) if order.avg_price else "0"
    message.commission = exact(order.commission)
    if order.commission_quantity:
        message.commission_quantity = text(order.commission_quantity, units)
    message.gross_amount = exact(order.gross_amount)
    if order.fraction_amount:
        message.fraction_amount = exact(order.fraction_amount)
    message.cancel_reason = order.cancel_reason.real
    if refusal is not None:
        message.refusal.CopyFrom(refusal_to_proto(refusal))
    reservation = message.reservation
    reservation.cash = exact(reserved.cash)
    reservation.quantity = text(reserved.quantity, units)
    reservation.headroom = exact(reserved.headroom)
    if reserved.commission:
        reservation.commission = exact(reserved.commission)
    if reserved.margin != INITIAL_MARGIN:
        reservation.margin = exact(reserved.margin)
    message.signal_id = provenance.signal_id
    message.label = order.label
    set_time(message.basis_time, order.basis_time)
    set_time(message.create_time, provenance.create_time)
    message.last_event_sequence = sequence
    message.principal = provenance.principal
    message.owner = provenance.owner
    message.event_count = order.event_count
    message.session_id = provenance.session_id
    message.priority = order.priority
    if order.latency:
        message.latency.CopyFrom(duration(order.latency))
    whole: order_pb2.Order = message
    return whole


def encode_event(
    event: OrderEvent,
    provenance: Provenance,
    instrument: Instrument,
    *,
    sequence: int,
    create_time: int,
    cause: str,
    principal: str,
    traceparent: str,
    checks: Sequence[Checked] = (),
) -> Encoded:
    """The event as it is stored, streamed and listed.

    Args:
        create_time: wall time, ns.
        checks: of an order's first event, or of new terms, what the limits said.
    """
    units, price = places_of(instrument)
    order = order_to_proto(event.order, provenance, instrument, sequence).SerializeToString()
    rest: Any = order_pb2.OrderEvent()
    rest.sequence = sequence
    rest.exec_id = event.exec_id
    rest.exec_type = event.exec_type.real
    rest.last_quantity = text(event.last_quantity, units) if event.last_quantity else "0"
    rest.last_price = text(event.last_price, price) if event.last_price else "0"
    rest.last_commission = exact(event.last_commission) if event.last_commission else "0"
    rest.last_commission_quantity = text(kept, units) if (kept := event.last_commission_quantity) else ""
    set_time(rest.transact_time, event.transact_time)
    rest.tape_sequence = event.tape_sequence
    set_time(rest.create_time, create_time)
    rest.cause = cause
    rest.principal = principal
    rest.traceparent = traceparent
    rest.version = ORDER_EVENT
    if checks:
        rest.checks.extend(map(check_to_proto, checks))
    return Encoded(rest.SerializeToString() + length_delimited(_ORDER_IN_EVENT, order), order)


def decode_event(payload: bytes) -> order_pb2.OrderEvent:
    """A stored event.

    Raises:
        UnknownVersion: a newer release stored it.
    """
    event = order_pb2.OrderEvent.FromString(payload)
    check_version(event.version, ORDER_EVENT, "an order event")
    return event


def decode_order(data: bytes) -> order_pb2.Order:
    """An encoded order."""
    return order_pb2.Order.FromString(data)


def provenance_from_proto(event: order_pb2.OrderEvent, key: str, asked: str) -> Provenance:
    """What a stored order says beyond the domain's."""
    order = event.order
    return Provenance(
        environment_id=order.environment_id,
        client_key=key,
        asked=asked,
        signal_id=order.signal_id,
        principal=order.principal,
        owner=order.owner,
        create_time=nanoseconds(order.create_time),
        traceparent=event.traceparent,
        session_id=order.session_id,
    )


def refusal_error(order_id: str, refusal: order_pb2.Refusal) -> ApiError:
    """How a refused order is answered, the first time and at every repeat; or what was asked of an open one."""
    named = {name: getattr(refusal, name) for name in _TOLD} | {"refused_order_id": refusal.order_id}
    metadata = {"order_id": order_id} | {name: value for name, value in named.items() if value}
    kind = "FUNDS" if refusal.reason in _FUNDS else "SESSION" if refusal.reason in _SESSION else "RISK"
    short = f", missing {refusal.missing}" if refusal.missing else ""
    hit = f"bound {refusal.bound}, value {refusal.value}{short}" if refusal.bound else refusal.reason
    why = f" ({refusal.kill_switch_reason})" if refusal.kill_switch_reason else ""
    with_list = "" if refusal.order_id in {"", order_id} else f" with its list: order {refusal.order_id} was refused"
    message = f"The order was refused{with_list} by {refusal.limit}: {hit}{why}."
    if refusal.reason == INVERTED:
        message = f"The order was refused: {inversion_told(refusal.limit, refusal.value, refusal.bound)}."
    return ApiError.failed_precondition(refusal.reason, message, kind=kind, subject=order_id, metadata=metadata)


def encode_list(order_list_id: str, kind: int, orders: Iterable[bytes]) -> bytes:
    """A list's orders, encoded each, as they are answered."""
    head = order_list_pb2.OrderList(order_list_id=order_list_id, contingency_type=kind)  # type: ignore[arg-type]
    return head.SerializeToString() + b"".join(length_delimited(_ORDER_IN_LIST, order) for order in orders)


def execution(event: order_pb2.OrderEvent) -> order_pb2.Execution:
    """A fill as it is listed."""
    order = event.order
    return order_pb2.Execution(
        exec_id=event.exec_id,
        sequence=event.sequence,
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        environment_id=order.environment_id,
        symbol=order.symbol,
        side=order.side,
        quantity=event.last_quantity,
        price=event.last_price,
        commission=event.last_commission,
        commission_quantity=event.last_commission_quantity,
        transact_time=event.transact_time,
        tape_sequence=event.tape_sequence,
        deployment_id=order.deployment_id,
    )


def cancel_timer_to_proto(timer: TimerRow) -> cancel_timer_pb2.CancelTimer:
    """A cancel timer as it stands."""
    return cancel_timer_pb2.CancelTimer(
        environment_id=timer.environment_id,
        portfolio_id=timer.portfolio_id,
        principal=timer.principal,
        trigger_time=timestamp(timer.trigger_time) if timer.trigger_time else None,
    )
