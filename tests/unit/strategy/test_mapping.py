"""What crosses the wire comes back as it was."""

from decimal import Decimal
from typing import Any

import pytest
from tickmesh.strategy.v1 import strategy_pb2

from services.chassis.calls.validation import validate
from services.domain.deployment.commands import NewOrder
from services.domain.deployment.context import Signal
from services.domain.orders.order import OrderType, Side, TimeInForce
from services.strategy.mapping import deployment_to_proto, encode_signal, number_signal, order_to_proto
from services.strategy.records import Deployment, Progress, State
from services.wire.values import nanoseconds

DEPLOYMENT = Deployment("d1", 1, "s1", "p1", "r1", "", 1_500_000_000, "local", "local", 2, State.RUNNING, "", 30)


@pytest.mark.parametrize(
    "terms",
    [
        {"quantity": Decimal("1E+2")},
        {"cash_quantity": Decimal("1000.5")},
        {"quantity": Decimal(1), "order_type": OrderType.LIMIT, "limit_price": Decimal("10.0001")},
        {"quantity": Decimal(1), "order_type": OrderType.STOP, "stop_price": Decimal(9)},
        {"quantity": Decimal(1), "time_in_force": TimeInForce.IOC, "label": "x", "signal_id": "2-7-1"},
    ],
)
def test_a_command_becomes_a_valid_request(terms: dict[str, Any]) -> None:
    values = {"order_type": OrderType.MARKET, "time_in_force": TimeInForce.GTC} | terms
    command = NewOrder("2-7-1", "A", Side.BUY, basis_sequence=7, basis_time=5_000_000_001, **values)
    request = order_to_proto(command, DEPLOYMENT)
    validate(request)
    assert (request.deployment_id, request.strategy_id, request.portfolio_id) == ("d1", "s1", "p1")
    assert (request.basis_sequence, nanoseconds(request.basis_time)) == (7, 5_000_000_001)
    assert Decimal(request.quantity or 0) == command.quantity
    for name in ("cash_quantity", "limit_price", "stop_price"):
        assert (getattr(request, name) or None) == (None if name not in terms else str(terms[name]))
    assert request.label == command.label
    assert request.signal_id == command.signal_id


@pytest.mark.parametrize("side", ["BUY", 1, None])
def test_a_command_of_made_up_values_is_refused(side: Any) -> None:
    command = NewOrder("2-7-1", "A", side, OrderType.MARKET, TimeInForce.GTC, Decimal(1))
    if side == 1:
        # An IntEnum's member is its number.
        assert order_to_proto(command, DEPLOYMENT).side == 1
    else:
        with pytest.raises(KeyError):
            order_to_proto(command, DEPLOYMENT)


def test_a_signal_is_encoded_once_and_numbered_later() -> None:
    signal = Signal("2-7-1", "A", Side.SELL, 0.5, {"z": -2.5}, 7, 5_000_000_001)
    body = encode_signal(signal, DEPLOYMENT, ["2-7-1"], 9, "00-x")
    found = strategy_pb2.Signal.FromString(number_signal(41, body))
    assert (found.sequence, found.signal_id, found.deployment_id, found.environment_id) == (41, "2-7-1", "d1", "r1")
    assert (found.side, found.strength, dict(found.values)) == (2, 0.5, {"z": -2.5})
    assert (list(found.client_order_ids), found.traceparent) == (["2-7-1"], "00-x")
    assert (nanoseconds(found.event_time), nanoseconds(found.create_time)) == (5_000_000_001, 9)


def test_a_deployment_stands_at_least_where_it_began() -> None:
    shown = deployment_to_proto(DEPLOYMENT, Progress(signal_count=3))
    assert (shown.tape_sequence, shown.start_sequence, shown.signal_count) == (30, 30, 3)
    assert shown.state == strategy_pb2.DEPLOYMENT_STATE_RUNNING
