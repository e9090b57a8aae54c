"""Times, decimals and enums."""

from __future__ import annotations

import re
import time
from collections.abc import Iterable
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, TypeVar

from google.protobuf.timestamp_pb2 import Timestamp

from services.chassis.errors import ApiError
from services.domain.money import ZERO, NotADecimal, format_decimal

E = TypeVar("E", bound=Enum)

# What an int64 of ns can tell: 1677 to 2262.
_FIRST_SECOND, _LAST_SECOND = -9_223_372_036, 9_223_372_035
_PLAIN = re.compile(r"[0-9]+(\.[0-9]+)?")


def timestamp(nanoseconds: int) -> Timestamp:
    """Nanoseconds since the epoch as the wire's timestamp."""
    return Timestamp(seconds=nanoseconds // 1_000_000_000, nanos=nanoseconds % 1_000_000_000)


def set_time(field: Timestamp, nanoseconds: int) -> None:
    """`timestamp` into a message's own field, which saves making one and copying it."""
    field.seconds, field.nanos = divmod(nanoseconds, 1_000_000_000)
    if not nanoseconds:
        # The epoch is set too, though both parts of it are zero.
        field.SetInParent()


def nanoseconds(of: Timestamp) -> int:
    """The wire's timestamp as nanoseconds since the epoch; 0 for one that is not set."""
    return of.seconds * 1_000_000_000 + of.nanos


def now() -> Timestamp:
    """Wall time."""
    return timestamp(time.time_ns())


def time_from(field: str, value: Timestamp) -> int:
    """The ns of a time that a caller named.

    Raises:
        ApiError: INVALID_ARGUMENT where it is none, or beyond what ns can tell.
    """
    if not (_FIRST_SECOND <= value.seconds <= _LAST_SECOND and 0 <= value.nanos < 1_000_000_000):
        raise ApiError.invalid_field(field, "is no time between 1677 and 2262")
    return nanoseconds(value)


def time_range(request: Any) -> tuple[int | None, int | None]:
    """The ns of a request's `start_time` and `end_time`; None for one that is not given.

    Raises:
        ApiError: INVALID_ARGUMENT for a time that is none, or an end before its start.
    """
    start = time_from("start_time", request.start_time) if request.HasField("start_time") else None
    end = time_from("end_time", request.end_time) if request.HasField("end_time") else None
    if start is not None and end is not None and end < start:
        raise ApiError.invalid_field("end_time", "is before start_time")
    return start, end


@lru_cache(8192)
def decimal(text: str) -> Decimal:
    """An amount that a service wrote, zero where it wrote none.

    Kept, because the same few come again and again: 0.1 us against 0.5.
    """
    return Decimal(text) if text else ZERO


@lru_cache(8192)
def optional(text: str) -> Decimal | None:
    """An amount that a service wrote, None where it wrote none; kept as `decimal` keeps them."""
    return Decimal(text) if text else None


def amount(text: str) -> Decimal | None:
    """An amount of an order, None where there is none.

    What closes a position, or was split, may have more digits than a client may write.

    Raises:
        NotADecimal: for anything but plain digits.
    """
    if not text:
        return None
    if _PLAIN.fullmatch(text) is None:
        raise NotADecimal(f"{text[:40]!r} is not a decimal")
    return Decimal(text)


@lru_cache(8192)
def text(value: Decimal, minimum_places: int = 0) -> str:
    """`format_decimal`, without its rounding where the value has few enough places as it is.

    Kept, because an order's decimals are zero or what they were in its event before: 0.3 us against 0.9.
    """
    plain = str(value)
    whole, point, fraction = plain.partition(".")
    if "E" in plain or len(fraction) > 9 or plain[0] == "-":
        return format_decimal(value, minimum_places)
    if not point:
        return f"{whole}.{'0' * minimum_places}" if minimum_places else whole
    fraction = fraction.rstrip("0").ljust(minimum_places, "0")
    return f"{whole}.{fraction}" if fraction else whole


def numbers(wire: Any, prefix: str, members: Iterable[E]) -> dict[E, Any]:
    """The number of each member of a domain's enum whose name, after `prefix`, is that of the wire's enum."""
    found = dict(wire.items())
    return {member: found[prefix + member.name] for member in members if prefix + member.name in found}


def name_of(wire: Any, prefix: str, number: int) -> str:
    """The name of a wire's enum value, without what all of them begin with."""
    return str(wire.Name(number)).removeprefix(prefix)
