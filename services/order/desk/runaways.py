"""How risk is told of portfolios whose orders are turned away at the door."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc import StatusCode

from services.chassis.errors import ApiError
from services.order.desk.gate_mapping import Runaway, runaway_to_proto

FIRST_BACKOFF_SECONDS: Final = 0.1
LAST_BACKOFF_SECONDS: Final = 5.0
_AWAY: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED})

_log = logging.getLogger(__name__)


class Runaways:
    """Tells of each until risk has stored it; no order waits for that. While risk is away, a portfolio waits once."""

    def __init__(self, report: Callable[[Any], Awaitable[Any]]) -> None:
        """Takes what tells risk, `stub.ReportRunaway`."""
        self._report = report
        self._waiting: dict[tuple[str, str], Runaway] = {}
        self._wake = asyncio.Event()

    def tell(self, environment_id: str, runaway: Runaway) -> None:
        """Have risk told."""
        self._waiting.setdefault((environment_id, runaway.portfolio_id), runaway)
        self._wake.set()

    async def run(self) -> None:
        """Tells; until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                whose, runaway = next(iter(self._waiting.items()))
                await self._tell(whose[0], runaway)
                del self._waiting[whose]

    async def _tell(self, environment_id: str, runaway: Runaway) -> None:
        request, backoff = runaway_to_proto(environment_id, runaway), FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._report(request)
            except ApiError as error:
                if error.code not in _AWAY:
                    extra = {"environment_id": environment_id, "portfolio_id": runaway.portfolio_id}
                    _log.warning("risk would not hear of a runaway", extra=extra | {"error": str(error)})
                    return
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)
            else:
                return
