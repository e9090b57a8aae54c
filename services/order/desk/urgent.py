"""What never waits for risk: kill switches, sessions that are over, timers, and cancels."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.order.commands.cancel_timers import CancelTimers
from services.order.commands.canceling import Cancel, Canceling, Sweep
from services.order.gate.mapping import Kill


class Urgent:
    """Takes it for one desk, whose task then serves it first; `wake` is called when there is some."""

    def __init__(self, canceling: Canceling, timers: CancelTimers, wake: Callable[[], None]) -> None:
        self._canceling = canceling
        self._timers = timers
        self._wake = wake
        self._kills: list[Kill] = []
        self._cancels: list[Cancel] = []
        self._sweeps: list[Sweep] = []
        self._left: set[str] = set()

    @property
    def waits(self) -> bool:
        """Whether there is any."""
        return bool(self._kills or self._left or self._cancels or self._sweeps) or self._timers.urgent

    async def cancel(self, order_id: str, principal: str) -> bytes:
        """Cancels an order; returns it as it then is, encoded.

        Raises:
            ApiError: NOT_FOUND `ORDER_NOT_FOUND`, FAILED_PRECONDITION `ORDER_ENDED`.
        """
        cancel = Cancel(order_id, principal, asyncio.get_running_loop().create_future())
        self._cancels.append(cancel)
        self._wake()
        return await cancel.answer

    def sweep(self, sweep: Sweep) -> None:
        """Cancels all open orders that fit; its `answer` tells which."""
        self._sweeps.append(sweep)
        self._wake()

    def kill(self, kill: Kill) -> None:
        """A kill switch was engaged: open orders in its scope are canceled."""
        if kill.engaged and kill not in self._kills:
            self._kills.append(kill)
            self._wake()

    def disconnect(self, session_id: str) -> None:
        """A session is over that asked for its open orders to be canceled then."""
        self._left.add(session_id)
        self._wake()

    async def serve(self) -> None:
        """Serves kill switches, sessions that are over, timers, and cancels, those of single orders first."""
        kills, self._kills = self._kills, []
        for kill in kills:
            await self._canceling.kill(kill)
        if self._left:
            left, self._left = self._left, set()
            await self._canceling.disconnect(left)
        if self._timers.urgent:
            await self._timers.serve()
        cancels, self._cancels = self._cancels, []
        if cancels:
            await self._canceling.cancel(cancels)
        sweeps, self._sweeps = self._sweeps, []
        for sweep in sweeps:
            await self._canceling.sweep(sweep)
