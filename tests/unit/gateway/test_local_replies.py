"""What Envoy says itself."""

import base64
import json
from typing import Any

from google.rpc import error_details_pb2, status_pb2
from tickmesh.common.v1.error_reason_pb2 import ErrorReason

from gateway import local_replies
from gateway.render import GATEWAY

REPLIES = [each for each in local_replies.mappers() if "refused" not in json.dumps(each["filter"])]
GRPC = [each for each in REPLIES if "headers_to_add" in each]
REST = [each for each in REPLIES if "code" in json.dumps(each["body_format_override"])]


def test_grpc_callers_get_the_same_reasons_as_rest_callers() -> None:
    assert len(GRPC) == len(REST) > 5
    for grpc, rest in zip(GRPC, REST, strict=True):
        headers = {each["header"]["key"]: each["header"]["value"] for each in grpc["headers_to_add"]}
        encoded = headers["grpc-status-details-bin"]
        status = status_pb2.Status.FromString(base64.b64decode(encoded + "=" * (-len(encoded) % 4)))
        assert headers["grpc-status"] == str(status.code)
        assert headers["grpc-message"] == status.message
        info = error_details_pb2.ErrorInfo()
        reasons = [info.reason for each in status.details if each.Unpack(info)]
        assert reasons == [each["reason"] for each in shown(rest)["details"] if each["@type"].endswith("ErrorInfo")]


def shown(mapper: dict[str, Any]) -> dict[str, Any]:
    """The JSON that a REST caller gets."""
    told = mapper["body_format_override"]
    return dict(told.get("json_format") or json.loads(told["text_format_source"]["inline_string"]))


def test_every_reason_is_one_of_the_contract() -> None:
    known = {name.removeprefix("ERROR_REASON_") for name in ErrorReason.keys()}  # noqa: SIM118 an enum, no dict
    named = {reply.error.reason for reply in local_replies._REPLIES if reply.known}
    assert named <= known
    lua = (GATEWAY / "filter" / "refusals.lua").read_text()
    for reason in (
        "MALFORMED_JSON",
        "UNKNOWN_FIELD",
        "UNKNOWN_QUERY_PARAMETER",
        "METHOD_NOT_FOUND",
        "TOO_LARGE",
        "INTERNAL_ERROR",
    ):
        assert reason in known
        assert f'"{reason}"' in lua
