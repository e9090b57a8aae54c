"""What crosses the wire comes back as it was."""

from decimal import Decimal
from typing import Any

import pytest
from tickmesh.marketdata.v1 import tape_service_pb2
from tickmesh.order.v1 import order_pb2
from tickmesh.strategy.v1 import strategy_pb2

from services.chassis.validation import validate
from services.domain.context import NewOrder, Signal
from services.domain.order import CancelReason, OrderState, OrderType, Refusal, Side, TimeInForce
from services.domain.tape import merge
from services.domain.timeline import Wake
from services.strategy.mapping import (
    deployment_to_proto,
    encode_signal,
    event_from_proto,
    nanoseconds,
    number_signal,
    order_from_proto,
    order_to_proto,
    tape_from_proto,
    timestamp,
    wake_to_proto,
)
from services.strategy.records import Deployment, Progress, State
from tests.unit.domain.markets import clock, daily, splits, walk

DEPLOYMENT = Deployment("d1", 1, "s1", "p1", "r1", "", 1_500_000_000, "local", "local", 2, State.RUNNING, "", 30)


@pytest.mark.parametrize("time", [0, 1, 999_999_999, 1_700_000_000_123_456_789, -1])
def test_times_keep_their_nanoseconds(time: int) -> None:
    assert nanoseconds(timestamp(time)) == time


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


def test_an_event_brings_the_whole_order() -> None:
    event = order_pb2.OrderEvent(
        sequence=9,
        exec_id="r1-3-2",
        exec_type=order_pb2.EXEC_TYPE_CANCELED,
        transact_time=timestamp(77),
        tape_sequence=12,
        last_quantity="0",
        order=order_pb2.Order(
            order_id="r1-3",
            client_order_id="2-7-1",
            portfolio_id="p1",
            symbol="A",
            side=1,
            order_type=2,
            time_in_force=3,
            quantity="10",
            limit_price="10.5",
            state=order_pb2.ORDER_STATE_CANCELED,
            cum_quantity="4",
            leaves_quantity="0",
            gross_amount="42.000000001",
            cancel_reason=order_pb2.CANCEL_REASON_IOC_REMAINDER,
            reservation=order_pb2.Reservation(cash="105", quantity="10", headroom="1"),
            deployment_id="d1",
            event_count=2,
        ),
    )
    found = event_from_proto(event)
    order = found.order
    assert (found.exec_id, found.transact_time, found.tape_sequence) == ("r1-3-2", 77, 12)
    assert (order.state, order.order_type, order.time_in_force) == (
        OrderState.CANCELED,
        OrderType.LIMIT,
        TimeInForce.IOC,
    )
    assert (order.cum_quantity, order.gross_amount, order.stop_price) == (Decimal(4), Decimal("42.000000001"), None)
    assert (order.cancel_reason, order.reservation.cash, order.refusal) == (CancelReason.IOC_REMAINDER, 105, None)
    event.order.refusal.CopyFrom(order_pb2.Refusal(reason="X", limit="x", bound="1", value="2"))
    assert order_from_proto(event.order).refusal == Refusal("X", "x", Decimal(1), Decimal(2))


def test_a_tape_comes_back_from_its_stretches() -> None:
    tape = merge([clock(9), daily("A", walk(1, 9)), splits("A", {3: (2.0, 1.0)})])
    sources = [
        tape_service_pb2.TapeSource(kind=each.kind.value, symbol=each.symbol, interval=each.interval)
        for each in tape.sources
    ]
    parts = [
        tape_service_pb2.ReadTapeResponse(
            sources=[] if first else sources,
            source=tape.source[first : first + 5].tolist(),
            time=tape.time[first : first + 5].tolist(),
            start=tape.start[first : first + 5].tolist(),
            values=tape.values[first : first + 5].ravel().tolist(),
        )
        for first in range(0, len(tape), 5)
    ]
    assert tape_from_proto(parts).digest() == tape.digest()


def test_what_is_waited_for_crosses_the_wire() -> None:
    wake = wake_to_proto(Wake(frozenset({"B", "A"}), frozenset({("A", ""), ("A", "1d")}), 5_000_000_007, 9))
    assert list(wake.record_symbols) == ["A", "B"]
    assert [(bar.symbol, bar.interval) for bar in wake.bars] == [("A", ""), ("A", "1d")]
    assert (nanoseconds(wake.time), wake.tape_sequence) == (5_000_000_007, 9)
    assert not wake_to_proto(Wake()).HasField("time")


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
