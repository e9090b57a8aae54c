"""What Envoy says itself, in the one shape of every error: as JSON to REST callers, as a status to gRPC callers.

Refusals of the Lua filter pass as they are. A mapper is tried after the other; the first that fits is taken.
A connection that broke in the middle of a call carries no ErrorInfo: by the contract that would promise that nothing
was done, and nobody knows.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final, NamedTuple

import grpc
from google.protobuf.json_format import MessageToDict
from google.rpc import error_details_pb2, status_pb2

from services.chassis.errors import DETAILS_KEY, ApiError

Json = dict[str, Any]
Code = grpc.StatusCode
_TYPES: Final = "type.googleapis.com/google.rpc."


class Reply(NamedTuple):
    """One mapper.

    Attributes:
        status: the HTTP status that Envoy gives, or None for any from 400.
        flags: Envoy's response flags, any of which must be set; none for all.
        error: what is told instead.
        known: whether it is known that nothing was done.
        told: whether Envoy's own words follow the message (REST only).
        answer: the HTTP status given instead; None to keep Envoy's.
    """

    status: int | None
    error: ApiError
    flags: tuple[str, ...] = ()
    known: bool = True
    told: bool = False
    answer: int | None = None


# The upstream's connection ended, was reset, or it broke the protocol.
_BROKEN: Final = ("UC", "UR", "UPE", "LR")
_REPLIES: Final = (
    Reply(504, ApiError.deadline_exceeded("The service did not answer in time; repeat the call to learn the truth.")),
    Reply(
        None,
        ApiError.unavailable("", "The connection to the service broke; repeat the call to learn what was done."),
        _BROKEN,
        known=False,
        answer=503,
    ),
    Reply(
        503, ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is away and nothing was done; repeat the call.")
    ),
    Reply(413, ApiError(Code.RESOURCE_EXHAUSTED, "TOO_LARGE", "The body is larger than 1 MiB.")),
    Reply(431, ApiError(Code.RESOURCE_EXHAUSTED, "TOO_LARGE", "The headers are larger than 60 KiB.")),
    Reply(404, ApiError(Code.NOT_FOUND, "METHOD_NOT_FOUND", "There is no such method or path; see /docs.")),
    Reply(None, ApiError.invalid_argument("The request cannot be read"), told=True),
)


def mappers() -> Iterator[Json]:
    """The mappers of `local_reply_config`, first match first."""
    yield {"filter": _noted("refused"), "body_format_override": _text("%LOCAL_REPLY_BODY%")}
    yield {
        "filter": _both(_status("EQ", 200), _request_header(":path", {"prefix": "/healthz"})),
        "body_format_override": _text('{"status": "SERVING"}'),
    }
    for reply in _REPLIES:
        yield _for_grpc(reply)
        yield _for_rest(reply)


def status(reply: Reply) -> status_pb2.Status:
    """The status of a reply; without ErrorInfo where the outcome is unknown."""
    whole = reply.error.to_status()
    if not reply.known:
        kept = [detail for detail in whole.details if not detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR)]
        return status_pb2.Status(code=whole.code, message=whole.message, details=kept)
    return whole


def _for_grpc(reply: Reply) -> Json:
    told = status(reply)
    if reply.status == 404:  # What gRPC says of methods that a server does not have.
        told.code = Code.UNIMPLEMENTED.value[0]
    details = base64.b64encode(told.SerializeToString()).decode().rstrip("=")
    told_headers = {"grpc-status": str(told.code), "grpc-message": told.message, DETAILS_KEY: details}
    return {
        # The transcoder makes gRPC calls of REST calls, so the content type alone does not tell who is answered.
        "filter": _both(*_fits(reply), _noted("grpc")),
        # For gRPC-Web, whose filter would make a status of its own of any other answer; for gRPC Envoy sets both.
        "status_code": 200,
        "body_format_override": {
            "text_format_source": {"inline_string": ""},
            "content_type": "application/grpc-web+proto",
        },
        "headers_to_add": [_header(name, value) for name, value in told_headers.items()],
    }


def _for_rest(reply: Reply) -> Json:
    shown = MessageToDict(status(reply), preserving_proto_field_name=True, always_print_fields_with_no_presence=True)
    # In the order of the transcoder's own errors.
    shown = {name: shown[name] for name in ("code", "message", "details")}
    found: Json = {
        "filter": _both(*_fits(reply)),
        "body_format_override": _text(json.dumps(shown, separators=(",", ":"))),
    }
    if reply.told:
        shown["message"] += ": %LOCAL_REPLY_BODY%"
        violation = {"field": "", "description": "%LOCAL_REPLY_BODY%", "reason": ""}
        shown["details"].append({"@type": f"{_TYPES}BadRequest", "field_violations": [violation]})
        found["body_format_override"] = {"json_format": shown, "content_type": "application/json"}
    if reply.answer is not None:
        found["status_code"] = reply.answer
    return found


def _fits(reply: Reply) -> Sequence[Json]:
    found = [_status("GE", 400) if reply.status is None else _status("EQ", reply.status)]
    if reply.flags:
        found.append({"response_flag_filter": {"flags": list(reply.flags)}})
    return found


def _both(*filters: Json) -> Json:
    return filters[0] if len(filters) == 1 else {"and_filter": {"filters": list(filters)}}


def _status(operator: str, code: int) -> Json:
    compared = {"default_value": code, "runtime_key": "edge.local_reply"}
    return {"status_code_filter": {"comparison": {"op": operator, "value": compared}}}


def _request_header(name: str, match: Mapping[str, str]) -> Json:
    return {"header_filter": {"header": {"name": name, "string_match": dict(match)}}}


def _noted(key: str) -> Json:
    """Whether the Lua filter noted something."""
    matcher = {"filter": "tickmesh", "path": [{"key": key}], "value": {"bool_match": True}}
    return {"metadata_filter": {"matcher": matcher, "match_if_key_not_found": False}}


def _header(name: str, value: str) -> Json:
    return {"header": {"key": name, "value": value}, "append_action": "OVERWRITE_IF_EXISTS_OR_ADD"}


def _text(text: str) -> Json:
    return {"text_format_source": {"inline_string": text}, "content_type": "application/json"}


def block() -> list[str]:
    """The mappers as lines of YAML, one each."""
    return [f"- {json.dumps(each)}" for each in mappers()]
