"""Between the contract and the domain, both ways; pure."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Mapping
from decimal import Decimal

from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import replay_service_pb2
from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2
from tickmesh.strategy.v1 import strategy_pb2

from services.domain.deployment.commands import NewOrder, NewOrderList, ReplaceOrder
from services.domain.deployment.context import Signal
from services.domain.money import format_decimal
from services.domain.orders.order import OrderType, Side, TimeInForce
from services.domain.timeline import Wake
from services.strategy.records import Deployment, Progress, StrategyRecord
from services.strategy.workshop import kinds
from services.wire.values import numbers, timestamp
from services.wire.versions import SIGNAL, check_version
from services.wire.wakes import wake_to_proto

# By the members themselves: what a strategy made up is no key.
_SIDES = numbers(side_pb2.Side, "SIDE_", Side)
_ORDER_TYPES = numbers(order_pb2.OrderType, "ORDER_TYPE_", OrderType)
_TIMES_IN_FORCE = numbers(order_pb2.TimeInForce, "TIME_IN_FORCE_", TimeInForce)


def order_to_proto(command: NewOrder, deployment: Deployment) -> order_service_pb2.CreateOrderRequest:
    """The request that carries a command out."""
    return order_service_pb2.CreateOrderRequest(
        expire_time=timestamp(command.expire_time) if command.expire_time else None,
        trailing_amount=_text(command.trailing_amount),
        trailing_percent=_text(command.trailing_percent),
        post_only=command.post_only,
        reduce_only=command.reduce_only,
        display_quantity=_text(command.display_quantity),
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


def list_to_proto(command: NewOrderList, deployment: Deployment) -> order_list_pb2.CreateOrderListRequest:
    """The request that carries a list out."""
    shared = {"portfolio_id", "deployment_id", "strategy_id", "signal_id", "basis_sequence", "basis_time"}
    listed = []
    for each in command.orders:
        order = order_list_pb2.ListedOrder()
        for field, value in order_to_proto(each, deployment).ListFields():
            if field.name in shared:
                continue
            if field.message_type is None:
                setattr(order, field.name, value)
            else:
                getattr(order, field.name).CopyFrom(value)
        if not each.quantity:
            order.quantity = ""
        listed.append(order)
    return order_list_pb2.CreateOrderListRequest(
        portfolio_id=deployment.portfolio_id,
        contingency_type=command.contingency_type.value,  # type: ignore[arg-type]
        orders=listed,
        deployment_id=deployment.deployment_id,
        strategy_id=deployment.strategy_id,
        signal_id=command.signal_id,
        basis_sequence=command.basis_sequence,
        basis_time=timestamp(command.basis_time),
    )


def replacement_to_proto(
    order_id: str, command: ReplaceOrder, deployment: Deployment
) -> order_service_pb2.ReplaceOrderRequest:
    """The request that puts an order on other terms; the same command has the same request id, whoever sends it."""
    terms = command.terms
    # Of nobody's time or place: the deployment and the command's own id say all.
    request_id = uuid.uuid5(uuid.NAMESPACE_OID, f"{deployment.deployment_id}/{command.command_id}")
    return order_service_pb2.ReplaceOrderRequest(
        order_id=order_id,
        quantity=_text(terms.quantity),
        cash_quantity=_text(terms.cash_quantity),
        limit_price=_text(terms.limit_price),
        stop_price=_text(terms.stop_price),
        trailing_amount=_text(terms.trailing_amount),
        trailing_percent=_text(terms.trailing_percent),
        display_quantity=_text(terms.display_quantity),
        expire_time=None if terms.expire_time is None else timestamp(terms.expire_time),
        request_id=str(request_id),
        deployment_id=deployment.deployment_id,
        basis_sequence=command.basis_sequence,
        basis_time=timestamp(command.basis_time),
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
        version=SIGNAL,
    ).SerializeToString()


def number_signal(sequence: int, body: bytes) -> bytes:
    """The encoded signal with its number."""
    return strategy_pb2.Signal(sequence=sequence).SerializeToString() + body


def decode_signal(payload: bytes) -> strategy_pb2.Signal:
    """A stored signal.

    Raises:
        UnknownVersion: a newer release stored it.
    """
    signal = strategy_pb2.Signal.FromString(payload)
    check_version(signal.version, SIGNAL, "a signal")
    return signal


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


def _text(value: Decimal | None) -> str:
    return "" if value is None else format_decimal(value)
