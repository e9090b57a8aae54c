"""How risk is told of portfolios whose orders are turned away at the door."""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable
from typing import Any, Final

from grpc import StatusCode

from services.chassis.errors import ApiError
from services.order.gate.door import Runaway
from services.order.gate.mapping import runaway_to_proto
from services.order.records import EnvironmentRow, RunawayRow
from services.order.store import Store

FIRST_BACKOFF_SECONDS: Final = 0.1
LAST_BACKOFF_SECONDS: Final = 5.0
_AWAY: Final = frozenset({StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED, StatusCode.CANCELLED})

_log = logging.getLogger(__name__)


class Runaways:
    """Tells of each until risk has stored it; no order waits for that. While risk is away, a portfolio waits once.

    Each is durable before its first order is answered, and told again at the next start: risk knows it by its time.
    """

    def __init__(self, store: Store, report: Callable[[Any], Awaitable[Any]]) -> None:
        """Takes what tells risk, `stub.ReportRunaway`."""
        self._store = store
        self._report = report
        self._waiting: dict[tuple[str, str], RunawayRow] = {}
        self._wake = asyncio.Event()

    async def recover(self) -> None:
        """Takes up what was not told."""
        for row in await self._store.runaways():
            self._wait(row)

    async def tell(self, environment: EnvironmentRow, runaway: Runaway) -> None:
        """Have risk told; returns once that cannot be lost."""
        row = RunawayRow(environment.environment_id, *runaway, owner=environment.owner)
        if (row.environment_id, row.portfolio_id) not in self._waiting:
            await self._store.put_runaway(row)
            self._wait(row)

    def _wait(self, row: RunawayRow) -> None:
        self._waiting[row.environment_id, row.portfolio_id] = row
        self._wake.set()

    async def run(self) -> None:
        """Tells; until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._waiting:
                whose, runaway = next(iter(self._waiting.items()))
                await self._tell(runaway)
                await self._store.drop_runaway(runaway)
                del self._waiting[whose]

    async def _tell(self, runaway: RunawayRow) -> None:
        request, backoff = runaway_to_proto(runaway), FIRST_BACKOFF_SECONDS
        while True:
            try:
                await self._report(request)
            except ApiError as error:
                if error.code not in _AWAY:
                    extra = {"environment_id": runaway.environment_id, "portfolio_id": runaway.portfolio_id}
                    _log.warning("risk would not hear of a runaway", extra=extra | {"error": str(error)})
                    return
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)
            else:
                return
