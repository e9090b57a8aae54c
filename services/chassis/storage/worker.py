"""A thread that works for the event loop."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from queue import SimpleQueue
from threading import Thread
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """One thread, one piece of work after the other, in the order they were given.

    An executor does the same for a quarter more switches of threads: it makes two futures of each piece, and a lock.
    """

    def __init__(self, name: str) -> None:
        """Starts no thread before there is work."""
        self._name = name
        self._thread: Thread | None = None
        self._work: SimpleQueue[tuple[Callable[[], Any], asyncio.Future[Any]] | None] = SimpleQueue()

    def run(self, work: Callable[[], T]) -> asyncio.Future[T]:
        """Has it done; what it returns or raises is the future's. Once given it is done, whoever stops waiting."""
        if self._thread is None:
            # It must not keep a process that fails from ending.
            self._thread = Thread(target=self._do, name=self._name, daemon=True)
            self._thread.start()
        done: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._work.put((work, done))
        return done

    def close(self) -> None:
        """Returns once all is done that was given."""
        if self._thread is not None:
            self._work.put(None)
            self._thread.join()
            self._thread = None

    def _do(self) -> None:
        while (given := self._work.get()) is not None:
            work, done = given
            try:
                found, error = work(), None
            except BaseException as raised:  # noqa: BLE001 whatever it is, it is told to who waits
                found, error = None, raised
            # A loop that has ended has nobody who waits.
            with contextlib.suppress(RuntimeError):
                done.get_loop().call_soon_threadsafe(_settle, done, found, error)
            del given, work, done, found, error


def _settle(done: asyncio.Future[Any], found: Any, error: BaseException | None) -> None:
    if done.done():
        return
    if error is None:
        done.set_result(found)
    else:
        done.set_exception(error)
