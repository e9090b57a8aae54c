"""The runaway guard: how many orders from outside a portfolio may send in a second of wall time (rule 23).

What depends on wall time is no part of what a replay decides, so it is not the gate that refuses: an order that comes
too soon is turned away before risk is asked about it, and nothing of it is kept. New terms of an open order count as
one.
"""

from __future__ import annotations

import math
import time
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from decimal import Decimal
from typing import NamedTuple

from services.chassis.errors import ApiError
from services.domain.money import format_decimal
from services.order.gate.mapping import Guard

SECOND = 1.0
# Who is turned away again within this time is running away still: a burst every few seconds is told of once.
CALM_SECONDS = 10.0


class Runaway(NamedTuple):
    """A portfolio's orders began to be turned away.

    Attributes:
        value: the number of the first one in its second.
        begin_time: when it was turned away, wall time, ns.
        principal: who sent that.
    """

    portfolio_id: str
    bound: Decimal
    value: int
    begin_time: int
    principal: str


class Door:
    """Counts the orders that were let in; where no guard is set, none."""

    def __init__(self, tell: Callable[[Runaway], Awaitable[None]]) -> None:
        """Open to everybody; `tell` is told when a portfolio begins to be turned away, before anybody else is."""
        self._tell = tell
        self._bounds: dict[str, Decimal] = {}
        self._let_in: defaultdict[str, deque[float]] = defaultdict(deque)
        self._turned_away: dict[str, float] = {}

    def guard(self, guards: Sequence[Guard], whole: bool) -> None:
        """Take guards as they are now; `whole`, these are all."""
        if whole:
            self._bounds.clear()
        for portfolio_id, bound in guards:
            self._bounds.pop(portfolio_id, None)
            if bound is not None:
                self._bounds[portfolio_id] = bound
        if not self._bounds:
            self._let_in.clear()
            self._turned_away.clear()

    async def objection(self, portfolio_id: str, arrived: float, principal: str) -> ApiError | None:
        """Why an order of `principal` that arrived then, monotonic seconds, is not let in; one that is counts."""
        if not self._bounds:
            return None
        whose = portfolio_id if portfolio_id in self._bounds else ""
        bound = self._bounds.get(whose)
        if bound is None:
            return None
        let_in = self._let_in[portfolio_id]
        while let_in and let_in[0] <= arrived - SECOND:
            let_in.popleft()
        if len(let_in) + 1 > bound:
            wait = max(0.001, let_in[0] + SECOND - arrived) if let_in else SECOND
            if self._turned_away.get(portfolio_id, -math.inf) <= arrived - CALM_SECONDS:
                await self._tell(Runaway(portfolio_id, bound, len(let_in) + 1, time.time_ns(), principal))
            self._turned_away[portfolio_id] = arrived
            return _runaway(portfolio_id, whose, bound, len(let_in) + 1, wait)
        let_in.append(arrived)
        return None


def _runaway(portfolio_id: str, whose: str, bound: Decimal, value: int, wait: float) -> ApiError:
    """The refusal by the guard that is set for the portfolio `whose`, or where that is empty for the environment."""
    shown = format_decimal(bound)
    hit = f"bound {shown}, value {value}: the orders of {portfolio_id} in a second"
    message = f"The order was refused by runaway_guard: {hit}."
    metadata = {"limit": "runaway_guard", "bound": shown, "value": str(value)}
    if whose:
        metadata["portfolio_id"] = whose
    subject = f"portfolio:{portfolio_id}"
    return ApiError.resource_exhausted("RUNAWAY_GUARD", message, subject=subject, retry_delay=wait, metadata=metadata)
