"""How the mesh stands, as a table."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from services.chassis.settings import load
from services.console.layout import PROGRAMS, Layout
from services.console.processes.pids import memory_bytes, together_bytes
from services.console.processes.supervision import Supervisor
from services.console.settings import ConsoleSettings

if TYPE_CHECKING:
    from services.console.records import Replay

NOT_SERVING = 1
NOT_RUNNING = 3


def status() -> int:
    """Prints it; 0 only when everything serves, 3 when nothing runs."""
    settings = load(ConsoleSettings)
    layout = Layout(settings.data_directory.absolute())
    supervisor = Supervisor(layout)
    if not supervisor.running:
        left = [name for name, _ in supervisor.leftovers()]
        more = f" Without a supervisor: {', '.join(left)}; `tickmesh down` stops them." if left else ""
        print(f"Nothing runs in {layout.directory}.{more}")
        return NOT_RUNNING
    health, replays = asyncio.run(_ask(settings))
    _print_processes(supervisor, health)
    _print_replays(replays)
    return 0 if all(health.get(name) for name in PROGRAMS) else NOT_SERVING


async def _ask(settings: ConsoleSettings) -> tuple[dict[str, bool], list[Replay]]:
    from services.chassis.errors import ApiError
    from services.console.clients import Mesh
    from services.console.processes.probe import serving

    async with Mesh(settings) as mesh:
        health = await serving(mesh, settings)
        replays: list[Replay] = []
        if health["marketdata"]:
            with suppress(ApiError):
                replays = await mesh.replays()
    return health, replays


def _print_processes(supervisor: Supervisor, health: dict[str, bool]) -> None:
    from rich.table import Table
    from rich.text import Text

    from services.console.screen.view import terminal

    processes, own = supervisor.processes(), supervisor.pid
    sizes = memory_bytes([own, *(each.pid for each in processes)])
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name, right in (("Process", 0), ("PID", 1), ("Uptime", 1), ("Restarts", 1), ("Memory", 1), ("State", 0)):
        table.add_column(name, justify="right" if right else "left")
    for each in processes:
        serves = health.get(each.name, False)
        state = Text("serving", "green") if serves else Text(f"not serving ({each.state.lower()})", "red")
        numbers = (str(each.pid or "–"), _duration(each.uptime), str(each.restarts), _size(sizes.get(each.pid)))
        table.add_row(each.name, *numbers, state)
    table.add_row("supervisor", str(own), "", "", _size(sizes.get(own)), "")
    total = _size(together_bytes(list(sizes)))
    note = f"shared pages once; {_size(sum(sizes.values()))} added up"
    table.add_row(Text("together", "bold"), "", "", "", Text(total, "bold"), Text(note, "dim"))
    terminal().print(table)


def _print_replays(replays: list[Replay]) -> None:
    from rich.table import Table

    from services.console.screen.view import market_time, terminal

    if not replays:
        return
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for name in ("Replay", "State", "Market time (UTC)", "Record", "Cycle"):
        table.add_column(name, justify="right" if name in {"Record", "Cycle"} else "left")
    for each in replays[:10]:
        state = each.state + (f" on {', '.join(each.blocked_on)}" if each.blocked_on else "")
        record = f"{each.tape_sequence:,} of {each.end_sequence:,}"
        table.add_row(each.environment_id, state, market_time(each.market_time), record, f"{each.cycle:,}")
    console = terminal()
    console.print()
    console.print(table)


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def _size(size: int | None) -> str:
    return "–" if size is None else f"{size / 1e6:.0f} MB"
