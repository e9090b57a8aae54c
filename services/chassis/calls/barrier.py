"""The participant's side of a replay's cycle, generic: one stream to the coordinator, open for as long as we live.

It knows no message: the service says how to open the stream, what to announce, and how to answer. A coordinator that
restarts finds us again; one that repeats a message after a break gets the answer from the same handler again.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import random
from collections.abc import Awaitable, Callable, Hashable, Sequence
from typing import Any, Final, Generic, TypeVar

import grpc

from services.chassis import deadline
from services.chassis.errors import ApiError

In = TypeVar("In")
Out = TypeVar("Out")

FIRST_BACKOFF_SECONDS: Final = 0.05
# A coordinator restarted by its supervisor is back within 2 s; waiting longer would be most of the pause.
LAST_BACKOFF_SECONDS: Final = 1.0

_log = logging.getLogger(__name__)


class Participant(Generic[In, Out]):
    """Keeps one bidi stream open and answers what comes; messages of one key one after another, in order."""

    def __init__(
        self,
        open_stream: Callable[[], Any],
        hello: Callable[[], Sequence[Out] | Awaitable[Sequence[Out]]],
        handle: Callable[[In], Awaitable[Out | None]],
        key: Callable[[In], Hashable] = lambda _message: None,
        *,
        name: str = "participant",
    ) -> None:
        """Describes the participant; `run` starts it.

        Args:
            open_stream: opens the call, as `stub.JoinReplay` does.
            hello: what to announce at every connect: who we are, and where we stand in each environment.
            handle: answers a message, or returns None where none is due. It must give a repeated message the same
                answer. An exception breaks the stream, which is then opened anew.
            key: the part of a message (environment id) within which order matters; others go in parallel.
            name: for logs.
        """
        self._open = open_stream
        self._hello = hello
        self._handle = handle
        self._key = key
        self._name = name
        self._call: Any = None
        self._writing = asyncio.Lock()
        self._tails: dict[Hashable, asyncio.Task[None]] = {}
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Whether the stream is open and we have announced ourselves on it."""
        return self._connected.is_set()

    async def wait_connected(self) -> None:
        """Returns once connected."""
        await self._connected.wait()

    async def send(self, message: Out) -> bool:
        """Sends something nobody asked for; False when there is no stream now: `hello` then tells it at the next."""
        if not self.connected:
            return False
        return await self._send(self._call, message)

    async def run(self) -> None:
        """Connects, announces, answers, reconnects; until cancelled. Start it with `server.spawn`."""
        backoff = FIRST_BACKOFF_SECONDS
        try:
            while True:
                try:
                    if await self._converse():
                        backoff = FIRST_BACKOFF_SECONDS
                except ApiError as error:
                    _log.info("lost the coordinator", extra={"participant": self._name, "error": str(error)})
                except grpc.aio.AioRpcError as error:
                    _log.info("lost the coordinator", extra={"participant": self._name, "error": error.details()})
                # A spread of a half, so that participants of a restarted coordinator do not come all at once.
                await asyncio.sleep(backoff * random.uniform(0.5, 1.0))
                backoff = min(2 * backoff, LAST_BACKOFF_SECONDS)
        finally:
            self._connected.clear()
            for task in self._tails.values():
                task.cancel()

    async def _converse(self) -> bool:
        """One life of the stream. Returns whether the coordinator said anything."""
        call = self._open()
        heard = False
        try:
            hello = self._hello()
            for message in await hello if inspect.isawaitable(hello) else hello:
                await call.write(message)
            self._call = call
            self._connected.set()
            _log.info("joined the coordinator", extra={"participant": self._name})
            while (message := await call.read()) is not grpc.aio.EOF:
                heard = True
                self._queue(call, message)
        except asyncio.CancelledError:
            # A call that a failed handler cancelled says so in its reader too; only our own end goes further.
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
        finally:
            self._connected.clear()
            self._call = None
            call.cancel()
        return heard

    def _queue(self, call: Any, message: In) -> None:
        key = self._key(message)
        task = deadline.detach(self._answer(call, message, self._tails.get(key)), name=f"{self._name}:{key}")
        self._tails[key] = task
        task.add_done_callback(lambda done: self._tails.pop(key) if self._tails.get(key) is done else None)

    async def _answer(self, call: Any, message: In, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            # What went wrong there was dealt with there.
            await asyncio.wait([before])
        if call is not self._call:
            return
        try:
            answer = await self._handle(message)
        except Exception:  # noqa: BLE001 a coordinator that repeats is the way out of any
            _log.exception("a message of the coordinator could not be handled", extra={"participant": self._name})
            call.cancel()
            return
        if answer is not None:
            await self._send(call, answer)

    async def _send(self, call: Any, message: Out) -> bool:
        async with self._writing:
            if call is not self._call:
                return False
            try:
                await call.write(message)
            except (ApiError, grpc.aio.AioRpcError, asyncio.InvalidStateError):
                # The reader sees the same end and reconnects.
                return False
            return True
