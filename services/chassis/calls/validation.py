"""Requests are checked against the protovalidate rules written in the protos: 2 µs a message, 5 µs with CEL."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache, partial
from typing import Any, Final

from google.protobuf.descriptor import Descriptor, EnumDescriptor
from google.protobuf.duration_pb2 import Duration
from google.protobuf.message import Message
from protovalidate import Validator, Violation

from services.chassis.details import FieldViolation
from services.chassis.errors import ApiError

# As many as a form shows at once; of long ones fewer travel, see errors.py.
MAX_VIOLATIONS = 16
# What protobuf says a duration can be: 10,000 years. JSON cannot say more, but a message can.
_MOST_SECONDS, _MOST_NANOS = 315_576_000_000, 999_999_999

# A rule over several fields says first which of them it is about: `limit_price: must be given for …`.
_NAMED: Final = re.compile("([a-z_]+): ")
# Their own words give numbers, which no client writes.
_OF_ENUMS: Final = frozenset({"enum.not_in", "enum.defined_only"})
# A field that is empty is one that was not given: protobuf does not tell them apart.
_PLAINER: Final = {"value is required": "must be given", "must be at least 1 characters": "must be given"}

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
        raise _invalid(message.DESCRIPTOR, violations)


def _invalid(of: Any, violations: list[Violation]) -> ApiError:
    """One error of all violations; the text is the first one's, of a single field before one over several."""
    found = sorted(map(partial(_found, of), violations), key=lambda each: each[0])[:MAX_VIOLATIONS]
    [_, first], *_ = found
    text = f"{first.field}: {first.description}"
    return ApiError.invalid_argument(text, field_violations=[violation for _, violation in found])


def _found(of: Descriptor, violation: Violation) -> tuple[bool, FieldViolation]:
    """What is told of a violation, and whether its rule is over several fields: then its words begin with one."""
    elements = violation.proto.field.elements if violation.proto.field else ()
    path, description, rule = _path(elements), violation.proto.message, violation.proto.rule_id or ""
    description = _PLAINER.get(description, description)
    named = _NAMED.match(description)
    if named:
        path, description = f"{path}.{named[1]}".removeprefix("."), description[named.end() :]
    elif rule in _OF_ENUMS:
        description = f"must be one of {', '.join(_choices(of, elements))}"
    return named is not None, FieldViolation(path, description or f"breaks the rule {rule}", rule)


def _choices(of: Descriptor | None, elements: Sequence[Any]) -> list[str]:
    """The values of the enum at a path; 0 is no choice."""
    enum: EnumDescriptor | None = None
    for element in elements:
        field = of.fields_by_name[element.field_name] if of else None
        if field and field.message_type and field.message_type.GetOptions().map_entry:
            field = field.message_type.fields_by_name["value"]
        of, enum = (field.message_type, field.enum_type) if field else (None, None)
    return [value.name for value in enum.values if value.number] if enum else []


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


def _path(elements: Sequence[Any]) -> str:
    """The field's path as a client writes it: `legs[2].limit_price`, `labels["a"]`."""
    parts: list[str] = []
    for element in elements:
        subscript = element.subscript
        suffix = ""
        if subscript is not None:
            value = subscript.value
            suffix = f'["{value}"]' if isinstance(value, str) else f"[{value}]"
        parts.append(f"{element.field_name}{suffix}")
    return ".".join(parts)
