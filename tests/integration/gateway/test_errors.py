"""One shape for every error over REST, whoever found it: the service, the transcoder, the Lua filter or Envoy."""

import json
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.render import GATEWAY
from tests.integration.gateway.support import ORDER, Backend, Edge

ORDERS = "/api/v1/orders"
MakeEdge = Callable[..., tuple[Edge, Backend]]


def error_of(answer: httpx.Response, status: int, code: int, reason: str) -> dict[str, Any]:
    """The error, after a look at its shape."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/json"
    error = answer.json()
    assert set(error) == {"code", "message", "details"}
    assert error["code"] == code
    assert error["message"]
    info = error["details"][0]
    assert info["@type"] == "type.googleapis.com/google.rpc.ErrorInfo"
    assert set(info) == {"@type", "reason", "domain", "metadata"}
    assert (info["reason"], info["domain"]) == (reason, "tickmesh")
    return dict(error)


def detail(error: dict[str, Any], kind: str) -> dict[str, Any]:
    """One of its further details."""
    return dict(next(each for each in error["details"] if each["@type"] == f"type.googleapis.com/google.rpc.{kind}"))


def test_a_services_error_has_the_protos_names_in_its_details(rest: httpx.Client) -> None:
    error = error_of(rest.get(f"{ORDERS}/none"), 404, 5, "ORDER_NOT_FOUND")
    assert detail(error, "ResourceInfo")["resource_name"] == "none"
    error = error_of(rest.get(f"{ORDERS}/funds"), 400, 9, "INSUFFICIENT_BUYING_POWER")
    assert error["details"][0]["metadata"] == {"missing": "250.00"}
    assert detail(error, "PreconditionFailure")["violations"][0]["type"] == "FUNDS"


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ('{"client_order_id": "a"', "a comma or brace is missing"),
        ('{"client_order_id": "a', "a string does not end"),
        ('{"client_order_id" "a"}', "a colon is missing"),
        ('{"client_order_id": }', "a value is missing"),
        ('{"client_order_id": "a",}', "a name is missing"),
        ("{client_order_id: 1}", "a name is missing"),
        ("{'client_order_id': 'a'}", "a name is missing"),
        ('{"label": "\\x"}', "an unknown escape"),
        ('{"label": "\n"}', "a string does not end"),
        ('{"quantity": 01}', "a comma or brace is missing"),
        ('{"quantity": NaN}', "a value is missing"),
        ('{"quantity": +1}', "a value is missing"),
        ('{"quantity": .5}', "a value is missing"),
        ("[]", "it must be an object"),
        ('"text"', "it must be an object"),
        ("null", "it must be an object"),
        ("  ", "it must be an object"),
        ("{} {}", "something follows it"),
        ('{"symbol": "A", "symbol": "B"}', "symbol is there twice"),
        ('{"limit_price": "1", "limitPrice": "2"}', "limitPrice is there twice"),
    ],
)
def test_text_that_is_no_json_is_refused_with_its_place(rest: httpx.Client, body: str, told: str) -> None:
    error = error_of(rest.post(ORDERS, content=body), 400, 3, "MALFORMED_JSON")
    assert told in error["message"]
    assert "at byte" in error["message"]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        (ORDERS, {**ORDER, "limit_prise": "1"}, "limit_prise"),
        (ORDERS, {**ORDER, "Symbol": "A"}, "Symbol"),
        (ORDERS, {**ORDER, "": "1"}, ""),
        (ORDERS, {**ORDER, 'a"b': "1"}, 'a\\"b'),
        (ORDERS, {**ORDER, "x" * 5000: "1"}, "x" * 100),
        ("/api/v1/environments", {"pace": {"sessions_per_secund": 1}}, "pace.sessions_per_secund"),
        (f"{ORDERS}/r1-1:cancel", {"order_id": "r1-2"}, "order_id"),
    ],
)
def test_a_body_with_a_field_that_the_request_does_not_have_is_refused(
    rest: httpx.Client, path: str, body: dict[str, Any], field: str
) -> None:
    error = error_of(rest.post(path, json=body), 400, 3, "UNKNOWN_FIELD")
    assert detail(error, "BadRequest")["field_violations"][0]["field"] == field


def test_a_call_without_a_body_refuses_one(rest: httpx.Client) -> None:
    error_of(rest.request("GET", ORDERS, content="{}"), 400, 3, "UNKNOWN_FIELD")


def test_an_object_where_none_belongs_is_refused_by_name(rest: httpx.Client) -> None:
    """The transcoder would take {"seconds": 1} for a time and drop what else is in it."""
    for field in ("basis_time", "quantity"):
        answer = rest.post(ORDERS, json={**ORDER, field: {"seconds": 1, "bogus": 2}})
        error = error_of(answer, 400, 3, "INVALID_ARGUMENT")
        assert detail(error, "BadRequest")["field_violations"][0]["field"] == field


def test_a_list_where_none_belongs_is_refused_by_name(rest: httpx.Client) -> None:
    """The transcoder does not say which field it is."""
    models, strategies = "/api/v1/venue-models", "/api/v1/strategies"
    deep: list[Any] = []
    for _ in range(500):
        deep = [deep]
    for path, body, field in (
        (ORDERS, {**ORDER, "quantity": ["1"]}, "quantity"),
        (ORDERS, {"label": deep}, "label"),
        (strategies, {"symbols": deep}, "symbols"),
        (models, {"commission": []}, "commission"),
        (models, {"commission": {"tiers": [{"above": ["0"]}]}}, "commission.tiers.above"),
        (models, {"commission": {"tiers": [[]]}}, "commission.tiers"),
        (strategies, {"symbols": ["AAPL"], "parameters": {"fast": ["3"]}}, "parameters.fast"),
    ):
        error = error_of(rest.post(path, json=body), 400, 3, "INVALID_ARGUMENT")
        assert detail(error, "BadRequest")["field_violations"][0]["field"] == field
        assert error["message"] == f"{field}: must not be a list"


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"quantity": 10}, "quantity"),
        ({"side": "SIDE_BOUGHT"}, "side"),
        ({"side": True}, "side"),
        ({"reduce_only": 1}, "reduce_only"),
        ({"basis_time": "tomorrow"}, "basis_time"),
        ({"basis_sequence": "9" * 30}, "basis_sequence"),
    ],
)
def test_a_value_of_the_wrong_kind_is_refused_by_name(rest: httpx.Client, change: dict[str, Any], field: str) -> None:
    error = error_of(rest.post(ORDERS, content=json.dumps({**ORDER, **change})), 400, 3, "INVALID_ARGUMENT")
    [violation] = detail(error, "BadRequest")["field_violations"]
    assert violation["field"] == field
    assert violation["description"].startswith("invalid value")
    assert detail(error, "ErrorInfo")["metadata"] == {"field": field}
    assert error["message"] == f"The request cannot be read: {field}: {violation['description']}"


def test_so_it_is_inside_of_others_and_in_a_query(rest: httpx.Client) -> None:
    tiers = [{"above": "0", "basis_points": "1"}, {"above": 5}]
    for answer, field in (
        (rest.post("/api/v1/venue-models", json={"commission": {"tiers": tiers}}), "commission.tiers[1].above"),
        (rest.get(ORDERS, params={"page_size": "many"}), "page_size"),
        (rest.get(ORDERS, params={"start_time": "%41"}), "start_time"),
    ):
        error = error_of(answer, 400, 3, "INVALID_ARGUMENT")
        assert detail(error, "BadRequest")["field_violations"][0]["field"] == field


def test_what_is_no_text_is_refused(rest: httpx.Client) -> None:
    error = error_of(rest.post(ORDERS, content=json.dumps({**ORDER, "label": "\ud800"})), 400, 3, "INVALID_ARGUMENT")
    assert "surrogate" in detail(error, "BadRequest")["field_violations"][0]["description"]


@pytest.mark.parametrize("change", [{"side": 99}, {"side": None}, {"client_order_id": "i" * 10_000}, {"symbol": "a:b"}])
def test_a_value_that_breaks_a_rule_is_refused_by_the_service(rest: httpx.Client, change: dict[str, Any]) -> None:
    error = error_of(rest.post(ORDERS, json={**ORDER, **change}), 400, 3, "INVALID_ARGUMENT")
    assert detail(error, "BadRequest")["field_violations"][0]["field"] == next(iter(change))


def test_an_empty_body_is_an_empty_request(rest: httpx.Client) -> None:
    for body in (b"", b"{}", b" { } "):
        error = error_of(rest.post(ORDERS, content=body), 400, 3, "INVALID_ARGUMENT")
        assert len(detail(error, "BadRequest")["field_violations"]) > 5


@pytest.mark.parametrize(
    ("method", "target", "field"),
    [
        ("GET", f"{ORDERS}?bogus=1", "bogus"),
        ("GET", f"{ORDERS}?page_size=5&page%5Fsize=5", "page%5Fsize"),
        ("GET", f"{ORDERS}?page_size.x=5", "page_size.x"),
        ("GET", f"{ORDERS}/r1-1?order_id=r1-2", "order_id"),
        ("POST", f"{ORDERS}?symbol=AAPL", "symbol"),
    ],
)
def test_an_unknown_query_parameter_is_refused_by_name(
    rest: httpx.Client, method: str, target: str, field: str
) -> None:
    error = error_of(rest.request(method, target), 400, 3, "UNKNOWN_QUERY_PARAMETER")
    assert detail(error, "BadRequest")["field_violations"][0]["field"] == field


def test_a_query_value_of_the_wrong_kind_is_refused(rest: httpx.Client) -> None:
    error = error_of(rest.get(f"{ORDERS}?page_size=abc"), 400, 3, "INVALID_ARGUMENT")
    assert "page_size" in error["message"]


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/nowhere"),
        ("GET", "/api/v2/orders"),
        ("GET", "/api/v1/order"),
        ("GET", "/api/v1/orders/"),
        ("PUT", ORDERS),
        ("POST", f"{ORDERS}/r1-1%3Acancel"),
        ("POST", f"{ORDERS}/r1-1:explode"),
        ("GET", f"{ORDERS}/r1-1:cancel"),
        ("POST", "/tickmesh.order.v1.OrderService/GetOrder"),
        ("POST", "/tickmesh.marketdata.v1.TapeService/ReadTape"),
        ("GET", "/healthz/nobody"),
    ],
)
def test_what_is_not_there_is_not_found(rest: httpx.Client, method: str, path: str) -> None:
    error_of(rest.request(method, path), 404, 5, "METHOD_NOT_FOUND")


def test_an_id_of_10_kb_reaches_the_service_and_comes_back_refused(rest: httpx.Client) -> None:
    error_of(rest.get(f"{ORDERS}/{'x' * 10_000}"), 400, 3, "INVALID_ARGUMENT")
    error_of(rest.get(f"{ORDERS}/x%3Ay"), 400, 3, "INVALID_ARGUMENT")


def test_a_header_of_70_kb_is_too_large(rest: httpx.Client) -> None:
    error_of(rest.get(ORDERS, headers={"x": "y" * 70_000}), 431, 8, "TOO_LARGE")


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_of_2_mb_is_too_large(edge: Edge, *, chunked: bool) -> None:
    whole = b'{"label": "' + b"x" * 2_000_000 + b'"}'

    def parts() -> Iterator[bytes]:
        yield from (whole[at : at + 65_536] for at in range(0, len(whole), 65_536))

    with edge.client() as client:
        answer = client.post(ORDERS, content=parts() if chunked else whole)
        error_of(answer, 413, 8, "TOO_LARGE")


def test_a_service_that_is_away_is_unavailable_and_nothing_was_done(rest: httpx.Client) -> None:
    error = error_of(rest.get("/api/v1/strategies"), 503, 14, "SERVICE_UNAVAILABLE")
    assert detail(error, "RetryInfo")["retry_delay"] == "1s"


def test_a_service_that_does_not_answer_in_the_time_that_is_set_is_given_up(own_edge: MakeEdge) -> None:
    edge, _ = own_edge(edge_timeout_seconds=0.5)
    with edge.client() as client:
        error_of(client.get(f"{ORDERS}/slow"), 504, 4, "DEADLINE_EXCEEDED")


def test_a_connection_that_broke_in_a_call_promises_nothing(own_edge: MakeEdge) -> None:
    """UNAVAILABLE with our ErrorInfo would say that the id was not consumed; here nobody knows."""
    edge, backend = own_edge()
    with edge.client() as client:
        answer = client.get(f"{ORDERS}/broken")
        assert answer.status_code == 503
        assert answer.json()["code"] == 14
        assert [each["@type"].rpartition(".")[2] for each in answer.json()["details"]] == ["RetryInfo"]
        backend.kill()
        error_of(client.get(f"{ORDERS}/none"), 503, 14, "SERVICE_UNAVAILABLE")
        backend.start()
        error_of(client.get(f"{ORDERS}/none"), 404, 5, "ORDER_NOT_FOUND")


def test_a_fault_of_the_filter_refuses_the_call_and_never_lets_it_pass_unchecked(
    own_edge: MakeEdge, tmp_path: Path
) -> None:
    faulty = shutil.copytree(GATEWAY / "filter", tmp_path / "filter")
    whole = (faulty / "body.lua").read_text()
    (faulty / "body.lua").write_text(whole.replace("local at = skip(text, 1)", "local at = skip(nil, 1)"))
    edge, _ = own_edge(edit=lambda text: text.replace(str(GATEWAY / "filter"), str(faulty)))
    with edge.client() as client:
        error_of(client.post(ORDERS, json=ORDER), 500, 13, "INTERNAL_ERROR")
        error_of(client.get(f"{ORDERS}/none"), 404, 5, "ORDER_NOT_FOUND")
