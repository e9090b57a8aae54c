"""What the order service tells of orders that its door turned away, stored once each (rule 23)."""

import asyncio
import json
from decimal import Decimal
from typing import NamedTuple

from services.chassis.deadline import detach
from services.risk.gate.gate import EnvironmentGate
from services.risk.journal.journal import Journal
from services.risk.records import GUARD, Happening, RiskKind
from services.risk.store import Store


class Runaway(NamedTuple):
    """A portfolio's orders began to be turned away.

    Attributes:
        value: the number of the first one in its second.
        principal: who sent that.
        begin_time: when it came, wall time, ns; no other of the portfolio has the same.
    """

    portfolio_id: str
    bound: Decimal
    value: int
    principal: str
    begin_time: int


class Runaways:
    """Journals them. A report is repeated until it is answered, so one that is stored already is left as it is."""

    def __init__(self, store: Store, journal: Journal) -> None:
        self._store = store
        self._journal = journal
        self._telling = asyncio.Lock()

    async def tell(self, gate: EnvironmentGate, runaway: Runaway) -> None:
        """Store it, to its end even when the caller has gone: who repeats the report is to find it."""
        await asyncio.shield(detach(self._tell(gate, runaway), name="runaway"))

    async def _tell(self, gate: EnvironmentGate, runaway: Runaway) -> None:
        portfolio_id, bound, value, principal, begin_time = runaway
        async with self._telling:
            last = await self._store.newest(gate.environment_id, portfolio_id, RiskKind.RUNAWAY)
            if last is not None and json.loads(last.payload)["begin_time"] == begin_time:
                return
            payload = {"limit": GUARD, "bound": str(bound), "value": str(value), "begin_time": begin_time}
            at = (gate.position, gate.market_time)
            await self._journal.tell(gate, Happening(RiskKind.RUNAWAY, portfolio_id, payload, *at, principal))
