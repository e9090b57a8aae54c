"""The OpenAPI document says what the protos say, and what the edge makes of them."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate

from gen.generator.openapi.rules import keywords

DOCUMENT = Path(__file__).parents[3] / "gen/openapi/openapi.json"


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return json.loads(DOCUMENT.read_text())


def test_is_valid_openapi_3_1(document: dict[str, Any]) -> None:
    assert document["openapi"] == "3.1.0"
    validate(document)


def test_every_operation_has_its_own_id(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for path in document["paths"].values() for operation in path.values()]
    assert len(ids) == len(set(ids))


def test_an_additional_path_names_its_own(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/v1/market-data/realtime"]["get"]
    assert operation["operationId"] == "MarketDataService_StreamMarketData_2"
    assert operation["description"] == "The same as `GET /api/v1/market-data:stream`."


def test_paths_join_words_by_hyphens_and_verbs_by_capitals(document: dict[str, Any]) -> None:
    segment, verb = r"[a-z]+(-[a-z]+)*|v1|{[a-z_]+}", r"(:[a-z][A-Za-z]*)?"
    assert [path for path in document["paths"] if not re.fullmatch(rf"(/({segment}))+{verb}", path)] == []


def test_a_stream_is_server_sent_events(document: dict[str, Any]) -> None:
    success = document["paths"]["/api/v1/orders:stream"]["get"]["responses"]["200"]
    assert list(success["content"]) == ["text/event-stream"]


def test_path_variables_leave_the_body(document: dict[str, Any]) -> None:
    operation = document["paths"]["/api/v1/orders/{order_id}:cancel"]["post"]
    assert [(p["name"], p["in"], p["required"]) for p in operation["parameters"]] == [("order_id", "path", True)]
    assert "order_id" not in operation["requestBody"]["content"]["application/json"]["schema"]["properties"]


def test_predefined_rules_become_patterns(document: dict[str, Any]) -> None:
    order = document["components"]["schemas"]["order.v1.CreateOrderRequest"]
    assert order["properties"]["symbol"]["pattern"] == "^[A-Z0-9][A-Z0-9./_&-]{0,31}$"
    assert order["properties"]["side"]["not"] == {"enum": ["SIDE_UNSPECIFIED"]}
    assert {"client_order_id", "symbol", "side"} <= set(order["required"])


def test_rules_over_several_fields_are_told_in_words(document: dict[str, Any]) -> None:
    schemas = document["components"]["schemas"]
    rule = "- limit_price: must be given for LIMIT, STOP_LIMIT and LIMIT_IF_TOUCHED orders and for no other\n"
    assert rule in schemas["order.v1.CreateOrderRequest"]["description"]
    assert "- portfolio_id: exactly one of" in schemas["order.v1.ArmCancelTimerRequest"]["description"]


def test_wide_integers_are_strings_and_times_are_dates(document: dict[str, Any]) -> None:
    envelope = document["components"]["schemas"]["order.v1.StreamOrderEventsResponse"]["properties"]
    assert envelope["sequence"]["type"] == "string"
    assert envelope["publish_time"]["format"] == "date-time"


def test_reasons_named_in_a_comment_are_samples_of_their_status(document: dict[str, Any]) -> None:
    responses = document["paths"]["/api/v1/orders"]["post"]["responses"]
    assert "CLIENT_ORDER_ID_REUSED" in responses["409"]["content"]["application/json"]["examples"]
    assert "LIMIT_EXCEEDED" in responses["400"]["content"]["application/json"]["examples"]
    sample = document["components"]["examples"]["LIMIT_EXCEEDED"]["value"]
    assert sample["code"] == 9
    assert sample["details"][0]["metadata"] == {"limit": "max_order_notional", "bound": "10000", "value": "12500"}


def test_a_rule_that_ignores_zero_lets_zero_pass() -> None:
    rules = {"string": {"pattern": "^[a-z]+$", "min_len": "1"}, "ignore": "IGNORE_IF_ZERO_VALUE"}
    assert keywords(None, rules) == {"pattern": "^$|^[a-z]+$"}  # type: ignore[arg-type]
    assert keywords(None, {"int32": {"gt": 0, "lte": 9}, "ignore": "IGNORE_IF_ZERO_VALUE"}) == {  # type: ignore[arg-type]
        "minimum": 0,
        "maximum": 9,
    }
