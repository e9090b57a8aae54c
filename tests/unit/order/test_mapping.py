"""Orders between the domain and the wire."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.money import format_decimal
from services.domain.orders.order import (
    INITIAL_MARGIN,
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
from services.order import mapping
from services.order.commands.increments import check_increments
from services.order.entry.mapping import ticket_from_proto
from services.order.ticket import Provenance
from services.wire.orders import order_from_proto
from services.wire.values import text
from services.wire.versions import ORDER_EVENT

INSTRUMENT = Instrument("AAPL", price_increment=Decimal("0.0001"), quantity_increment=Decimal("0.001"))
PROVENANCE = Provenance("replay-1", "trend:a", "asked", "signal", "local", "local", 1_700_000_000_123_456_789)

amounts = st.decimals(0, 10**12, places=9, allow_nan=False)
exact_amounts = st.decimals(0, 10**12, places=18, allow_nan=False)
prices = st.integers(1, 10**9).map(lambda n: n * Decimal("0.0001"))
units = st.integers(0, 10**9).map(lambda n: n * Decimal("0.001"))


@st.composite
def orders(draw: st.DrawFn) -> Order:
    """Any order that the venue may hold."""
    order_type, time_in_force = draw(st.sampled_from(OrderType)), draw(st.sampled_from(TimeInForce))
    by_cash, by_percent = draw(st.booleans()), draw(st.booleans())
    trails = order_type is OrderType.TRAILING_STOP
    return Order(
        order_id=f"replay-1-{draw(st.integers(1, 10**9))}",
        client_order_id="a",
        portfolio_id="trend",
        symbol="AAPL",
        side=draw(st.sampled_from(Side)),
        order_type=order_type,
        time_in_force=time_in_force,
        quantity=draw(units),
        cash_quantity=draw(amounts) if by_cash else None,
        limit_price=draw(prices) if order_type.name.startswith(("LIMIT", "STOP_LIMIT")) else None,
        stop_price=draw(prices) if order_type.value > OrderType.LIMIT else None,
        strategy_id="s",
        deployment_id="d",
        label="l",
        state=draw(st.sampled_from(OrderState)),
        cum_quantity=draw(units),
        leaves_quantity=draw(units),
        avg_price=draw(amounts),
        gross_amount=draw(exact_amounts),
        fraction_amount=draw(exact_amounts),
        commission=draw(exact_amounts),
        basis_sequence=draw(st.integers(0, 10**9)),
        basis_time=draw(st.integers(0, 2 * 10**18)),
        reservation=Reservation(
            draw(exact_amounts),
            draw(units) * draw(st.sampled_from([-1, 1])),
            draw(exact_amounts),
            draw(exact_amounts),
            draw(st.just(INITIAL_MARGIN) | amounts.filter(bool)),
        ),
        refusal=draw(
            st.none() | st.builds(Refusal, st.just("LIMIT_EXCEEDED"), st.just("limit"), amounts, amounts, amounts)
        ),
        cancel_reason=draw(st.sampled_from(CancelReason)),
        event_count=draw(st.integers(0, 100)),
        expire_time=draw(st.integers(1, 2 * 10**9)) * 10**9 if time_in_force is TimeInForce.GTD else 0,
        trailing_amount=draw(prices) if trails and not by_percent else None,
        trailing_percent=draw(amounts) if trails and by_percent else None,
        post_only=draw(st.booleans()),
        reduce_only=draw(st.booleans()),
        display_quantity=draw(st.none() | units) if order_type is OrderType.LIMIT else None,
        trail_price=draw(st.none() | exact_amounts) if trails else None,
        priority=draw(st.integers(0, 10**9)),
    )


@given(orders())
def test_an_order_comes_back_from_the_wire_as_it_was(order: Order) -> None:
    """Else a venue that restarts would not be the one that stopped."""
    message = mapping.order_to_proto(order, PROVENANCE, INSTRUMENT, 7)
    assert order_from_proto(order_pb2.Order.FromString(message.SerializeToString())) == order


@given(orders())
def test_an_events_bytes_hold_the_orders_bytes(order: Order) -> None:
    event = OrderEvent(ExecType.TRADE, order, 5, 6, Decimal(1), Decimal("2.5"), Decimal("0.01"))
    encoded = mapping.encode_event(
        event,
        PROVENANCE,
        INSTRUMENT,
        sequence=7,
        create_time=8,
        cause="tape",
        principal="local",
        traceparent="t",
    )
    message = mapping.decode_event(encoded.event)
    assert message.order == mapping.decode_order(encoded.order)
    assert (message.sequence, message.order.last_event_sequence, message.version) == (7, 7, ORDER_EVENT)
    assert (message.last_price, message.last_quantity) == ("2.5000", "1.000")
    found = mapping.provenance_from_proto(message, "trend:a", "asked")
    assert found == Provenance("replay-1", "trend:a", "asked", "signal", "local", "local", PROVENANCE.create_time, "t")


@given(st.decimals(allow_nan=False, allow_infinity=False, min_value=-(10**17), max_value=10**17), st.integers(0, 9))
def test_the_fast_way_to_write_a_decimal_writes_the_same(value: Decimal, places: int) -> None:
    assert text(value, places) == format_decimal(value, places)


def request(**values: Any) -> order_service_pb2.CreateOrderRequest:
    fields: dict[str, Any] = {
        "client_order_id": "a",
        "portfolio_id": "trend",
        "symbol": "AAPL",
        "side": 1,
        "order_type": 2,
        "time_in_force": 2,
        "quantity": "1",
        "limit_price": "100",
    }
    return order_service_pb2.CreateOrderRequest(**(fields | values))


@pytest.mark.parametrize(
    ("values", "same"),
    [
        ({"quantity": "1.000", "limit_price": "100.0"}, True),
        ({"label": "other", "signal_id": "other"}, True),
        ({"quantity": "10"}, False),
        ({"limit_price": "100.1"}, False),
        ({"symbol": "MSFT"}, False),
        ({"side": 2}, False),
        ({"time_in_force": 1}, False),
        ({"order_type": 3, "limit_price": "", "stop_price": "100"}, False),
        ({"quantity": "", "cash_quantity": "1"}, False),
        ({"deployment_id": "d"}, False),
        ({"post_only": True}, False),
        ({"reduce_only": True}, False),
        ({"display_quantity": "0.5"}, False),
        ({"time_in_force": 4, "expire_time": {"seconds": 5}}, False),
    ],
)
def test_a_repeat_is_one_of_the_same_values(values: dict[str, Any], same: bool) -> None:
    first, second = (ticket_from_proto(each) for each in (request(), request(**values)))
    assert first.client_key == second.client_key
    assert (first.asked == second.asked) is same


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ({"trailing_amount": "1.0"}, {"trailing_amount": "1"}, True),
        ({"trailing_amount": "1"}, {"trailing_percent": "1"}, False),
        ({"trailing_percent": "2.50"}, {"trailing_percent": "2.5"}, True),
        ({"trailing_percent": "2.5"}, {"trailing_percent": "25"}, False),
        ({"display_quantity": "0.10"}, {"display_quantity": "0.1"}, True),
        ({"display_quantity": "0.1"}, {"display_quantity": "0.01"}, False),
        (
            {"time_in_force": 4, "expire_time": {"seconds": 5}},
            {"time_in_force": 4, "expire_time": {"seconds": 6}},
            False,
        ),
        ({"post_only": True}, {"reduce_only": True}, False),
    ],
)
def test_a_repeat_has_the_same_instructions(first: dict[str, Any], second: dict[str, Any], same: bool) -> None:
    asked = [ticket_from_proto(request(**each)).asked for each in (first, second)]
    assert (asked[0] == asked[1]) is same


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"display_quantity": "1"}, "display_quantity"),
        ({"display_quantity": "1.5"}, "display_quantity"),
        ({"time_in_force": 4, "expire_time": {"seconds": 5, "nanos": 1}}, "expire_time"),
        ({"time_in_force": 4, "expire_time": {"seconds": -5}}, "expire_time"),
        ({"time_in_force": 4, "expire_time": {"seconds": 10**10}}, "expire_time"),
        ({"deployment_id": "d", "basis_time": {"seconds": 10**10}}, "basis_time"),
    ],
)
def test_what_no_rule_of_a_field_can_see_is_named(values: dict[str, Any], field: str) -> None:
    with pytest.raises(ApiError, match=field):
        ticket_from_proto(request(**values))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({}, None),
        ({"quantity": "0.0010"}, None),
        ({"quantity": "0.0005"}, "OFF_INCREMENT"),
        ({"limit_price": "0.00005"}, "OFF_INCREMENT"),
        ({"limit_price": "99999999999.9999"}, None),
        ({"limit_price": "999999999999.9999"}, "INVALID_ARGUMENT"),
        ({"limit_price": "100000000000000000"}, None),
        ({"quantity": "999999999999999999.999"}, None),
        ({"order_type": 3, "limit_price": "", "stop_price": "0.00015"}, "OFF_INCREMENT"),
        ({"quantity": "", "cash_quantity": "0.000000001"}, None),
        ({"order_type": 5, "limit_price": "", "trailing_amount": "0.00015"}, "OFF_INCREMENT"),
        ({"order_type": 5, "limit_price": "", "trailing_percent": "0.00015"}, None),
        ({"display_quantity": "0.0005"}, "OFF_INCREMENT"),
        ({"display_quantity": "0.5"}, None),
    ],
)
def test_prices_and_quantities_keep_to_the_instruments_steps(values: dict[str, Any], reason: str | None) -> None:
    ticket = ticket_from_proto(request(**values))
    if reason is None:
        check_increments(ticket.fields, INSTRUMENT)
    else:
        with pytest.raises(ApiError) as caught:
            check_increments(ticket.fields, INSTRUMENT)
        assert caught.value.reason == reason


def test_an_amount_is_told_in_the_same_digits_however_many_zeros_it_was_computed_with() -> None:
    for told in ("0.000000000000000000", "0", "0.00"):
        assert mapping.exact(Decimal(told)) == "0.00"
    assert mapping.exact(Decimal("1.234567890123000")) == "1.234567890123"
    assert mapping.exact(Decimal("12.5000000000000")) == "12.50"
