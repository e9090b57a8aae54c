"""REST through the edge."""

import json
from collections.abc import Callable
from typing import Any

import httpx

ORDER = {
    "client_order_id": "first-1",
    "portfolio_id": "trend",
    "symbol": "AAPL",
    "side": "SIDE_BUY",
    "order_type": "ORDER_TYPE_MARKET",
    "time_in_force": "TIME_IN_FORCE_DAY",
    "quantity": "10",
}


def test_an_order_comes_back_under_the_protos_names_with_its_zeros(rest: httpx.Client) -> None:
    answer = rest.post("/api/v1/orders", json=ORDER)
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    order = answer.json()
    assert order["client_order_id"] == "first-1"
    assert order["cum_quantity"] == ""
    assert order["state"] == "ORDER_STATE_UNSPECIFIED"
    assert order["last_event_sequence"] == "0"


def test_json_names_are_taken_too(rest: httpx.Client) -> None:
    camel = {"clientOrderId" if name == "client_order_id" else name: value for name, value in ORDER.items()}
    assert rest.post("/api/v1/orders", json=camel).json()["client_order_id"] == "first-1"


def test_a_symbol_with_a_slash_travels_escaped(rest: httpx.Client) -> None:
    assert rest.get("/api/v1/market-data/BTC%2FUSD").json()["symbol"] == "BTC/USD"


def test_nested_fields_and_maps_pass(rest: httpx.Client, own_edge: Callable[..., Any]) -> None:
    body = {"environment_id": "r1", "data_set_id": "daily", "pace": {"sessions_per_second": 2}}
    made = rest.post("/api/v1/environments", json=body).json()
    assert made["pace"]["sessions_per_second"] == 2
    edge, _ = own_edge()
    with edge.client() as client:
        strategy = {"strategy_id": "s", "kind": "sma_cross", "symbols": ["AAPL"], "parameters": {"any name": "1"}}
        assert client.post("/api/v1/strategies", json=strategy).json()["parameters"] == {"any name": "1"}


def test_services_see_who_came_through_the_edge_and_nobody_can_pretend(rest: httpx.Client) -> None:
    headers = [("x-tickmesh-edge", "0"), ("x-tickmesh-edge", "no")]
    seen = json.loads(rest.post("/api/v1/orders", json={**ORDER, "label": "metadata"}, headers=headers).json()["owner"])
    assert seen["x-tickmesh-edge"] == "1"


def test_a_traceparent_is_passed_on_where_the_edge_exports_no_spans(rest: httpx.Client) -> None:
    traceparent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    answer = rest.post("/api/v1/orders", json={**ORDER, "label": "metadata"}, headers={"traceparent": traceparent})
    assert json.loads(answer.json()["owner"])["traceparent"] == traceparent


def test_a_large_answer_arrives_whole(rest: httpx.Client) -> None:
    assert len(rest.get("/api/v1/orders/big").json()["label"]) == 20_000_000


def test_browsers_of_this_machine_may_call_and_others_may_not(rest: httpx.Client) -> None:
    asked = {"access-control-request-method": "POST", "access-control-request-headers": "content-type,x-grpc-web"}
    allowed = rest.options("/api/v1/orders", headers={"origin": "http://localhost:5173", **asked})
    assert allowed.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "x-grpc-web" in allowed.headers["access-control-allow-headers"]
    answer = rest.get("/api/v1/orders/none", headers={"origin": "http://localhost:5173"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:5173"
    assert "grpc-status-details-bin" in answer.headers["access-control-expose-headers"]
    refused = rest.get("/api/v1/orders/none", headers={"origin": "http://localhost.example.com"})
    assert "access-control-allow-origin" not in refused.headers
