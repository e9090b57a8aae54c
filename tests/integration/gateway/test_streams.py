"""Server-Sent Events, gRPC-Web, and the access log."""

import base64
import json
from collections.abc import Iterator

import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2
from tickmesh.marketdata.v1 import market_data_pb2, market_data_service_pb2
from tickmesh.order.v1 import order_service_pb2

from tests.integration.gateway.support import Edge

STREAM = "/api/v1/orders:stream"


def events(response: httpx.Response) -> Iterator[dict[str, object]]:
    """The messages of an event stream; every line is data or empty."""
    for line in response.iter_lines():
        if line:
            name, _, data = line.partition(": ")
            assert name == "data"
            yield json.loads(data)


def test_a_stream_comes_as_server_sent_events_while_it_happens(rest: httpx.Client) -> None:
    with rest.stream("GET", STREAM) as response:
        assert response.headers["content-type"] == "text/event-stream"
        arriving = events(response)
        assert [next(arriving)["sequence"] for _ in range(3)] == ["1", "2", "3"]


def test_a_stream_goes_on_from_its_token(rest: httpx.Client) -> None:
    with rest.stream("GET", f"{STREAM}?resume_token=41") as response:
        assert next(events(response))["sequence"] == "42"


def test_the_last_event_says_why_a_stream_ends(rest: httpx.Client) -> None:
    with rest.stream("GET", f"{STREAM}?portfolio_id=ends") as response:
        assert response.status_code == 200
        *_, last = events(response)
        closed = last["closed"]
    assert isinstance(closed, dict)
    assert closed["status"]["code"] == 14
    assert closed["status"]["details"][0]["reason"] == "SERVICE_UNAVAILABLE"


def test_a_stream_that_never_begins_is_an_error(rest: httpx.Client) -> None:
    answer = rest.get("/api/v1/signals:stream")
    assert answer.status_code == 503
    assert answer.json()["details"][0]["reason"] == "SERVICE_UNAVAILABLE"


def test_fast_streams_arrive_whole(rest: httpx.Client) -> None:
    with rest.stream("GET", "/api/v1/market-data:stream?symbols=AAPL&symbols=IBM") as response:
        numbers = [event["sequence"] for event in events(response)]
    assert numbers == [str(number) for number in range(1, 201)]


class GrpcWeb:
    """The little of gRPC-Web's framing that tests need: a flag byte, a length, the message."""

    def __init__(self, client: httpx.Client, *, text: bool) -> None:
        self._client = client
        self._text = text

    def call(self, method: str, message: bytes) -> tuple[list[bytes], dict[str, str]]:
        """The messages and the trailers of a call that ends."""
        kind = "application/grpc-web-text+proto" if self._text else "application/grpc-web+proto"
        frame = b"\0" + len(message).to_bytes(4, "big") + message
        body = base64.b64encode(frame) if self._text else frame
        headers = {"content-type": kind, "accept": kind, "x-grpc-web": "1"}
        answer = self._client.post(method, content=body, headers=headers)
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("application/grpc-web")
        content = _decoded(answer.content) if self._text else answer.content
        messages, trailers = [], {name: value for name, value in answer.headers.items() if name.startswith("grpc-")}
        while content:
            flag, size = content[0], int.from_bytes(content[1:5], "big")
            part, content = content[5 : 5 + size], content[5 + size :]
            if flag & 0x80:
                pairs = (line.split(":", 1) for line in part.decode().splitlines() if line)
                trailers |= {name: value.strip() for name, value in pairs}
            else:
                messages.append(part)
        return messages, trailers


def _decoded(content: bytes) -> bytes:
    """Base64 whose pieces may each end with padding."""
    return b"".join(base64.b64decode(content[at : at + 4]) for at in range(0, len(content), 4))


@pytest.fixture(params=[False, True], ids=["binary", "text"])
def web(rest: httpx.Client, request: pytest.FixtureRequest) -> GrpcWeb:
    return GrpcWeb(rest, text=request.param)


def test_a_browser_calls_by_grpc_web(web: GrpcWeb) -> None:
    request = market_data_service_pb2.GetQuoteRequest(symbol="BTC/USD")
    [message], trailers = web.call("/tickmesh.marketdata.v1.MarketDataService/GetQuote", request.SerializeToString())
    assert market_data_pb2.Quote.FromString(message).symbol == "BTC/USD"
    assert trailers["grpc-status"] == "0"


def test_a_browser_streams_by_grpc_web_and_sees_how_it_ended(web: GrpcWeb) -> None:
    request = order_service_pb2.StreamOrderEventsRequest(portfolio_id="ends")
    messages, trailers = web.call("/tickmesh.order.v1.OrderService/StreamOrderEvents", request.SerializeToString())
    read = [order_service_pb2.StreamOrderEventsResponse.FromString(message) for message in messages]
    assert [each.sequence for each in read[:3]] == [1, 2, 3]
    assert read[3].closed.status.code == 14
    assert trailers["grpc-status"] == "14"


def test_a_browser_gets_the_edges_own_errors_as_statuses(web: GrpcWeb) -> None:
    messages, trailers = web.call("/tickmesh.strategy.v1.StrategyService/ListStrategies", b"")
    assert messages == []
    assert trailers["grpc-status"] == "14"
    padded = trailers["grpc-status-details-bin"] + "=" * (-len(trailers["grpc-status-details-bin"]) % 4)
    info = error_details_pb2.ErrorInfo()
    assert status_pb2.Status.FromString(base64.b64decode(padded)).details[0].Unpack(info)
    assert info.reason == "SERVICE_UNAVAILABLE"


def test_every_call_leaves_a_line_in_the_access_log(edge: Edge) -> None:
    with edge.client() as client:
        client.get("/api/v1/orders/logged?x=1")
        client.get("/api/v1/orders/logged")
    refused = edge.log(lambda line: line["path"] == "/api/v1/orders/logged?x=1")
    assert (refused["status"], refused["details"]) == (400, "lua_response")
    called = edge.log(lambda line: line["path"] == "/api/v1/orders/logged")
    assert (called["rpc"], called["upstream"]) == ("/tickmesh.order.v1.OrderService/GetOrder", "order")
    assert called["status"] == 404


def test_the_access_log_has_the_status_that_was_answered_not_one_guessed_from_https(edge: Edge) -> None:
    asked = [
        ("GET", "/api/v1/orders/missing-1?x=1", 400, "3"),  # refused by the edge
        ("GET", "/api/v1/orders/missing-1", 404, "5"),
        ("GET", "/api/v1/orders?page_size=1001", 400, "3"),
        ("GET", "/api/v1/strategies?page_size=7", 503, None),  # no service answered
        ("GET", "/api/v1/market-data/AAPL", 200, "0"),
        ("GET", f"{STREAM}?portfolio_id=ends&symbol=", 400, "3"),
        ("GET", f"{STREAM}?portfolio_id=ends", 200, "14"),  # after its first message
    ]
    with edge.client() as client:
        for verb, path, status, _ in asked:
            assert client.request(verb, path).status_code == status
    for _, path, status, meant in asked:
        line = edge.log(lambda line, path=path: line["path"] == path)
        assert (line["status"], line["grpc_status"]) == (status, meant)
