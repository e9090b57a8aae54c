"""Waiting for news, though never longer than a stream may be silent."""

from __future__ import annotations

import asyncio


class News:
    """What one stream waits for.

    One timer serves all its waits: set and canceled anew for each, timers took a third of the time of a stream that is
    sent one event at a time.
    """

    def __init__(self, silence: float) -> None:
        """Takes the longest silence, seconds; until the stream speaks for the first time it is overdue."""
        self._loop = asyncio.get_running_loop()
        self._silence = silence
        self._spoke = float("-inf")
        self._told = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def overdue(self) -> bool:
        """Whether the stream was silent for too long."""
        return self._loop.time() >= self._spoke + self._silence

    def speak(self) -> None:
        """The stream says something now."""
        self._spoke = self._loop.time()

    def tell(self) -> None:
        """There are news."""
        self._told = True
        self._wake()

    def clear(self) -> None:
        """Whoever waits looks now: what was told before is no news."""
        self._told = False

    async def wait(self) -> bool:
        """Returns once there are news, which may have come since `clear`, or the silence is too long; which it was."""
        if not self._told and not self.overdue:
            self._waiter = self._loop.create_future()
            if self._timer is None:
                self._set_timer()
            try:
                await self._waiter
            finally:
                self._waiter = None
        return self._told

    def close(self) -> None:
        """Nobody waits any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self) -> None:
        self._timer = self._loop.call_at(self._spoke + self._silence, self._ring)

    def _ring(self) -> None:
        self._timer = None
        if self.overdue:
            self._wake()
        else:
            self._set_timer()
