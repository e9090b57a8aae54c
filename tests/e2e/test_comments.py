"""Each method's comment says what it does, names the refusals that are its own, and shows a call of it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tickmesh.common.v1 import error_reason_pb2

from services.domain.risk.limits import ORDERED
from services.domain.risk.order_limits import BuyingPower, MaxOrderRate
from tests.e2e.bad_input import BAD_PAGE, BAD_TOKEN, INVALID, WRONG_TOKEN, Outcome
from tests.e2e.bad_rows import FILTERS, ROWS
from tests.e2e.bad_words import INSIDE, JOINS
from tests.e2e.front import bindings, methods
from tests.e2e.mesh import PROJECT

METHODS = methods() | methods(internal=True)
REASONS = {name.removeprefix("ERROR_REASON_") for name in error_reason_pb2.ErrorReason.keys()}  # noqa: SIM118 an enum
AWAY: Outcome = ("UNAVAILABLE", "SERVICE_UNAVAILABLE")
# What a limit may answer that is set, or always holds; an order that only reduces meets two of them.
LIMITS = {limit.reason for limit in ORDERED}
CHECKED = {
    "OrderService/CreateOrder": LIMITS,
    "OrderService/CreateOrderList": LIMITS,
    "OrderService/ReplaceOrder": LIMITS,
    "OrderService/ClosePosition": {MaxOrderRate.reason, BuyingPower.reason},
}
# What `test_outage` shows to need the database.
LOOKED_UP = [
    f"OrderService/{each}"
    for each in ("CreateOrder", "CreateOrderList", "ReplaceOrder", "ArmCancelTimer", "CancelOrder")
]
_METHOD = re.compile(r"((?:^  //.*\n)+)  rpc (\w+)\(", re.MULTILINE)
_NAMED = re.compile(r"`([A-Z]+(?:_[A-Z]+)+)`")
_EXAMPLE = re.compile(r"^ {4}(GET|POST|PUT|PATCH|DELETE) (/[^\s?]*)", re.MULTILINE)


def comments() -> dict[str, str]:
    """By a method's short name: `OrderService/CreateOrder`."""
    found = {}
    for path in Path(PROJECT, "proto").rglob("*_service.proto"):
        text = path.read_text()
        [service] = re.findall(r"^service (\w+)", text, re.MULTILINE)
        for comment, method in _METHOD.findall(text):
            found[f"{service}/{method}"] = re.sub(r"^  // ?", "", comment, flags=re.MULTILINE)
    return found


COMMENTS = comments()


def refusals(name: str) -> set[Outcome]:
    """What the tables of wrong requests show it to answer, and what its fields make possible."""
    fields = METHODS[name].input_type.fields_by_name
    found = {row.outcome for row in ROWS.get(name, [])} | {outcome for _, outcome in INSIDE.get(name, [])}
    if name == "ReplayService/JoinReplay":
        found |= {outcome for _, outcome in JOINS}
    if "page_token" in fields:
        found.add(BAD_PAGE)
    if "resume_token" in fields:
        found |= {BAD_TOKEN, WRONG_TOKEN, AWAY}
    return found - {INVALID}  # which any field may make


def test_every_method_has_a_comment() -> None:
    assert set(COMMENTS) == set(METHODS)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_comment_names_its_refusals(name: str) -> None:
    comment = COMMENTS[name]
    assert {reason for _, reason in refusals(name)} <= set(_NAMED.findall(comment))
    assert {code for code, _ in refusals(name)} <= set(re.findall(r"[A-Z]+(?:_[A-Z]+)*", comment))


@pytest.mark.parametrize("name", CHECKED)
def test_a_checked_orders_comment_names_all_that_a_check_refuses(name: str) -> None:
    assert CHECKED[name] | {"KILL_SWITCH_ENGAGED", "NO_REFERENCE_PRICE"} <= set(_NAMED.findall(COMMENTS[name]))


@pytest.mark.parametrize("name", LOOKED_UP)
def test_a_comment_says_that_a_call_waits_for_the_database(name: str) -> None:
    assert {"UNAVAILABLE", "SERVICE_UNAVAILABLE"} <= set(re.findall(r"[A-Z]+(?:_[A-Z]+)*", COMMENTS[name]))


@pytest.mark.parametrize(("name", "field"), [(name, field) for name in FILTERS for field in FILTERS[name]])
def test_a_filters_comment_says_that_the_list_may_be_empty(name: str, field: str) -> None:
    text = "".join(path.read_text() for path in Path(PROJECT, "proto").rglob("*_service.proto"))
    [request] = re.findall(rf"^message {METHODS[name].input_type.name} {{\n(.*?)^}}", text, re.MULTILINE | re.DOTALL)
    assert re.search(rf"the list is empty\.\n  string {field} =", request)


@pytest.mark.parametrize("name", METHODS)
def test_a_methods_comment_names_no_reason_that_there_is_not(name: str) -> None:
    # Metadata keys and settings are told in other letters, except what the environment holds.
    assert not {each for each in _NAMED.findall(COMMENTS[name]) if not each.startswith("TICKMESH_")} - REASONS


@pytest.mark.parametrize("name", [name for name, method in METHODS.items() if bindings(method)])
def test_a_methods_comment_shows_a_call_of_its_first_path(name: str) -> None:
    verb, template = bindings(METHODS[name])[0]
    shown = _EXAMPLE.findall(COMMENTS[name])
    assert [each for each, _ in shown] == [verb]
    assert re.fullmatch(re.sub(r"\{\w+\}", "[^/:]+", template), shown[0][1])
