"""Waiting for news, though never longer than a stream may be silent."""

from __future__ import annotations

import asyncio


class News:
    """What one stream waits for.

    One timer serves all its waits: set and canceled anew for each, timers took a third of the time of a stream that is
    sent one event at a time.
    """

    def __init__(self, silence: float, delay: float = 0.0) -> None:
        """Takes the longest silence; until the stream speaks for the first time it is overdue.

        Args:
            silence: seconds.
            delay: how long news may be kept to be told together, seconds.
        """
        self._loop = asyncio.get_running_loop()
        self._silence = silence
        self._delay = delay
        self._spoke = float("-inf")
        self._told = False
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._kept_since: float | None = None
        self._keeping: asyncio.TimerHandle | None = None

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

    def keep(self) -> None:
        """There are news, to be told once the first of those that are kept is as old as it may be."""
        if not self._delay:
            self.tell()
        elif self._kept_since is None:
            self._kept_since = self._loop.time()
            if self._keeping is None:
                self._keeping = self._loop.call_at(self._kept_since + self._delay, self._end_keeping)

    def flush(self) -> None:
        """News that are kept are told."""
        if self._kept_since is not None:
            self.tell()

    def clear(self) -> None:
        """Whoever waits looks now: what was told before is no news."""
        self._told = False
        self._kept_since = None

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
        for timer in (self._timer, self._keeping):
            if timer is not None:
                timer.cancel()
        self._timer = self._keeping = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _set_timer(self) -> None:
        self._timer = self._loop.call_at(self._spoke + self._silence, self._ring)

    def _end_keeping(self) -> None:
        # Those it was set for may have been looked at meanwhile, and others have come.
        self._keeping, since = None, self._kept_since
        if since is not None and since + self._delay > self._loop.time():
            self._keeping = self._loop.call_at(since + self._delay, self._end_keeping)
        else:
            self.flush()

    def _ring(self) -> None:
        self._timer = None
        if self.overdue:
            self._wake()
        else:
            self._set_timer()
