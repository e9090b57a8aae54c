"""Cycles a second of a replay with one strategy, through the five processes.

SMA crossover on IBM's packaged daily bars, told to wait for each bar: a cycle a bar, some with an order in it.
`python tests/performance/bench_cycle.py [--json PATH]` prints the median of the windows, and what a cycle costs each
process in CPU.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

from tickmesh.marketdata.v1 import environment_pb2

from services.console.scenario import Scenario, Trader
from tests.e2e.conftest import prepare, running
from tests.e2e.mesh import NAMES, Mesh
from tests.e2e.trading import ENDED, Replayed
from tests.nursery import Nursery
from tests.performance.machine import state

WINDOW_SECONDS = 1.0
TRADER = Trader("Bench", "bench", "bench", "sma_cross", {"fast": "10", "slow": "30", "capital": "50000"})
SCENARIO = Scenario(data_set_id="us-daily", traders=(TRADER,), symbols=("IBM",), warm_up_sessions=40)


async def measure(mesh: Mesh) -> tuple[list[float], dict[str, float], environment_pb2.Environment]:
    """Runs the replay: cycles a second of each full window, ms of CPU a cycle of each process, and how it ended."""
    async with mesh.clients() as clients:
        replay = Replayed(clients, SCENARIO, "bench")
        await replay.make()
        await asyncio.sleep(1.0)
        before, begin = _cpu_seconds(mesh), await replay.environment()
        await replay.start()
        rates: list[float] = []
        since, seen = time.monotonic(), begin
        while seen.state not in ENDED:
            await asyncio.sleep(WINDOW_SECONDS)
            last, seen, now = seen, await replay.environment(), time.monotonic()
            rates.append((seen.cycle - last.cycle) / (now - since))
            since = now
        cycles = seen.cycle - begin.cycle
        after = _cpu_seconds(mesh)
    # The first window has the start in it and the last the end.
    return rates[1:-1] or rates, {name: 1000 * (after[name] - before[name]) / cycles for name in NAMES}, seen


def _cpu_seconds(mesh: Mesh) -> dict[str, float]:
    """User and system time of each process so far."""
    ticks = os.sysconf("SC_CLK_TCK")
    found = {}
    for name in NAMES:
        fields = Path(f"/proc/{mesh.pid(name)}/stat").read_text().rpartition(")")[2].split()
        found[name] = (int(fields[11]) + int(fields[12])) / ticks
    return found


async def bench(folder: Path) -> dict[str, Any]:
    """Measures once, prints and returns it."""
    print(state().line())
    nursery, prepared = Nursery(), folder / "prepared"
    prepared.mkdir()
    try:
        await prepare(prepared)
        async with running(folder / "mesh", prepared, nursery, strategy_scanning="false") as mesh:
            rates, costs, ended = await measure(mesh)
    finally:
        nursery.close()
    how = environment_pb2.EnvironmentState.Name(ended.state).removeprefix("ENVIRONMENT_STATE_")
    windows = " ".join(f"{rate:.0f}" for rate in rates)
    print(f"{ended.cycle:,} cycles, {how}; windows of {WINDOW_SECONDS:.0f} s: {windows}")
    print("CPU a cycle: " + ", ".join(f"{name} {cost:.2f} ms" for name, cost in costs.items()), end="")
    print(f"; together {sum(costs.values()):.2f} ms")
    print(state().line())
    print(f"{statistics.median(rates):.0f} cycles/s (median of the windows)")
    return {"cycles": ended.cycle, "cycles_a_second": statistics.median(rates), "cpu_ms": costs}


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = arguments.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        figures = asyncio.run(bench(Path(directory)))
    if chosen.json:
        chosen.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
