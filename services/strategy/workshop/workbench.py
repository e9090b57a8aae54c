"""Where users' code runs: a thread beside the event loop, so that code which does not return holds up nobody else."""

from __future__ import annotations

import asyncio
import ctypes
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import TypeVar

T = TypeVar("T")


class Abandoned(BaseException):
    """Raised in the middle of code whose result nobody waits for any more."""


class Workbench:
    """One thread, which lives as long as the strategy it works for: what code keeps by thread stays with it.

    It never keeps the process from ending. Code that does not give the interpreter back (a regular expression that
    explodes, an extension that holds the lock) still holds everybody up.
    """

    def __init__(self, name: str) -> None:
        """Takes the thread's name; it starts with the first work."""
        self._jobs: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._serve, name=name, daemon=True)
        self._abandoned = False

    async def run(self, work: Callable[[], T]) -> T:
        """Does the work and raises what it raises. Who is cancelled meanwhile abandons the bench for good."""
        if self._thread.ident is None:
            self._thread.start()
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()

        def settle(settling: Callable[[], None]) -> None:
            # The loop may be closed by now: then nobody waits.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(lambda: None if done.done() else settling())

        def job() -> None:
            try:
                result = work()
            except Abandoned:
                raise
            except Exception as error:  # noqa: BLE001 it is raised where it is waited for
                failure = RuntimeError(repr(error)) if isinstance(error, StopIteration) else error
                settle(lambda: done.set_exception(failure))
            except BaseException as error:  # noqa: BLE001 of somebody else's making: it ends no process
                text = repr(error)
                settle(lambda: done.set_exception(RuntimeError(text)))
            else:
                settle(lambda: done.set_result(result))

        self._jobs.put(job)
        try:
            return await done
        except asyncio.CancelledError:
            self._abandon()
            raise

    def close(self) -> None:
        """Ends the thread after the work under way."""
        self._jobs.put(None)

    def _serve(self) -> None:
        with suppress(Abandoned):
            while (job := self._jobs.get()) is not None:
                job()
                del job

    def _abandon(self) -> None:
        """Ends the thread in the middle of its work; at the next line of Python, so not while it sleeps."""
        if not self._abandoned:
            self._abandoned = True
            self.close()
            ctypes.pythonapi.PyThreadState_SetAsyncExc(
                ctypes.c_ulong(self._thread.ident or 0), ctypes.py_object(Abandoned)
            )
