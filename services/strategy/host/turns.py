"""What one request to decide has come to: who has decided, what each waits for, and what is being stored of it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from services.domain.timeline import Wake

EARLY_SECONDS: Final = 1.0
"""Deployments that are asked together are answered for together, in one message. When one takes longer than this, those
before it are answered for at once: then the coordinator knows whom it waits for."""


class Turn:
    """The answers of deployments that decide one after another; entered for as long as they do.

    Args:
        tell: answers for some of them, in the background.
    """

    def __init__(self, tell: Callable[[Mapping[str, Wake], Sequence[Awaitable[None]]], None]) -> None:
        self._tell = tell
        self._wakes: dict[str, Wake] = {}
        self._storing: list[asyncio.Future[None]] = []
        self._told = 0
        self._timer: asyncio.TimerHandle | None = None

    def __enter__(self) -> Turn:
        self._wait()
        return self

    def __exit__(self, *error: object) -> None:
        if self._timer is not None:
            self._timer.cancel()

    def take(self, deployment_id: str, wake: Wake, stored: asyncio.Future[None] | None = None) -> None:
        """A deployment has decided; `stored` is done once that is durable, None where nothing is to be stored."""
        self._wakes[deployment_id] = wake
        if stored is not None:
            self._storing.append(stored)

    async def answer(self) -> Mapping[str, Wake]:
        """What each waits for now, once all of it is stored."""
        for stored in self._storing:
            await stored
        return self._wakes

    def _wait(self) -> None:
        self._timer = asyncio.get_running_loop().call_later(EARLY_SECONDS, self._early)

    def _early(self) -> None:
        if len(self._wakes) > self._told:
            self._told = len(self._wakes)
            self._tell(dict(self._wakes), list(self._storing))
        self._wait()
