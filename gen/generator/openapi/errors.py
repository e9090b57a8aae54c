"""The one shape of every error, and a sample of each reason, read from the comments of `ErrorReason`.

A value's comment is `CODE. What happened; `key` says more.`: its code gives the HTTP status, its keys the metadata.
"""

import re
from dataclasses import dataclass

from gen.generator.openapi.contract import Contract, Json

_ENUM = "tickmesh.common.v1.ErrorReason"
_PREFIX = "ERROR_REASON_"
_COMMENT = re.compile(r"(?P<code>[A-Z_]+)\. (?P<text>.+)", re.DOTALL)
_KEY = re.compile(r"`([a-z][a-z_]*)`")

# gRPC code to its number and to the HTTP status that Envoy gives it.
CODES = {
    "CANCELLED": (1, 499),
    "UNKNOWN": (2, 500),
    "INVALID_ARGUMENT": (3, 400),
    "DEADLINE_EXCEEDED": (4, 504),
    "NOT_FOUND": (5, 404),
    "ALREADY_EXISTS": (6, 409),
    "PERMISSION_DENIED": (7, 403),
    "RESOURCE_EXHAUSTED": (8, 429),
    "FAILED_PRECONDITION": (9, 400),
    "ABORTED": (10, 409),
    "OUT_OF_RANGE": (11, 400),
    "UNIMPLEMENTED": (12, 501),
    "INTERNAL": (13, 500),
    "UNAVAILABLE": (14, 503),
    "DATA_LOSS": (15, 500),
    "UNAUTHENTICATED": (16, 401),
}
_METADATA = {
    "blocked_on": "strategy",
    "bound": "10000",
    "field": "limit_prise",
    "increment": "0.0001",
    "limit": "max_order_notional",
    "missing": "250.00",
    "order_id": "r1-42",
    "state": "FILLED",
    "value": "12500",
}
_TYPE = "type.googleapis.com/google.rpc."
# As the edge prints them: the protos' names, zeros too.
_DETAILS: dict[str, list[Json]] = {
    "INVALID_ARGUMENT": [
        {
            "@type": f"{_TYPE}BadRequest",
            "field_violations": [{"field": "symbol", "description": "must be given", "reason": "tickmesh.symbol"}],
        }
    ],
    "FAILED_PRECONDITION": [
        {
            "@type": f"{_TYPE}PreconditionFailure",
            "violations": [{"type": "RISK", "subject": "r1-42", "description": "A limit would be broken."}],
        }
    ],
    "RESOURCE_EXHAUSTED": [{"@type": f"{_TYPE}RetryInfo", "retry_delay": "1s"}],
    "UNAVAILABLE": [{"@type": f"{_TYPE}RetryInfo", "retry_delay": "1s"}],
}
# Without further details, whatever their code.
_BARE = ("METHOD_NOT_FOUND", "TOO_LARGE")
_NOT_FOUND = "_NOT_FOUND"


@dataclass(frozen=True)
class Reason:
    """One reason and what its comment says."""

    name: str
    code: str
    text: str

    @property
    def status(self) -> int:
        """The HTTP status."""
        return CODES[self.code][1]

    def sample(self) -> Json:
        """An error as a client gets it."""
        info: Json = {"@type": f"{_TYPE}ErrorInfo", "reason": self.name, "domain": "tickmesh"}
        info["metadata"] = {key: _METADATA[key] for key in _KEY.findall(self.text) if key in _METADATA}
        message = re.split("[;:]", self.text, maxsplit=1)[0].rstrip(".")
        return {"code": CODES[self.code][0], "message": message, "details": [info, *self._detail()]}

    def _detail(self) -> list[Json]:
        # Only a broken field rule names fields; INVALID_ARGUMENT's other reasons are about the request as a whole.
        if self.code == "INVALID_ARGUMENT" and "BadRequest" not in self.text:
            return []
        if self.name in _BARE:
            return []
        if self.name.endswith(_NOT_FOUND):
            kind = self.name.removesuffix(_NOT_FOUND).lower()
            named = {"resource_type": kind, "resource_name": f"{kind}-1", "owner": "", "description": ""}
            return [{"@type": f"{_TYPE}ResourceInfo", **named}]
        return _DETAILS.get(self.code, [])


def reasons(contract: Contract) -> dict[str, Reason]:
    """All reasons by name, without the enum's prefix.

    Raises:
        ValueError: if a value's comment does not start with its code.
    """
    found: dict[str, Reason] = {}
    for value in contract.pool.FindEnumTypeByName(_ENUM).values:
        if value.number == 0:
            continue
        comment = contract.enum_value_comment(_ENUM, value.name)
        parts = _COMMENT.fullmatch(comment)
        if parts is None or parts["code"] not in CODES:
            raise ValueError(f"the comment of {value.name} must start with a gRPC code and a full stop: {comment!r}")
        name = value.name.removeprefix(_PREFIX)
        found[name] = Reason(name, parts["code"], " ".join(parts["text"].split()))
    return found


def schemas(known: dict[str, Reason]) -> dict[str, Json]:
    """The schemas `Error` and `ErrorInfo`."""
    rows = [f"- `{reason.name}` ({reason.code}, HTTP {reason.status}): {reason.text}" for reason in known.values()]
    error_info = {
        "type": "object",
        "description": "Why a call failed, for programs.",
        "properties": {
            "@type": {"const": f"{_TYPE}ErrorInfo"},
            "reason": {"type": "string", "enum": list(known), "description": "\n".join(rows)},
            "domain": {"const": "tickmesh"},
            "metadata": {"type": "object", "additionalProperties": {"type": "string"}},
        },
        "required": ["@type", "reason", "domain"],
    }
    other_detail = {
        "type": "object",
        "description": "Any other message of google.rpc, named by `@type`.",
        "properties": {"@type": {"type": "string"}},
        "required": ["@type"],
    }
    error = {
        "type": "object",
        "description": "A `google.rpc.Status`. `details` always holds an `ErrorInfo`.",
        "properties": {
            "code": {"type": "integer", "format": "int32", "description": "The gRPC code."},
            "message": {"type": "string", "description": "For people; programs read `details`."},
            "details": {
                "type": "array",
                "items": {"anyOf": [{"$ref": "#/components/schemas/ErrorInfo"}, other_detail]},
            },
        },
        "required": ["code", "message"],
    }
    return {"Error": error, "ErrorInfo": error_info}


def examples(known: dict[str, Reason]) -> dict[str, Json]:
    """A sample of every reason, for `components.examples`."""
    return {reason.name: {"summary": reason.text, "value": reason.sample()} for reason in known.values()}


def responses(known: dict[str, Reason], comment: str) -> dict[str, Json]:
    """The error responses of an operation by HTTP status, from the reasons that its comment names in backticks."""
    by_status: dict[int, list[Reason]] = {}
    for name in re.findall(r"`([A-Z_]+)`", comment):
        if name in known and known[name] not in by_status.setdefault(known[name].status, []):
            by_status[known[name].status].append(known[name])
    found = {str(status): _response(by_status[status]) for status in sorted(by_status)}
    found["default"] = {"$ref": "#/components/responses/Error"}
    return found


def any_error() -> Json:
    """The response to any failure that an operation does not name."""
    content = {"application/json": {"schema": {"$ref": "#/components/schemas/Error"}}}
    return {"description": "Any other failure.", "content": content}


def _response(found: list[Reason]) -> Json:
    content = {
        "schema": {"$ref": "#/components/schemas/Error"},
        "examples": {reason.name: {"$ref": f"#/components/examples/{reason.name}"} for reason in found},
    }
    names = {code: [f"`{reason.name}`" for reason in found if reason.code == code] for code in CODES}
    description = "; ".join(f"{code} {', '.join(of_code)}" for code, of_code in names.items() if of_code)
    return {"description": description, "content": {"application/json": content}}
