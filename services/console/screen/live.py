"""The view while it is shown: the scene is watched, drawn, and turned to the next replay when one ends."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Final, TypeVar

from rich.live import Live

from services.chassis.errors import ApiError
from services.console.demonstration import ensure, number_of, portfolio_id
from services.console.layout import Trouble
from services.console.processes.pids import together_bytes
from services.console.processes.probe import serving
from services.console.processes.supervision import Supervisor
from services.console.scenario import DEMONSTRATION
from services.console.screen import view
from services.console.screen.watch import Scene, watch
from services.console.settings import ConsoleSettings

if TYPE_CHECKING:
    from services.console.clients import Mesh

T = TypeVar("T")

REFRESHES_A_SECOND: Final = 4
HEALTH_SECONDS: Final = 1.0
# A replay that has ended is left on the screen for as long before the next begins.
ENDED_SECONDS: Final = 3.0
# The demonstration is there before the view begins, and is seen within some ms; whoever attaches may find a mesh that
# is not all there.
FIRST_LOOK_SECONDS: Final = 5.0


async def show(
    mesh: Mesh, settings: ConsoleSettings, supervisor: Supervisor, begin_time: int, attached: bool, *, plain: bool
) -> None:
    """Shows the demonstration, until it is cancelled or the mesh was stopped from elsewhere."""
    scene = Scene(begin_time, attached=attached)
    draw = lines(scene, settings.edge_address) if plain else _screen(scene, settings)
    # Not a task group: what ends first of all these ends the view, and only one of them ever does.
    tasks = [asyncio.ensure_future(each) for each in (draw, _follow(mesh, scene))]
    try:
        await _look_after(mesh, settings, supervisor, scene, tasks)
    finally:
        for each in tasks:
            each.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _follow(mesh: Mesh, scene: Scene) -> None:
    """Watches the demonstration, and the next when its tape has ended."""
    while True:
        replay = await _persistently(lambda: ensure(mesh))
        scene.begin(replay, DEMONSTRATION.cash)
        await watch(mesh, scene, replay.environment_id)
        # One that somebody stopped is not followed by another: that is not what was asked for.
        if scene.replay is not None and scene.replay.state == "STOPPED":
            await asyncio.Event().wait()
        await asyncio.sleep(ENDED_SECONDS)


async def _look_after(
    mesh: Mesh, settings: ConsoleSettings, supervisor: Supervisor, scene: Scene, tasks: Sequence[asyncio.Task[None]]
) -> None:
    """Keeps health, processes and memory up to date, until the mesh was stopped from elsewhere or a task fails."""
    while await asyncio.to_thread(lambda: supervisor.running):
        for each in tasks:
            if each.done():
                await each
        scene.health = await serving(mesh, settings)
        scene.processes = await asyncio.to_thread(supervisor.processes)
        own = [await asyncio.to_thread(lambda: supervisor.pid), *(each.pid for each in scene.processes)]
        scene.memory = await asyncio.to_thread(together_bytes, own)
        await asyncio.sleep(HEALTH_SECONDS)


async def _screen(scene: Scene, settings: ConsoleSettings) -> None:
    console = view.terminal()
    with Live(console=console, screen=True, auto_refresh=False) as live:
        while True:
            commands = view.commands(settings.edge_address, _traded(scene))
            live.update(view.frame(scene, commands, console.width, console.height), refresh=True)
            await asyncio.sleep(1 / REFRESHES_A_SECOND)


async def lines(scene: Scene, edge_address: str) -> None:
    """What to try, once; then a line a second, and one for each fill."""
    deadline = time.monotonic() + FIRST_LOOK_SECONDS
    while scene.replay is None and time.monotonic() < deadline:  # noqa: ASYNC110 a scene tells no event
        await asyncio.sleep(0.05)
    print("\n".join(view.introduction(edge_address, _traded(scene))))
    said, first = 0, False
    environment_id = ""
    while True:
        replay = scene.replay
        if replay is not None and replay.environment_id != environment_id:
            environment_id, said = replay.environment_id, -1
        if scene.portfolios:
            # What was filled before we looked is counted, and not told.
            said = scene.filled if said < 0 else said
            for fill in list(scene.fills)[len(scene.fills) - min(scene.filled - said, len(scene.fills)) :]:
                print(f"{_wall_time()}  fill  {view.market_time(fill.transact_time)}  {view.fill_line(scene, fill)}")
            said = scene.filled
            if scene.first_fill is not None and not first and not scene.attached:
                first = True
                print(f"{_wall_time()}  first fill {scene.first_fill:.1f} s after the start")
        print(f"{_wall_time()}  {view.status_line(scene)}", flush=True)
        await asyncio.sleep(1.0)


def _traded(scene: Scene) -> str:
    """The portfolio that commands to try name."""
    return portfolio_id(DEMONSTRATION.traders[0], number_of(scene.replay) if scene.replay else 1)


async def _persistently(call: Callable[[], Awaitable[T]]) -> T:
    while True:
        with suppress(ApiError, Trouble):
            return await call()
        await asyncio.sleep(HEALTH_SECONDS)


def _wall_time() -> str:
    return time.strftime("%H:%M:%S")
