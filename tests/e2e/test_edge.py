"""What is promised of the edge: grpcurl, curl, events as they happen, the Python client, restarts that lose nothing."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import grpclib
import pytest
from grpclib.client import Channel
from tickmesh_api.tickmesh.common.v1 import Side
from tickmesh_api.tickmesh.order.v1 import (
    CreateOrderRequest,
    GetOrderRequest,
    OrderServiceStub,
    OrderState,
    OrderType,
    StreamOrderEventsRequest,
    TimeInForce,
)

from services.chassis.catalog import PUBLIC
from tests.e2e.front import Front, open_edge, standing
from tests.e2e.world import MAIN, PORTFOLIO, everything, get, order, populate, post, until
from tests.nursery import Nursery

Tool = Callable[[str], str]
SECONDS = 60
RESTING = {"order_type": "ORDER_TYPE_LIMIT", "limit_price": "1.5"}


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, prepared: Path, nursery: Nursery) -> Iterator[Front]:
    with standing(tmp_path_factory.mktemp("edge"), prepared, nursery) as made:
        populate(made)
        yield made


def run(*command: str) -> subprocess.CompletedProcess[str]:
    """A command and what it prints."""
    return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)


def grpcurl(tool: Tool, front: Front, *arguments: str, data: dict[str, Any] | None = None) -> Any:
    """grpcurl at the edge, which learns of the contract by reflection."""
    sent = ["-d", json.dumps(data)] if data is not None else []
    return run(tool("grpcurl"), "-plaintext", *sent, front.mesh.addresses["edge"], *arguments)


def test_grpcurl_lists_every_public_service(front: Front, tool: Tool) -> None:
    listed = grpcurl(tool, front, "list").stdout.split()
    assert set(PUBLIC) <= set(listed)
    assert {name for name in listed if name.startswith("tickmesh.")} == set(PUBLIC)
    described = grpcurl(tool, front, "describe", "tickmesh.order.v1.OrderService.CreateOrder").stdout
    assert "rpc CreateOrder ( .tickmesh.order.v1.CreateOrderRequest )" in described


def test_grpcurl_places_an_order_and_is_told_why_not(front: Front, tool: Tool) -> None:
    method = "tickmesh.order.v1.OrderService/CreateOrder"
    made = json.loads(grpcurl(tool, front, method, data=order("grpcurl-1", **RESTING)).stdout)
    assert (made["clientOrderId"], made["state"]) == ("grpcurl-1", "ORDER_STATE_NEW")
    assert get(front, f"/orders/{made['orderId']}")["client_order_id"] == "grpcurl-1"
    beyond = grpcurl(tool, front, method, data=order("grpcurl-2", **RESTING, quantity="50000"))
    assert beyond.returncode != 0
    assert "Code: FailedPrecondition" in beyond.stderr
    assert "LIMIT_EXCEEDED" in beyond.stderr


def test_curl_places_an_order_and_is_told_why_not(front: Front, tool: Tool) -> None:
    url = f"{front.url}/api/v1/orders"
    sent = json.dumps(order("curl-1", **RESTING))
    first, again = (run(tool("curl"), "-s", "-X", "POST", url, "-d", sent) for _ in range(2))
    assert json.loads(first.stdout)["state"] == "ORDER_STATE_NEW"
    assert json.loads(again.stdout) == json.loads(first.stdout)
    beyond = run(tool("curl"), "-s", "-X", "POST", url, "-d", json.dumps(order("curl-2", **RESTING, quantity="50000")))
    info = json.loads(beyond.stdout)["details"][0]
    assert (info["reason"], info["metadata"]["bound"]) == ("LIMIT_EXCEEDED", "50000")
    assert get(front, f"/orders/{info['metadata']['order_id']}")["state"] == "ORDER_STATE_REJECTED"


def test_curl_shows_events_as_they_happen(front: Front, tool: Tool) -> None:
    url = f"{front.url}/api/v1/market-data:stream?symbols=AAPL&environment_id={MAIN}"
    with subprocess.Popen([tool("curl"), "-sN", url], stdout=subprocess.PIPE, text=True) as curl:
        try:
            assert curl.stdout is not None
            found = _events(curl.stdout)
            assert next(found)["snapshot"]["quotes"][0]["symbol"] == "AAPL"
            post(front, f"/environments/{MAIN}:resume", {})
            bars = next(event["rows"]["bars"] for event in found if "rows" in event)
        finally:
            curl.kill()
    post(front, f"/environments/{MAIN}:pause", {})
    assert {bar["symbol"] for bar in bars} == {"AAPL"}


def _events(lines: Any) -> Iterator[dict[str, Any]]:
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_restart_of_the_edge_loses_nothing(front: Front) -> None:
    post(front, "/orders", order("restart-1", **RESTING))
    before = everything(front)
    front.mesh.kill("edge")
    open_edge(front)
    assert everything(front) == before


def test_streams_go_on_from_their_tokens_when_the_edge_is_back(front: Front) -> None:
    """Three times the edge dies in the middle; what came before and after is every bar, once, in order."""
    began = get(front, f"/environments/{MAIN}")["tape_sequence"]
    bars: list[dict[str, Any]] = []
    token, last = "", ""
    post(front, f"/environments/{MAIN}:setSpeed", {"pace": {"sessions_per_second": 10}})
    post(front, f"/environments/{MAIN}:resume", {})
    for wanted in (20, 40, 60, 80):
        query = {"environment_id": MAIN, "resume_token": token}
        with front.rest.stream("GET", "/api/v1/market-data:stream", params=query) as answer:
            assert answer.status_code == 200
            for event in _events(answer.iter_lines()):
                assert last in ("", event["previous_sequence"])
                began = event["sequence"] if "snapshot" in event else began
                token, last = event["resume_token"], event["sequence"]
                bars += event["rows"]["bars"] if "rows" in event else []
                if len(bars) >= wanted:
                    break
            if wanted < 80:
                front.mesh.kill("edge")
        open_edge(front)
    post(front, f"/environments/{MAIN}:pause", {})
    listed = [bar for symbol in ("AAPL", "IBM") for bar in _bars(front, symbol)]
    reached = range(int(began) + 1, int(bars[-1]["tape_sequence"]) + 1)
    shown = [bar for bar in listed if int(bar["tape_sequence"]) in reached]
    assert bars == sorted(shown, key=lambda bar: int(bar["tape_sequence"]))


def _bars(front: Front, symbol: str) -> list[dict[str, Any]]:
    found = get(front, f"/market-data/{symbol}/bars", environment_id=MAIN, interval="1d", page_size="1000")
    return list(found["bars"])


async def test_the_generated_python_client_trades(front: Front) -> None:
    host, _, port = front.mesh.addresses["edge"].rpartition(":")
    with closing(Channel(host, int(port))) as channel:
        stub = OrderServiceStub(channel)
        wanted = CreateOrderRequest(
            client_order_id="client-1",
            portfolio_id=PORTFOLIO,
            symbol="IBM",
            side=Side.BUY,
            order_type=OrderType.LIMIT,
            time_in_force=TimeInForce.GTC,
            quantity="5",
            limit_price="1.5",
        )
        made = await stub.create_order(wanted)
        assert (made.client_order_id, made.state, made.limit_price) == ("client-1", OrderState.NEW, "1.5000")
        assert await stub.get_order(GetOrderRequest(order_id=made.order_id)) == made
        first = None
        async for message in stub.stream_order_events(StreamOrderEventsRequest(portfolio_id=PORTFOLIO)):
            first = message
            break
        assert first is not None
        assert first.snapshot is not None
        assert made in first.snapshot.orders
        with pytest.raises(grpclib.GRPCError) as refused:
            await stub.get_order(GetOrderRequest(order_id="nobody"))
        assert refused.value.status is grpclib.Status.NOT_FOUND


def test_the_pages_are_there(front: Front) -> None:
    assert "tickmesh" in front.rest.get("/").text
    assert front.rest.get("/docs").status_code == 200
    assert front.rest.get("/openapi.json").json()["openapi"].startswith("3.1")
    until(lambda: front.rest.get("/healthz").status_code == 200)
