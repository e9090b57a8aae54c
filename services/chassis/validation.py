"""Requests are checked against the protovalidate rules written in the protos: 2 µs a message, 5 µs with CEL."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from google.protobuf.descriptor import Descriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from protovalidate import Validator, Violation

from services.chassis.details import FieldViolation
from services.chassis.errors import ApiError

# As many as a form shows at once; of long ones fewer travel, see errors.py.
MAX_VIOLATIONS = 16
# What protobuf says a duration can be: 10,000 years. JSON cannot say more, but a message can.
_MOST_SECONDS, _MOST_NANOS = 315_576_000_000, 999_999_999

_validator = Validator()


def validate(message: Message) -> None:
    """Checks a message against its rules.

    Raises:
        ApiError: INVALID_ARGUMENT, naming the path of every field that broke one.
    """
    for path in _durations(message.DESCRIPTOR):
        # A rule over one that is none cannot be evaluated, or takes its parts for a sound sum.
        if (found := _at(message, path)) is not None and not _sound(found):
            raise ApiError.invalid_field(".".join(path), "is no duration: at most 10,000 years, its parts of one sign")
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


@lru_cache(None)
def _durations(of: Descriptor, above: tuple[Descriptor, ...] = ()) -> tuple[tuple[str, ...], ...]:
    """The paths of a message's durations; of those in lists and maps there are none in any request."""
    if of in above:
        return ()
    paths: list[tuple[str, ...]] = []
    for field in of.fields:
        if field.message_type is None or field.is_repeated:
            continue
        if field.message_type is Duration.DESCRIPTOR:
            paths.append((field.name,))
        else:
            paths += [(field.name, *path) for path in _durations(field.message_type, (*above, of))]
    return tuple(paths)


def _at(message: Any, path: tuple[str, ...]) -> Any:
    """What stands at a path, None where it is not given."""
    for name in path:
        if not message.HasField(name):
            return None
        message = getattr(message, name)
    return message


def _sound(duration: Duration) -> bool:
    seconds, nanos = duration.seconds, duration.nanos
    return abs(seconds) <= _MOST_SECONDS and abs(nanos) <= _MOST_NANOS and seconds * nanos >= 0


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
