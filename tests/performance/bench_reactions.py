"""How long a strategy's order and a fill take, each apart.

    python tests/performance/bench_reactions.py [--fills N] [--database sqlite|postgresql] [--json PATH]

tick to ack     from a record that is known to a strategy, through its decision and the order service's check at risk,
                until the order's acknowledgement is back: off the traces of a replay of IBM's daily bars through the
                five processes, a tenth of them sampled, with what each part of it took.
quote to fill   from the coordinator's grant of a record, sent from here to the order service in a process of its own,
                until the fill that the record caused, durable by then, comes over the stream of order events; and until
                the service has answered the grant.

Beside them stands what the disk takes to make 4 KiB durable, which both wait for once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.console.scenario import Scenario, Trader
from tests.component.order.support import ENVIRONMENT, Mesh, make_tape, request, running
from tests.e2e import conftest
from tests.e2e.receiver import Receiver, Span, receiving
from tests.e2e.trading import Replayed
from tests.nursery import Nursery
from tests.performance.machine import state
from tests.performance.rig import TRACED, databases, synced_writes

# Short windows, so that there is an order every few bars.
TRADER = Trader("Bench", "bench", "bench", "sma_cross", {"fast": "2", "slow": "4", "capital": "50000"})
SCENARIO = Scenario(data_set_id="us-daily", traders=(TRADER,), symbols=("IBM",), warm_up_sessions=40)
CREATE = "tickmesh.order.v1.OrderService/CreateOrder"
CHECK = "tickmesh.risk.v1.RiskGateService/CheckOrders"
PARTS = {
    "tick to ack": None,
    "  the order's call": f"strategy CLIENT {CREATE}",
    "    in the order service": f"order SERVER {CREATE}",
    "      asking risk": f"order CLIENT {CHECK}",
    "        in risk": f"risk SERVER {CHECK}",
}
# Three sessions' edges and warm-up rows come before the first that is granted.
FIRST = 3


class Table:
    """Prints a row at a time, in ms, and keeps it."""

    def __init__(self) -> None:
        self.rows: dict[str, dict[str, float]] = {}
        print(f"{'':<26} {'count':>6} {'p50 ms':>8} {'p99 ms':>8}")

    def add(self, name: str, seconds: Iterable[float]) -> None:
        """A row."""
        taken = sorted(seconds)
        p50, p99 = (taken[int(len(taken) * share)] * 1e3 for share in (0.5, 0.99))
        print(f"{name:<26} {len(taken):>6} {p50:>8.2f} {p99:>8.2f}")
        self.rows[name.strip()] = {"count": len(taken), "p50": p50, "p99": p99}


async def replayed(folder: Path, receiver: Receiver) -> None:
    """A replay with a strategy, to its end."""
    nursery, prepared = Nursery(), folder / "prepared"
    prepared.mkdir()
    settings = {"otlp_endpoint": receiver.endpoint, "trace_sample_ratio": TRACED}
    try:
        await conftest.prepare(prepared)
        async with conftest.running(folder / "mesh", prepared, nursery, **settings) as mesh, mesh.clients() as clients:
            replay = Replayed(clients, SCENARIO, "bench")
            await replay.make()
            await replay.start()
            await replay.ended()
            # Exporters send once a second.
            await asyncio.sleep(2.5)
    finally:
        nursery.close()


def decisions(spans: Iterable[Span]) -> dict[str, list[float]]:
    """What each part took, of every order that was traced whole."""
    traces: dict[str, dict[str, Span]] = defaultdict(dict)
    for span in spans:
        traces[span.trace_id][f"{span.service} {span.kind} {span.name}"] = span
    taken: dict[str, list[float]] = {part: [] for part in PARTS}
    for named in traces.values():
        found = {part: named.get(name) for part, name in PARTS.items() if name is not None}
        tick, call = named.get("strategy INTERNAL tick"), found["  the order's call"]
        if tick is None or call is None or None in found.values():
            continue
        taken["tick to ack"].append((call.end - tick.start) / 1e9)
        for part, span in found.items():
            if span is not None:
                taken[part].append((span.end - span.start) / 1e9)
    return taken


async def fills(mesh: Mesh, count: int) -> tuple[list[float], list[float]]:
    """Seconds from a grant to the fill on the stream, and to the grant's answer."""
    came: asyncio.Queue[float] = asyncio.Queue()
    watching = order_service_pb2.StreamOrderEventsRequest(environment_id=ENVIRONMENT, after_sequence=0)

    async def watch() -> None:
        async for message in mesh.orders.StreamOrderEvents(watching):
            now = time.perf_counter()
            for event in message.order_events.events:
                if event.exec_type == order_pb2.EXEC_TYPE_TRADE:
                    came.put_nowait(now)

    streamed, answered = [], []
    at = (await mesh.market.joined()).tape_sequence
    await mesh.ready()
    watcher = asyncio.create_task(watch())
    for cycle in range(1, count + 1):
        await mesh.place(request(f"fill-{cycle}", quantity="1", side=2 - cycle % 2))
        granted = time.perf_counter()
        reached = await mesh.market.run(cycle, at + 2)
        answered.append(time.perf_counter() - granted)
        streamed.append(await came.get() - granted)
        at = reached.tape_sequence
        mesh.market.idle(at, cycle=cycle)
    watcher.cancel()
    return streamed, answered


async def measure(chosen: argparse.Namespace) -> dict[str, dict[str, float]]:
    """Prints the table, and returns it."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        print(state().line())
        table = Table()
        table.add("4 KiB made durable", synced_writes(folder))
        with receiving() as receiver:
            await replayed(folder, receiver)
        for part, taken in decisions(receiver.spans()).items():
            table.add(part, taken)
        (folder / "fills").mkdir()
        with databases(chosen.database, folder) as stored:
            url = stored.get("TICKMESH_ORDER_DATABASE_URL", "")
            async with running(folder / "fills", start=False, database_url=url) as mesh:
                mesh.market.tape = make_tape(chosen.fills + FIRST)
                mesh.spawn()
                streamed, answered = await fills(mesh, chosen.fills)
        table.add("quote to fill, streamed", streamed)
        table.add("  to the grant's answer", answered)
        print(state().line())
    return table.rows


def main() -> None:
    arguments = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--fills", type=int, default=1_000)
    arguments.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite", help="for the fills")
    arguments.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = arguments.parse_args()
    rows = asyncio.run(measure(chosen))
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
