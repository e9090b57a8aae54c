"""A mesh with something of everything in it, at rest: made over REST."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tests.e2e.front import Answer, Front

MAIN, ENDED = "replay-main", "replay-ended"
PORTFOLIO, FROZEN, PAST, FLAT = "trend", "frozen", "past", "flat"
STRATEGY, DEPLOYMENT = "cross", "cross-1"
REQUEST_ID = "6f1c0d8e-0000-4000-8000-000000000001"
# The first order there is.
FILLED = f"{MAIN}-1"


def order(client_order_id: str, **changes: str) -> dict[str, str]:
    """A good order, but for the changes."""
    return {
        "client_order_id": client_order_id,
        "portfolio_id": PORTFOLIO,
        "symbol": "AAPL",
        "side": "SIDE_BUY",
        "order_type": "ORDER_TYPE_MARKET",
        "time_in_force": "TIME_IN_FORCE_GTC",
        "quantity": "10",
        **changes,
    }


def populate(front: Front) -> None:
    """Two environments: one paused after strategies have traded, one ended. Orders of all ends."""
    post(front, "/environments", replay(MAIN, request_id=REQUEST_ID))
    post(front, "/environments", replay(ENDED))
    post(front, "/portfolios", portfolio(PORTFOLIO, MAIN, request_id=REQUEST_ID))
    for portfolio_id, environment_id in ((FROZEN, MAIN), (PAST, ENDED), (FLAT, MAIN)):
        post(front, "/portfolios", portfolio(portfolio_id, environment_id))
    post(front, "/orders", order("filled-1"))
    for symbol in ("AAPL", "IBM"):
        post(front, "/orders", order(f"kept-{symbol}", symbol=symbol, portfolio_id=FROZEN))
    post(front, "/orders", order("past-1", portfolio_id=PAST))
    post(front, f"/environments/{ENDED}:stop", {})
    for strategy_id, fast in ((STRATEGY, "3"), ("slow", "10")):
        request_id = REQUEST_ID if strategy_id == STRATEGY else ""
        made = {"strategy_id": strategy_id, "kind": "sma_cross", "symbols": ["AAPL", "IBM"], "request_id": request_id}
        post(front, "/strategies", made | {"parameters": {"fast": fast, "slow": "15", "capital": "20000"}})
        deploy = {"portfolio_id": PORTFOLIO, "deployment_id": f"{strategy_id}-1", "request_id": request_id}
        post(front, f"/strategies/{strategy_id}:deploy", deploy)
    post(front, f"/environments/{MAIN}:start", {})
    until(lambda: len(get(front, "/executions", environment_id=MAIN)["executions"]) >= 7)
    post(front, f"/environments/{MAIN}:pause", {})
    for number in ("1", "2"):
        limit = {"order_type": "ORDER_TYPE_LIMIT", "limit_price": f"{number}.5"}
        post(front, "/orders", order(f"open-{number}", **limit))
    canceled = post(front, "/orders", order("canceled-1", order_type="ORDER_TYPE_LIMIT", limit_price="1.25"))
    post(front, f"/orders/{canceled['order_id']}:cancel", {})
    limited = {"environment_id": MAIN, "portfolio_id": PORTFOLIO}
    post(front, "/risk/limits", {**limited, "limit_type": "LIMIT_TYPE_MAX_ORDER_NOTIONAL", "bound": "50000"})
    post(front, "/risk/limits", {**limited, "limit_type": "LIMIT_TYPE_MAX_POSITION_QUANTITY", "bound": "5000"})
    for target_id in (FROZEN, PORTFOLIO):
        switch = {"environment_id": MAIN, "scope": "KILL_SWITCH_SCOPE_PORTFOLIO", "target_id": target_id}
        post(front, "/risk/kill-switches:engage", switch | {"allow_reducing": True})
    strategy = {"environment_id": MAIN, "scope": "KILL_SWITCH_SCOPE_STRATEGY", "target_id": "slow"}
    post(front, "/risk/kill-switches:engage", strategy)
    release = {"environment_id": MAIN, "scope": "KILL_SWITCH_SCOPE_PORTFOLIO", "target_id": PORTFOLIO}
    post(front, "/risk/kill-switches:release", release)
    working = post(front, "/orders", order("working-1", order_type="ORDER_TYPE_LIMIT", limit_price="1.5"))
    terms = {"limit_price": "1.75", "request_id": REQUEST_ID}
    post(front, f"/orders/{working['order_id']}:replace", terms)
    for symbol in ("AAPL", "IBM"):
        scope = {"environment_id": MAIN, "portfolio_id": PORTFOLIO, "symbol": symbol}
        post(front, "/venue-models", scope | {"commission": {"minimum": "0.5"}})


def everything(front: Front) -> dict[str, Any]:
    """What all lists show: two of these are equal when nothing happened between them."""
    shown = {
        path: get(front, path, page_size="1000")
        for path in (
            "/data-sets",
            "/instruments",
            "/strategy-kinds",
            "/environments",
            "/portfolios",
            "/strategies",
            "/deployments",
            "/risk/limits",
            "/risk/kill-switches",
        )
    }
    for environment_id in (MAIN, ENDED):
        for path in ("/market-data", "/orders", "/executions", "/signals", "/venue-models"):
            shown[f"{environment_id}{path}"] = get(front, path, environment_id=environment_id, page_size="1000")
        for each in shown[f"{environment_id}/market-data"]["quotes"]:
            del each["publish_time"]  # When it was told.
    for portfolio_id in (PORTFOLIO, FROZEN, PAST):
        for path in ("", "/positions", "/lots", "/ledger-entries", "/equity-points"):
            query = {"page_size": "1000"} if path else {}
            shown[f"{portfolio_id}{path}"] = get(front, f"/portfolios/{portfolio_id}{path}", **query)
        shown[f"{portfolio_id} risk"] = get(front, f"/risk/portfolios/{portfolio_id}")
    for each in shown[f"{MAIN}/orders"]["orders"]:
        shown[each["order_id"]] = get(front, f"/orders/{each['order_id']}/events")
    return shown


def replay(environment_id: str, **changes: Any) -> dict[str, Any]:
    """A year of two names at twenty sessions a second."""
    return {
        "environment_id": environment_id,
        "data_set_id": "us-daily",
        "symbols": ["AAPL", "IBM"],
        "start_time": "2004-12-01T00:00:00Z",
        "end_time": "2006-01-01T00:00:00Z",
        "warm_up_sessions": 20,
        "pace": {"sessions_per_second": 20},
        **changes,
    }


def portfolio(portfolio_id: str, environment_id: str, **more: str) -> dict[str, Any]:
    """One of 100,000 dollars."""
    cash = {"currency_code": "USD", "amount": "100000"}
    return {"portfolio_id": portfolio_id, "environment_id": environment_id, "initial_cash": cash, **more}


def answered(ask: Callable[[], Answer]) -> Answer:
    """What is answered by somebody there: a service that has just come up may not have met its peers yet."""
    deadline = time.monotonic() + 60
    while (answer := ask()).code == "UNAVAILABLE":
        assert time.monotonic() < deadline, answer
        time.sleep(0.05)
    return answer


def post(front: Front, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """A call that must succeed."""
    answer = answered(lambda: front.send("POST", f"/api/v1{path}", json=body))
    assert answer.code == "OK", (path, answer)
    return answer.body


def get(front: Front, path: str, **query: str) -> dict[str, Any]:
    """Likewise."""
    answer = answered(lambda: front.send("GET", f"/api/v1{path}", params=query))
    assert answer.code == "OK", (path, answer)
    return answer.body


def until(fulfilled: Callable[[], bool], seconds: float = 60.0) -> None:
    """Waits for it."""
    deadline = time.monotonic() + seconds
    while not fulfilled():
        assert time.monotonic() < deadline, "it never came"
        time.sleep(0.05)
