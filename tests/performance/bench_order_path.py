"""Orders a second, and how long one takes from being sent to its durable acknowledgement through risk.

    python tests/performance/bench_order_path.py [--seconds N] [--directory PATH] [--database sqlite|postgresql]
        [--rest] [--ways bare,enter,create] [--in-flight 1,16,64] [--json PATH]

The real services in processes of their own, a tenth of the traces exported, and Envoy before them for REST. The load is
made by a Go program (`load/`) where there is Go, else by this process, so all of it shares the machine. The environment
is PAUSED, so orders rest and nothing else happens. Beside the figures stands what bounds them: how long this disk takes
to make 4 KiB durable, what calls that do nothing come to (`bare`: health checks of the order service), and what the
machine did meanwhile.
"""

import argparse
import asyncio
import json
import tempfile
from pathlib import Path

from tests.performance.generator import HEADER, Case, Generator
from tests.performance.machine import state
from tests.performance.rig import Mesh, databases, prepare, synced_writes, traces


async def measure(mesh: Mesh, folder: Path, chosen: argparse.Namespace) -> tuple[list[Case], dict[str, float]]:
    """Prints and returns the cases, with what the machine was doing before and after, and the disk's own ms."""
    load = Generator(folder)
    await load.build()
    await asyncio.wait_for(prepare(mesh), 120)
    disk = probed(folder)
    print(state().line())
    print(f"load         by {load.name}, on {chosen.database}, a tenth of the traces exported")
    print(HEADER)
    cases = []
    for way in chosen.ways:
        for in_flight in chosen.in_flight:
            cases.append(await load.run(mesh, way, in_flight, chosen.seconds))
            print(cases[-1].line(), flush=True)
    # What is over the disk's own time is judged by the quicker of both.
    disk = min(disk, probed(folder), key=lambda each: each["p50"])
    print(state().line())
    return cases, disk


def probed(folder: Path) -> dict[str, float]:
    """What the disk takes at the moment, ms; prints it."""
    synced = synced_writes(folder)
    p50, p99 = (synced[int(len(synced) * share)] * 1e3 for share in (0.5, 0.99))
    print(f"disk         {p50:.2f} ms p50, {p99:.2f} ms p99 to make 4 KiB durable in {folder}")
    return {"p50": p50, "p99": p99}


def arguments() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--seconds", type=float, default=5.0, help="of each case")
    parser.add_argument("--directory", type=Path, help="whose disk the services write to")
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--rest", action="store_true", help="with Envoy, and REST through it")
    parser.add_argument("--ways", type=lambda text: text.split(","), default=["bare", "enter", "create"])
    parser.add_argument("--in-flight", type=lambda text: [int(each) for each in text.split(",")], default=[1, 16, 64])
    parser.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = parser.parse_args()
    if chosen.rest:
        chosen.ways.append("rest")
    return chosen


def main() -> None:
    chosen = arguments()
    with (
        tempfile.TemporaryDirectory(dir=chosen.directory, ignore_cleanup_errors=True) as name,
        databases(chosen.database, Path(name)) as stored,
        traces() as traced,
    ):
        mesh = Mesh(Path(name), stored | traced, edge=chosen.rest)
        mesh.start()
        try:
            cases, disk = asyncio.run(measure(mesh, Path(name), chosen))
        finally:
            mesh.stop()
    if chosen.json:
        told = [case._asdict() for case in cases]
        figures = {"database": chosen.database, "disk": disk, "cases": told}
        chosen.json.write_text(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
