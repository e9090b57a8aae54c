"""Between the contract and the domain, both ways; pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import environment_pb2, instrument_pb2, replay_service_pb2, tape_service_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.strategy.v1 import strategy_pb2

from services.domain.context import NewOrder, Signal
from services.domain.instrument import Instrument
from services.domain.money import ZERO, format_decimal
from services.domain.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Refusal,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.tape import VALUES, Kind, Source, Tape
from services.domain.timeline import Wake
from services.strategy import kinds
from services.strategy.records import Deployment, Progress, StrategyRecord

# By the members themselves: what a strategy made up is no key.
_SIDES = {side: side_pb2.Side.Value(f"SIDE_{side.name}") for side in Side}
_ORDER_TYPES = {each: order_pb2.OrderType.Value(f"ORDER_TYPE_{each.name}") for each in OrderType}
_TIMES_IN_FORCE = {each: order_pb2.TimeInForce.Value(f"TIME_IN_FORCE_{each.name}") for each in TimeInForce}
_ENDED = (environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED)


class Environment(NamedTuple):
    """What strategies want to know of an environment."""

    environment_id: str
    symbols: tuple[str, ...]
    end_sequence: int
    ended: bool


def timestamp(time: int) -> Timestamp:
    """Nanoseconds since the epoch as a time of the wire."""
    seconds, nanos = divmod(time, 1_000_000_000)
    return Timestamp(seconds=seconds, nanos=nanos)


def nanoseconds(of: Timestamp) -> int:
    """A time of the wire in nanoseconds since the epoch."""
    return of.seconds * 1_000_000_000 + of.nanos


def environment_from_proto(environment: environment_pb2.Environment) -> Environment:
    """An environment as strategies know it."""
    return Environment(
        environment.environment_id,
        tuple(environment.symbols),
        environment.end_sequence,
        environment.state in _ENDED,
    )


def instrument_from_proto(instrument: instrument_pb2.Instrument) -> Instrument:
    """An instrument of the domain."""
    return Instrument(
        symbol=instrument.symbol,
        name=instrument.display_name,
        currency_code=instrument.currency_code,
        calendar=instrument.calendar,
        price_increment=Decimal(instrument.price_increment),
        quantity_increment=Decimal(instrument.quantity_increment),
        lot_size=Decimal(instrument.lot_size or 1),
        contract_multiplier=Decimal(instrument.contract_multiplier or 1),
    )


def tape_from_proto(parts: Sequence[tape_service_pb2.ReadTapeResponse]) -> Tape:
    """One tape of its stretches, of which the first has the sources; at least one."""
    return Tape(
        tuple(Source(Kind(each.kind), each.symbol, each.interval) for each in parts[0].sources),
        np.concatenate([np.array(part.source, np.int32) for part in parts]),
        np.concatenate([np.array(part.time, np.int64) for part in parts]),
        np.concatenate([np.array(part.start, np.int64) for part in parts]),
        np.concatenate([np.array(part.values, np.float64).reshape(-1, VALUES) for part in parts]),
    )


@lru_cache(maxsize=1024)
def wake_to_proto(wake: Wake) -> replay_service_pb2.NextWake:
    """What a strategy waits for; the same message for the same wait, not to be changed."""
    return replay_service_pb2.NextWake(
        record_symbols=sorted(wake.records),
        bars=[replay_service_pb2.BarKey(symbol=symbol, interval=interval) for symbol, interval in sorted(wake.bars)],
        time=None if wake.time is None else timestamp(wake.time),
        tape_sequence=wake.sequence,
    )


def order_to_proto(command: NewOrder, deployment: Deployment) -> order_service_pb2.CreateOrderRequest:
    """The request that carries a command out."""
    return order_service_pb2.CreateOrderRequest(
        client_order_id=command.client_order_id,
        portfolio_id=deployment.portfolio_id,
        symbol=command.symbol,
        side=_SIDES[command.side],
        order_type=_ORDER_TYPES[command.order_type],
        time_in_force=_TIMES_IN_FORCE[command.time_in_force],
        quantity=format_decimal(command.quantity) if command.cash_quantity is None else "",
        cash_quantity=_text(command.cash_quantity),
        limit_price=_text(command.limit_price),
        stop_price=_text(command.stop_price),
        label=command.label,
        deployment_id=deployment.deployment_id,
        strategy_id=deployment.strategy_id,
        signal_id=command.signal_id,
        basis_sequence=command.basis_sequence,
        basis_time=timestamp(command.basis_time),
    )


def order_from_proto(order: order_pb2.Order) -> Order:
    """An order of the domain."""
    reserved = order.reservation
    return Order(
        order_id=order.order_id,
        client_order_id=order.client_order_id,
        portfolio_id=order.portfolio_id,
        symbol=order.symbol,
        side=Side(order.side),
        order_type=OrderType(order.order_type),
        time_in_force=TimeInForce(order.time_in_force),
        quantity=_decimal(order.quantity),
        cash_quantity=_optional(order.cash_quantity),
        limit_price=_optional(order.limit_price),
        stop_price=_optional(order.stop_price),
        strategy_id=order.strategy_id,
        deployment_id=order.deployment_id,
        label=order.label,
        state=OrderState(order.state),
        cum_quantity=_decimal(order.cum_quantity),
        leaves_quantity=_decimal(order.leaves_quantity),
        avg_price=_decimal(order.avg_price),
        gross_amount=_decimal(order.gross_amount),
        commission=_decimal(order.commission),
        basis_sequence=order.basis_sequence,
        basis_time=nanoseconds(order.basis_time),
        reservation=Reservation(_decimal(reserved.cash), _decimal(reserved.quantity), _decimal(reserved.headroom)),
        refusal=_refusal(order.refusal) if order.HasField("refusal") else None,
        cancel_reason=CancelReason(order.cancel_reason),
        event_count=order.event_count,
    )


def event_from_proto(event: order_pb2.OrderEvent) -> OrderEvent:
    """An order event of the domain."""
    return OrderEvent(
        exec_id=event.exec_id,
        exec_type=ExecType(event.exec_type),
        order=order_from_proto(event.order),
        transact_time=nanoseconds(event.transact_time),
        tape_sequence=event.tape_sequence,
        last_quantity=_decimal(event.last_quantity),
        last_price=_decimal(event.last_price),
        last_commission=_decimal(event.last_commission),
    )


def encode_signal(
    signal: Signal, deployment: Deployment, client_order_ids: Iterable[str], create_time: int, traceparent: str
) -> bytes:
    """A signal without its number. `create_time` is wall time, ns.

    Raises:
        TypeError, ValueError, AttributeError, LookupError: a strategy made it of something else than it should.
    """
    return strategy_pb2.Signal(
        signal_id=signal.signal_id,
        environment_id=deployment.environment_id,
        deployment_id=deployment.deployment_id,
        strategy_id=deployment.strategy_id,
        portfolio_id=deployment.portfolio_id,
        symbol=signal.symbol,
        side=_SIDES[signal.side],
        strength=signal.strength,
        values={name: float(value) for name, value in signal.values.items()},
        tape_sequence=signal.tape_sequence,
        event_time=timestamp(signal.time),
        create_time=timestamp(create_time),
        client_order_ids=client_order_ids,
        traceparent=traceparent,
    ).SerializeToString()


def number_signal(sequence: int, body: bytes) -> bytes:
    """The encoded signal with its number."""
    return strategy_pb2.Signal(sequence=sequence).SerializeToString() + body


def kind_to_proto(kind: kinds.Kind) -> strategy_pb2.StrategyKind:
    """A kind as clients see it."""
    return strategy_pb2.StrategyKind(
        kind=kind.kind.kind,
        description=kind.kind.description,
        parameters=[
            strategy_pb2.Parameter(
                name=spec.name,
                type=strategy_pb2.ParameterType.Value(f"PARAMETER_TYPE_{spec.type.upper()}"),
                description=spec.description,
                default_value=kinds.parameter_text(spec.default),
                minimum="" if spec.minimum is None else str(spec.minimum),
                maximum="" if spec.maximum is None else str(spec.maximum),
            )
            for spec in kind.kind.parameters
        ],
        origin=kind.origin,
    )


def strategy_to_proto(strategy: StrategyRecord) -> strategy_pb2.Strategy:
    """A strategy as clients see it."""
    return strategy_pb2.Strategy(
        strategy_id=strategy.strategy_id,
        display_name=strategy.display_name,
        kind=strategy.kind,
        parameters=strategy.parameters,
        symbols=strategy.symbols,
        create_time=timestamp(strategy.create_time),
        principal=strategy.principal,
        owner=strategy.owner,
    )


def deployment_to_proto(deployment: Deployment, progress: Progress) -> strategy_pb2.Deployment:
    """A deployment as clients see it."""
    return strategy_pb2.Deployment(
        deployment_id=deployment.deployment_id,
        strategy_id=deployment.strategy_id,
        portfolio_id=deployment.portfolio_id,
        environment_id=deployment.environment_id,
        deployment_number=deployment.deployment_number,
        state=strategy_pb2.DeploymentState.Value(f"DEPLOYMENT_STATE_{deployment.state.value}"),
        error=deployment.error,
        start_sequence=deployment.start_sequence,
        tape_sequence=max(progress.tape_sequence, deployment.start_sequence),
        signal_count=progress.signal_count,
        create_time=timestamp(deployment.create_time),
        principal=deployment.principal,
        owner=deployment.owner,
    )


def done_to_proto(environment_id: str, cycle: int, wakes: Mapping[str, Wake]) -> replay_service_pb2.JoinReplayRequest:
    """The answer to a decide."""
    each = [
        replay_service_pb2.DeploymentWake(deployment_id=deployment_id, next_wake=wake_to_proto(wake))
        for deployment_id, wake in wakes.items()
    ]
    done = replay_service_pb2.Done(environment_id=environment_id, cycle=cycle, wakes=each)
    return replay_service_pb2.JoinReplayRequest(done=done)


def _refusal(refusal: order_pb2.Refusal) -> Refusal:
    figures = (_decimal(each) for each in (refusal.bound, refusal.value, refusal.missing))
    return Refusal(refusal.reason, refusal.limit, *figures)


def _decimal(text: str) -> Decimal:
    return Decimal(text) if text else ZERO


def _optional(text: str) -> Decimal | None:
    return Decimal(text) if text else None


def _text(value: Decimal | None) -> str:
    return "" if value is None else format_decimal(value)
