"""What an environment's owner asks of it: to run, to hold, to end, and how fast."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from services.marketdata.environment import ENDED, Control, Pace, Plan, State, Writes
from services.marketdata.replay.pacing import Pacer


class Helm:
    """One environment's.

    Args:
        changed: called when something else is asked for.

    Attributes:
        control: what is asked for.
    """

    def __init__(self, plan: Plan, control: Control, store: Writes, pacer: Pacer, changed: Callable[[], None]) -> None:
        self.control = control
        self._plan, self._store, self._pacer, self._changed = plan, store, pacer, changed
        self._standing = asyncio.Event()
        self._over = asyncio.Event()

    @property
    def wanted(self) -> bool:
        """Whether time is to go on, if only to its end."""
        return self.control.state is State.RUNNING or self.control.stopping

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.control.state in ENDED

    async def steer(self, state: State | None, *, stopping: bool, pace: Pace | None) -> None:
        """Changes what is asked for; returns once that is stored, and time stands where that was asked for."""
        control = self.control
        stopping = stopping or control.stopping
        wanted = Control(control.state if state is None or stopping else state, stopping, pace or control.pace)
        if wanted != control:
            self._pacer.change(wanted.pace)
            if wanted.state is not control.state:
                self._pacer.restart()
            self.control = wanted
            # Also for a caller who is gone by then.
            await self._store.put(self._plan, [wanted], self._changed)
        self._changed()
        if (stopping or state is State.PAUSED) and not self._over.is_set():
            self._standing.clear()
            while not self._standing.is_set():
                await self._standing.wait()
        elif state is not None:
            # Whoever still waits for it to stand waits for nothing now.
            self._standing.set()

    def stand(self) -> None:
        """Time stands."""
        self._standing.set()

    def move(self) -> None:
        """Time moves again, if only to the end of a cycle: who has not been answered yet waits for that."""
        self._standing.clear()

    def end(self) -> None:
        """Everybody who waits for it learns that it is over."""
        self._over.set()
        self._standing.set()

    async def over(self) -> None:
        """Returns when it is over."""
        await self._over.wait()
