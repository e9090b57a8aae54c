"""Orders that keep every rule for certain, so that the rules need not be asked."""

from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from hypothesis import given
from hypothesis import strategies as st
from tickmesh.order.v1 import order_service_pb2

from services.chassis.calls.validation import validate
from services.chassis.errors import ApiError
from services.order.entry.mapping import surely_valid

CreateOrderRequest = order_service_pb2.CreateOrderRequest
PLAIN = {
    "client_order_id": "my-1",
    "portfolio_id": "trend",
    "symbol": "BRK.B",
    "side": 2,
    "order_type": 1,
    "time_in_force": 3,
    "quantity": "0.5",
}
LIMIT = PLAIN | {"order_type": 2, "limit_price": "1.50", "label": "a word"}
IN_PLAIN = LIMIT.keys()
A_VALUE: dict[Any, Any] = {"string": "1", "int64": 1, "bool": True, "message": Timestamp(seconds=1)}

ids = st.one_of(st.just("my-1"), st.text("aZ9._~-:/ é\n", max_size=3), st.integers(60, 66).map(lambda n: "x" * n))
symbols = st.one_of(st.just("BRK.B"), st.text("AZ9.&_-/a:\n", max_size=3), st.integers(30, 34).map(lambda n: "X" * n))
digits = st.one_of(st.text("0123456789.-+eE \n٣", max_size=5), st.integers(16, 20).map(lambda n: "9" * n))
fractions = st.integers(0, 11).map(lambda n: "0." + "0" * n + "1")
decimals = st.one_of(st.sampled_from(["", "0", "0.0", "00", "01", "1", "1.50"]), digits, fractions)
labels = st.one_of(st.just(""), st.text("a\0é", max_size=3), st.integers(198, 202).map(lambda n: "é" * n))
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "client_order_id": ids,
    "portfolio_id": ids,
    "symbol": symbols,
    "side": st.integers(0, 3),
    "order_type": st.integers(0, 9),
    "time_in_force": st.integers(0, 9),
    "quantity": decimals,
    "limit_price": decimals,
    "label": labels,
}


def keeps_the_rules(request: CreateOrderRequest) -> bool:
    try:
        validate(request)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize("values", [PLAIN, LIMIT])
def test_a_plain_order_is_seen_as_one(values: dict[str, Any]) -> None:
    request = CreateOrderRequest(**values)
    assert surely_valid(request)
    assert keeps_the_rules(request)


@given(st.fixed_dictionaries(VALUES))
def test_nothing_that_breaks_a_rule_is_sure(values: dict[str, Any]) -> None:
    request = CreateOrderRequest(**values)
    assert keeps_the_rules(request) or not surely_valid(request)


@pytest.mark.parametrize("plain", [PLAIN, LIMIT])
@pytest.mark.parametrize("name", sorted(IN_PLAIN))
@given(data=st.data())
def test_nothing_that_breaks_one_rule_alone_is_sure(name: str, plain: dict[str, Any], data: st.DataObject) -> None:
    request = CreateOrderRequest(**plain | {name: data.draw(VALUES[name])})
    assert keeps_the_rules(request) or not surely_valid(request)


@pytest.mark.parametrize("field", [each for each in CreateOrderRequest.DESCRIPTOR.fields if each.name not in IN_PLAIN])
def test_an_order_that_states_anything_more_is_not_sure(field: Any) -> None:
    kind = {field.TYPE_STRING: "string", field.TYPE_INT64: "int64", field.TYPE_BOOL: "bool"}.get(field.type, "message")
    assert not surely_valid(CreateOrderRequest(**LIMIT, **{field.name: A_VALUE[kind]}))
