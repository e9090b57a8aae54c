"""How load is made: by the Go program in `load/`, or in Python where there is no Go or where it is REST."""

from __future__ import annotations

import asyncio
import json
import shutil
import time
from pathlib import Path
from typing import Final, NamedTuple

from tests.performance.rig import Mesh
from tests.performance.senders import keep_in_flight

ROOT: Final = Path(__file__).parents[2]
WARM_UP_SECONDS: Final = 1.0


class Case(NamedTuple):
    """What one run measured: latencies in ms, and us of CPU that an order took of each process."""

    way: str
    in_flight: int
    rate: float
    p50: float
    p99: float
    cpu: dict[str, float]

    def line(self) -> str:
        """A row of the table."""
        used = "  ".join(f"{name} {each:.0f}" for name, each in self.cpu.items())
        return f"{self.way:<8} {self.in_flight:>4} {self.rate:>10,.0f} {self.p50:>8.2f} {self.p99:>8.2f}   {used}"


HEADER: Final = f"{'way':<8} {'open':>4} {'a second':>10} {'p50 ms':>8} {'p99 ms':>8}   us of CPU each, by process"


class Generator:
    """Keeps so many orders in flight, and measures."""

    def __init__(self, folder: Path) -> None:
        """Takes where the program is built."""
        self._program = folder / "load"
        self.name = "Python"

    async def build(self) -> None:
        """Builds the program, where that can be done."""
        if shutil.which("go") is None:
            return
        source = Path(__file__).parent / "load"
        building = await asyncio.create_subprocess_exec("go", "build", "-o", str(self._program), ".", cwd=source)
        if await building.wait() == 0:
            self.name = "Go"

    async def run(self, mesh: Mesh, way: str, in_flight: int, seconds: float) -> Case:
        """One measurement, after a second to warm up."""
        if way == "rest" or self.name != "Go":
            working = asyncio.ensure_future(self._python(mesh, way, in_flight, seconds))
        else:
            working = asyncio.ensure_future(self._go(mesh, way, in_flight, seconds))
        await asyncio.wait({working}, timeout=WARM_UP_SECONDS)
        before, since = mesh.used(), time.perf_counter()
        await asyncio.wait({working}, timeout=seconds)
        after, took = mesh.used(), time.perf_counter() - since
        rate, p50, p99 = await working
        cpu = {name: (after[name] - before[name]) / took / rate * 1e6 for name in after}
        return Case(way, in_flight, rate, p50, p99, cpu)

    async def _go(self, mesh: Mesh, way: str, in_flight: int, seconds: float) -> tuple[float, float, float]:
        arguments = {
            "address": f"127.0.0.1:{mesh.ports['order']}",
            "descriptors": ROOT / "gen" / "tickmesh.binpb",
            "way": way,
            "in-flight": in_flight,
            "seconds": seconds,
            "warm-up": WARM_UP_SECONDS,
        }
        listed = [f"-{name}={value}" for name, value in arguments.items()]
        load = await asyncio.create_subprocess_exec(self._program, *listed, stdout=asyncio.subprocess.PIPE)
        told, _ = await load.communicate()
        if load.returncode:
            raise RuntimeError(f"the load generator ended with {load.returncode}")
        found = json.loads(told)
        return found["rate"], found["p50_us"] / 1e3, found["p99_us"] / 1e3

    async def _python(self, mesh: Mesh, way: str, in_flight: int, seconds: float) -> tuple[float, float, float]:
        latencies = sorted(await keep_in_flight(mesh, way, in_flight, seconds, WARM_UP_SECONDS))
        p50, p99 = (latencies[int(len(latencies) * share)] * 1e3 for share in (0.5, 0.99))
        return len(latencies) / seconds, p50, p99
