"""An order that is sent, one that is only thought of and one of a list keep the same rules.

protovalidate lets messages share the rules of fields, not those of messages, so the shape of an order stands in each of
the three: here they are held together.
"""

import re
from typing import Any

import pytest
from buf.validate import validate_pb2
from tickmesh.order.v1.order_list_pb2 import ListedOrder
from tickmesh.order.v1.order_preview_pb2 import PreviewOrderRequest
from tickmesh.order.v1.order_service_pb2 import CreateOrderRequest

OF_STRATEGIES = {"deployment_id", "strategy_id", "signal_id", "basis_sequence", "basis_time"}
OF_ALL_IN_A_LIST = {"portfolio_id"}


def rules(message: Any) -> list[str]:
    """What a message says of its fields together: each condition, with what is wrong where it holds."""
    (rule,) = message.DESCRIPTOR.GetOptions().Extensions[validate_pb2.message].cel
    return re.split(r"(?<=')\)?: ", rule.expression)


def fields(message: Any) -> dict[str, Any]:
    """What it says of each by itself."""
    return {field.name: (field.type, _rule(field)) for field in message.DESCRIPTOR.fields}


def _rule(field: Any) -> Any:
    return field.GetOptions().Extensions[validate_pb2.field]


def test_a_preview_keeps_the_rules_of_an_order_but_those_of_strategies() -> None:
    created = rules(CreateOrderRequest)
    assert len(created) == 11
    assert rules(PreviewOrderRequest) == [each for each in created if "deployment_id" not in each]


def test_an_order_of_a_list_keeps_them_but_may_be_sized_by_another() -> None:
    size, *others = rules(ListedOrder)
    assert others == rules(PreviewOrderRequest)[1:]
    assert "at most one of quantity and cash_quantity" in size


@pytest.mark.parametrize(
    ("message", "left_out", "other"),
    [(PreviewOrderRequest, OF_STRATEGIES, {"client_order_id"}), (ListedOrder, OF_STRATEGIES | OF_ALL_IN_A_LIST, set())],
)
def test_each_field_keeps_its_rule(message: Any, left_out: set[str], other: set[str]) -> None:
    wanted, found = fields(CreateOrderRequest), fields(message)
    assert wanted.keys() - found.keys() == left_out
    assert {name for name in found if found[name] != wanted[name]} == other


def test_a_previews_fields_have_the_numbers_of_an_orders() -> None:
    numbers = CreateOrderRequest.DESCRIPTOR.fields_by_name
    assert all(numbers[field.name].number == field.number for field in PreviewOrderRequest.DESCRIPTOR.fields)
