"""Limits by every scope refuse with their figures over gRPC and REST, and what they did is told once, whoever dies."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.front import Answer, Front, methods, standing
from tests.e2e.world import answered, get, order, portfolio, post, replay, until
from tests.nursery import Nursery

STILL, PLAYED = "still", "played"
CREATE = methods()["OrderService/CreateOrder"]
SCOPES: dict[str, tuple[str, dict[str, str]]] = {
    "environment": ("MAX_ORDER_QUANTITY", {}),
    "portfolio": ("MAX_ORDER_QUANTITY", {"portfolio_id": "a"}),
    "symbol": ("MAX_POSITION_QUANTITY", {"symbol": "AAPL"}),
    "portfolio and symbol": ("MAX_POSITION_QUANTITY", {"portfolio_id": "a", "symbol": "AAPL"}),
}
_numbers = iter(range(10_000))


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, prepared: Path, nursery: Nursery) -> Iterator[Front]:
    with standing(tmp_path_factory.mktemp("limits"), prepared, nursery) as made:
        post(made, "/environments", replay(STILL))
        for portfolio_id in ("a", "b"):
            post(made, "/portfolios", portfolio(portfolio_id, STILL))
        yield made


def buy(quantity: str, **more: str) -> dict[str, str]:
    """A resting order of portfolio `a`."""
    resting = {"order_type": "ORDER_TYPE_LIMIT", "limit_price": "1.5", "portfolio_id": "a"}
    return order(f"limits-{next(_numbers)}", quantity=quantity, **{**resting, **more})


def sent(front: Front, request: dict[str, str]) -> list[Answer]:
    """An order over REST, and another with the same values over gRPC."""
    again = request | {"client_order_id": f"{request['client_order_id']}-grpc"}
    rest = answered(lambda: front.send("POST", "/api/v1/orders", json=request))
    return [rest, answered(lambda: front.grpc(CREATE, again))]


def set_limit(front: Front, kind: str, bound: str, environment_id: str = STILL, **where: str) -> dict[str, Any]:
    limit = {"environment_id": environment_id, "limit_type": f"LIMIT_TYPE_{kind}", "bound": bound}
    return post(front, "/risk/limits", limit | where)


def delete(front: Front, limit: dict[str, Any]) -> None:
    path = f"/api/v1/risk/limits/{limit['limit_id'].replace('/', '%2F')}"
    assert front.send("DELETE", path).code == "OK"


@pytest.mark.parametrize("scope", SCOPES)
def test_rule_4_a_limit_of_any_scope_refuses_with_its_figures_and_tells_what_it_said(front: Front, scope: str) -> None:
    kind, where = SCOPES[scope]
    assert {each.code for each in sent(front, buy("1"))} == {"OK"}
    limit = set_limit(front, kind, "7", **where)
    try:
        for answer in sent(front, buy("1000")):
            assert answer.outcome == ("FAILED_PRECONDITION", "LIMIT_EXCEEDED")
            assert answer.metadata["limit"] == kind.lower()
            assert answer.metadata["bound"] == "7"
            assert float(answer.metadata["value"]) >= 1000
            [event] = get(front, f"/orders/{answer.metadata['order_id']}/events")["order_events"]
            [check] = event["checks"]
            assert (check["limit"], check["bound"]) == (kind.lower(), "7")
            assert {name: check[name] for name in where} == where
        other = {"portfolio_id": "b"} if "portfolio_id" in where else {"symbol": "IBM"} if "symbol" in where else None
        if other is not None:
            assert {each.code for each in sent(front, buy("8", **other))} == {"OK"}
    finally:
        delete(front, limit)
    assert {each.code for each in sent(front, buy("8"))} == {"OK"}


def test_a_strategys_limit_refuses_what_it_decides_and_the_audit_says_so(front: Front) -> None:
    post(front, "/environments", replay(PLAYED, pace={}))
    post(front, "/portfolios", portfolio("played", PLAYED))
    made = {"strategy_id": "fast", "kind": "sma_cross", "symbols": ["AAPL", "IBM"]}
    post(front, "/strategies", made | {"parameters": {"fast": "3", "slow": "15", "capital": "20000"}})
    post(front, "/strategies/fast:deploy", {"portfolio_id": "played", "deployment_id": "fast-1"})
    set_limit(front, "MAX_ORDER_QUANTITY", "3", PLAYED, strategy_id="fast", symbol="AAPL")
    set_limit(front, "MAX_DAILY_LOSS", "100000", PLAYED, strategy_id="fast")
    post(front, f"/environments/{PLAYED}:start", {})
    until(lambda: get(front, f"/environments/{PLAYED}")["state"] == "ENVIRONMENT_STATE_COMPLETED")
    orders = get(front, "/orders", portfolio_id="played", page_size="1000")["orders"]
    by_symbol = {
        symbol: {each["refusal"]["limit"] if each.get("refusal") else "" for each in orders if each["symbol"] == symbol}
        for symbol in ("AAPL", "IBM")
    }
    assert by_symbol == {"AAPL": {"max_order_quantity"}, "IBM": {""}}
    changes = get(front, "/risk/limits:changes", environment_id=PLAYED)["limit_changes"]
    assert [(each["limit"]["strategy_id"], each["limit"]["symbol"], each["previous_bound"]) for each in changes] == [
        ("fast", "AAPL", ""),
        ("fast", "", ""),
    ]

    def breaches() -> list[Any]:
        query = {"environment_id": PLAYED, "kinds": "RISK_EVENT_KIND_BREACH", "page_size": "1000"}
        return list(get(front, "/risk/events", **query)["risk_events"])

    refused = [each["order_id"] for each in orders if each["symbol"] == "AAPL"]
    until(lambda: len(breaches()) == len(refused))
    assert sorted(each["order_id"] for each in breaches()) == sorted(refused)
    assert {(each["strategy_id"], each["limit"], each["bound"]) for each in breaches()} == {
        ("fast", "max_order_quantity", "3")
    }


def test_rule_2_a_stream_resumed_after_kills_of_risk_misses_nothing_and_doubles_nothing(front: Front) -> None:
    head = int(get(front, "/risk/events", environment_id=STILL, page_size="1000")["risk_events"][-1]["sequence"])
    query: dict[str, Any] = {"environment_id": STILL, "after_sequence": head}
    limit, seen, last, refused = set_limit(front, "MAX_ORDER_QUANTITY", "5", portfolio_id="a"), [], str(head), []
    for life in range(1, 5):
        for _ in range(5):
            answer = front.send("POST", "/api/v1/orders", json=buy("6"))
            while answer.code == "UNAVAILABLE":
                time.sleep(0.05)
                answer = front.send("POST", "/api/v1/orders", json=buy("6"))
            refused.append(answer.metadata["order_id"])
        front.mesh.kill("risk")
        asyncio.run(front.mesh.serving())
        set_limit(front, "MAX_ORDER_QUANTITY", "5" if life % 2 else "4", portfolio_id="a")
        with front.rest.stream("GET", "/api/v1/risk/events:stream", params=query) as stream:
            assert stream.status_code == 200
            for line in stream.iter_lines():
                if not line.startswith("data: "):
                    continue
                message = json.loads(line.removeprefix("data: "))
                assert message["previous_sequence"] == last
                last = message["sequence"]
                seen += message.get("risk_events", {}).get("risk_events", [])
                query = {"environment_id": STILL, "resume_token": message["resume_token"]}
                if sum(each["kind"].endswith("BREACH") for each in seen) == len(refused):
                    break
    assert [int(each["sequence"]) for each in seen] == list(range(head + 1, head + 1 + len(seen)))
    assert [each["order_id"] for each in seen if each["kind"].endswith("BREACH")] == refused
    kinds = {each["kind"] for each in seen}
    assert kinds == {"RISK_EVENT_KIND_LIMIT_CHANGED", "RISK_EVENT_KIND_BREACH"}
    listed = get(front, "/risk/events", environment_id=STILL, page_size="1000")["risk_events"]
    assert [each for each in listed if head < int(each["sequence"]) <= int(last)] == seen
    delete(front, limit)


def test_rule_23_a_runaway_client_is_turned_away_at_the_door_and_nothing_is_stored(front: Front) -> None:
    kept = post(front, "/orders", buy("1", portfolio_id="b"))["order_id"]
    limit = set_limit(front, "RUNAWAY_GUARD", "0", portfolio_id="b")
    told = {"portfolio_id": "b", "kinds": "RISK_EVENT_KIND_BREACH"}
    try:
        request = buy("1", portfolio_id="b")

        def turned_away() -> bool:
            return front.send("POST", "/api/v1/orders", json=buy("1", portfolio_id="b")).code == "RESOURCE_EXHAUSTED"

        until(turned_away)
        before = get(front, "/orders", portfolio_id="b", page_size="1000")
        for answer in sent(front, request):
            assert answer.outcome == ("RESOURCE_EXHAUSTED", "RUNAWAY_GUARD")
            assert answer.metadata == {"limit": "runaway_guard", "bound": "0", "value": "1", "portfolio_id": "b"}
        answer = front.send("POST", f"/api/v1/orders/{kept}:replace", json={"quantity": "2"})
        assert answer.outcome == ("RESOURCE_EXHAUSTED", "RUNAWAY_GUARD")
        assert get(front, "/orders", portfolio_id="b", page_size="1000") == before
        until(lambda: get(front, "/risk/events", **told)["risk_events"])
        event = get(front, "/risk/events", **told)["risk_events"][0]
        assert (event["limit"], event["bound"], event["value"]) == ("runaway_guard", "0", "1")
        assert not event["order_id"]
        assert {each.code for each in sent(front, buy("1"))} == {"OK"}
    finally:
        delete(front, limit)
    until(lambda: front.send("POST", "/api/v1/orders", json=request).code == "OK")
