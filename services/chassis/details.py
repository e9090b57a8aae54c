"""What an error says beside its code and message, as `google.rpc` has it; short enough to travel, whatever was asked.

A caller's 10 kB id must not come back whole: trailers past 8 KiB break the stream, and a mistake would look INTERNAL.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from google.protobuf.message import Message
from google.rpc import error_details_pb2

# Bytes of UTF-8, as all that travels here: the details do so in base64.
MAX_TEXT: Final = 256
MAX_VIOLATIONS: Final = 2048


class FieldViolation(NamedTuple):
    """A field of the request that broke a rule: its path, what is wrong, the rule's id."""

    field: str
    description: str
    reason: str = ""


class PreconditionViolation(NamedTuple):
    """A state that forbids the call: its kind (`RISK`, `FUNDS`, `SESSION`, `STATE`), of what, and why."""

    type: str
    subject: str
    description: str


class ResourceInfo(NamedTuple):
    """What was not found or is already there: its kind (`order`), its name, and more where useful."""

    type: str
    name: str
    description: str = ""


class QuotaViolation(NamedTuple):
    """A quota used up: whose, and which."""

    subject: str
    description: str


def clip(text: str, limit: int = MAX_TEXT) -> str:
    """Text short enough to travel in trailers: of at most `limit` bytes in UTF-8."""
    data = text.encode(errors="replace")
    return text if len(data) <= limit else data[: limit - 3].decode(errors="ignore") + "…"


def error_info(reason: str, domain: str, metadata: Mapping[str, str]) -> Message:
    """The reason, by its name, and the figures that belong to it."""
    short = {key: clip(value) for key, value in metadata.items()}
    return error_details_pb2.ErrorInfo(reason=reason, domain=domain, metadata=short)


def retry_info(seconds: float) -> Message:
    """When to ask again."""
    retry = error_details_pb2.RetryInfo()
    retry.retry_delay.FromNanoseconds(int(seconds * 1e9))
    return retry


def bad_request(violations: Sequence[FieldViolation]) -> Message:
    """The fields that are wrong."""
    bad = error_details_pb2.BadRequest()
    for field, description, reason in violations:
        bad.field_violations.add(field=clip(field), description=clip(description), reason=clip(reason))
    return _bounded(bad, bad.field_violations)


def precondition_failure(violations: Sequence[PreconditionViolation]) -> Message:
    """The states that forbid it."""
    failure = error_details_pb2.PreconditionFailure()
    for kind, subject, description in violations:
        failure.violations.add(type=kind, subject=clip(subject), description=clip(description))
    return _bounded(failure, failure.violations)


def resource_info(resource: ResourceInfo) -> Message:
    """What was not found, or is there."""
    kind, name, text = resource
    return error_details_pb2.ResourceInfo(resource_type=kind, resource_name=clip(name), description=clip(text))


def quota_failure(violations: Sequence[QuotaViolation]) -> Message:
    """The quotas that are used up."""
    quota = error_details_pb2.QuotaFailure()
    for subject, description in violations:
        quota.violations.add(subject=clip(subject), description=clip(description))
    return _bounded(quota, quota.violations)


def _bounded(detail: Message, violations: Any) -> Message:
    """The detail with as many of its violations, from the first on, as there is room for."""
    while detail.ByteSize() > MAX_VIOLATIONS:
        del violations[-1]
    return detail
