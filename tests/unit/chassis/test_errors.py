"""One typed error in Python, one status on the wire."""

import base64
import logging
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2
from grpc.aio import AioRpcError, Metadata

from services.chassis.details import FieldViolation, PreconditionViolation, QuotaViolation, ResourceInfo
from services.chassis.errors import DETAILS_KEY, ApiError, api_error, clip

ERRORS = [
    ApiError.invalid_argument("bad", field_violations=[FieldViolation("quantity", "must be positive", "decimal")]),
    ApiError.invalid_field("limit_price", "is off the increment", "OFF_INCREMENT", metadata={"increment": "0.01"}),
    ApiError.not_found("order", "r1-7", "ORDER_NOT_FOUND"),
    ApiError.already_exists("order", "r1-7", "CLIENT_ORDER_ID_REUSED", metadata={"order_id": "r1-7"}),
    ApiError.failed_precondition(
        "LIMIT_EXCEEDED",
        "too large",
        kind="RISK",
        subject="portfolio/p1",
        metadata={"limit": "max_order_notional", "bound": "10000", "value": "12500"},
    ),
    ApiError.resource_exhausted("TOO_LARGE", "slow down", subject="p1", retry_delay=2.5),
    ApiError.unavailable("RISK_UNAVAILABLE", "no answer", retry_delay=0.25),
    ApiError.aborted("BASIS_STALE", "read again"),
    ApiError.deadline_exceeded("late"),
    ApiError.unauthenticated("NOBODY", "who are you"),
    ApiError.permission_denied("NOT_YOURS", "no"),
    ApiError.internal(),
]
FIELDS = (
    "code",
    "reason",
    "message",
    "metadata",
    "field_violations",
    "precondition_violations",
    "resource",
    "quota_violations",
    "retry_delay",
)


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: error.reason)
def test_an_error_comes_back_from_the_wire_as_it_went(error: ApiError) -> None:
    back = ApiError.from_status(error.to_status())
    assert {name: getattr(back, name) for name in FIELDS} == {name: getattr(error, name) for name in FIELDS}


def test_every_error_carries_an_error_info_of_our_domain() -> None:
    for error in ERRORS:
        info = error_details_pb2.ErrorInfo()
        assert error.to_status().details[0].Unpack(info)
        assert (info.reason, info.domain) == (error.reason, "tickmesh")


def test_constructors_fill_in_the_details_that_belong_to_their_code() -> None:
    missing = ApiError.not_found("kill_switch", "x", "KILL_SWITCH_NOT_FOUND")
    assert (missing.resource, missing.message) == (ResourceInfo("kill_switch", "x"), "There is no kill switch x.")
    refused = ApiError.failed_precondition("MARKET_CLOSED", "closed", kind="SESSION", subject="AAPL")
    assert refused.precondition_violations == (PreconditionViolation("SESSION", "AAPL", "closed"),)
    exhausted = ApiError.resource_exhausted("TOO_LARGE", "too large", subject="p1")
    assert exhausted.quota_violations == (QuotaViolation("p1", "too large"),)
    assert exhausted.retry_delay == 1.0


@pytest.mark.parametrize("letter", ["x", "é", "字", "\U0001f600"])
def test_a_callers_long_text_does_not_overflow_the_trailers(letter: str) -> None:
    long = letter * 10_000
    error = ApiError.not_found(
        "order",
        long,
        "ORDER_NOT_FOUND",
        long,
        metadata={"order_id": long},
        field_violations=[FieldViolation(long, long, long)] * 100,
        precondition_violations=[PreconditionViolation("STATE", long, long)] * 100,
        quota_violations=[QuotaViolation(long, long)] * 100,
        retry_delay=1.0,
    )
    status = error.to_status()
    details = status.SerializeToString()
    # What gRPC makes of them; its hard limit is 16 KiB, what many a proxy takes 8.
    assert len(details) <= 4096
    assert len(base64.b64encode(details)) + len(quote(status.message)) < 8000
    back = ApiError.from_status(status)
    assert (back.reason, back.retry_delay) == ("ORDER_NOT_FOUND", 1.0)
    assert back.field_violations[0].field.startswith(letter * 10)
    assert back.field_violations[0].field.endswith("…")


@pytest.mark.parametrize("letter", ["x", "é", "字", "\U0001f600"])
def test_text_is_clipped_by_its_bytes_and_between_letters(letter: str) -> None:
    size = len(letter.encode())
    fits = letter * (256 // size)
    assert clip(fits) == fits
    clipped = clip(letter * 257)
    assert clipped == letter * ((256 - 3) // size) + "…"
    assert len(clipped.encode()) <= 256


def test_a_failed_call_with_our_details_is_the_peers_error() -> None:
    sent = ApiError.not_found("order", "r1-7", "ORDER_NOT_FOUND")
    trailers = Metadata((DETAILS_KEY, sent.to_status().SerializeToString()))
    back = ApiError.from_rpc_error(AioRpcError(grpc.StatusCode.NOT_FOUND, Metadata(), trailers, "there is none"))
    assert back.reason == "ORDER_NOT_FOUND"
    assert back.resource == ResourceInfo("order", "r1-7")


@pytest.mark.parametrize(
    ("code", "expected", "reason"),
    [
        (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.INTERNAL, grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.UNKNOWN, grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.CANCELLED, grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE"),
        (grpc.StatusCode.DEADLINE_EXCEEDED, grpc.StatusCode.DEADLINE_EXCEEDED, "DEADLINE_EXCEEDED"),
        (grpc.StatusCode.UNIMPLEMENTED, grpc.StatusCode.UNIMPLEMENTED, "METHOD_NOT_FOUND"),
    ],
)
def test_a_broken_connection_is_unavailable_whatever_the_transport_calls_it(
    code: grpc.StatusCode, expected: grpc.StatusCode, reason: str
) -> None:
    back = ApiError.from_rpc_error(AioRpcError(code, Metadata(), Metadata(), "Socket closed"))
    assert (back.code, back.reason) == (expected, reason)


def test_an_unexpected_exception_is_internal_without_its_text_and_logged_with_its_stack(
    caplog: pytest.LogCaptureFixture,
) -> None:
    try:
        raise KeyError("secret")
    except KeyError as error:
        with caplog.at_level(logging.ERROR):
            answer = api_error(error)
    assert (answer.code, answer.reason) == (grpc.StatusCode.INTERNAL, "INTERNAL_ERROR")
    assert "secret" not in str(answer.to_status())
    assert "secret" in caplog.text
    assert "Traceback" in caplog.text


def test_a_timeout_is_a_deadline() -> None:
    assert api_error(TimeoutError()).code is grpc.StatusCode.DEADLINE_EXCEEDED
