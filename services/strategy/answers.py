"""What an answer of another service means, and how long to wait for one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

import grpc

from services.chassis.errors import ApiError

T = TypeVar("T")

FIRST_BACKOFF_SECONDS: Final = 0.01
LAST_BACKOFF_SECONDS: Final = 0.5
REFUSALS: Final = frozenset(
    {
        "INSUFFICIENT_BUYING_POWER",
        "SHORT_NOT_ALLOWED",
        "LIMIT_EXCEEDED",
        "ORDER_RATE_EXCEEDED",
        "PRICE_OUT_OF_BAND",
        "SYMBOL_RESTRICTED",
        "KILL_SWITCH_ENGAGED",
        "NO_REFERENCE_PRICE",
        "MARKET_CLOSED",
        "BRACKET_INVERTED",
    }
)
"""Answers that are orders: the order is there, REJECTED."""
PASSING: Final = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.UNKNOWN,
    }
)
"""Answers that say nothing about the order: the same command again learns the truth."""

_log = logging.getLogger(__name__)


async def until_answered(call: Callable[[], Awaitable[T]]) -> T:
    """Repeats a command, which its id makes harmless, until there is an answer to it.

    Raises:
        ApiError: the answer, when it is none of `PASSING`.
    """
    backoff, tries = FIRST_BACKOFF_SECONDS, 0
    while True:
        try:
            return await call()
        except ApiError as error:
            if error.code not in PASSING:
                raise
            tries += 1
            if tries % 20 == 0:
                _log.warning("a command waits for its answer", extra={"tries": tries, "error": str(error)})
        await asyncio.sleep(backoff)
        backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)
