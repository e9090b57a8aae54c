"""How many ticks a second reach 1, 10 and 50 subscribers of one feed, and how old they are when they do.

    python tests/performance/bench_ticks.py [--ticks N] [--subscribers 1,10,50] [--encoding columns|rows] [--rate N]
        [--json PATH]

The real market-data service replays a generated data set of quotes, as a process of its own. Venue and books are
participants that have nothing to do, in a second process; the subscribers are in this one, over gRPC on loopback, and
decode everything. Two runs for each number of subscribers: as fast as it goes, and at a steady rate of ticks a second.
The age of a message is the time from `publish_time` to its receipt. Beside it stands what the machine did meanwhile.
"""

import argparse
import asyncio
import json
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from tickmesh.marketdata.v1 import market_data_pb2, market_data_service_pb2

from services.chassis.calls.channel import connect
from tests.component.marketdata.support import Client, client_of, inner_of, running
from tests.performance.machine import state

# Between two quotes on the tape, ns: market time runs at `rate` / 1000 for a steady rate.
STEP = 1_000_000


@dataclass
class Reading:
    """What one subscriber got."""

    ticks: int = 0
    messages: int = 0
    resets: int = 0
    ages: list[int] = field(default_factory=list)


def write_data_set(folder: Path, ticks: int) -> None:
    """Quotes of four symbols, a millisecond apart."""
    folder.mkdir(parents=True)
    symbols = ("EURUSD", "GBPUSD", "USDJPY", "AUDUSD")
    instruments = [{"symbol": each, "calendar": "24/7", "price_increment": "0.00001"} for each in symbols]
    (folder / "data_set.json").write_text(json.dumps({"instruments": instruments}))
    with (folder / "quotes.csv").open("w") as out:
        out.write("symbol,time,bid,ask,bid_size,ask_size\n")
        for n in range(ticks):
            at = 1_400_000_000_000_000_000 + n * STEP
            out.write(f"{symbols[n & 3]},{at},1.{38_600 + n % 97:05},1.{38_700 + n % 89:05},{n % 9 + 1},{n % 7 + 1}\n")


async def read(client: Client, request: Any, end: int, reading: Reading) -> None:
    """One subscriber, to the tape's end."""
    async for message in client.prices.StreamMarketData(request):
        now = time.time_ns()
        kind = message.WhichOneof("event")
        if kind in {"columns", "rows"}:
            got = message.columns.quotes.tape_sequences if kind == "columns" else message.rows.quotes
            reading.ticks += len(got)
            reading.messages += 1
            sent = message.publish_time
            reading.ages.append(now - sent.seconds * 1_000_000_000 - sent.nanos)
        reading.resets += kind == "reset"
        if message.sequence >= end:
            return


async def measure(
    service: Any, count: int, encoding: str, pace: dict[str, float], cut: dict[str, Any]
) -> dict[str, float]:
    """One run: prints its line, and returns what is in it."""
    async with client_of(service) as client:
        made = await client.create(data_set_id="ticks", pace=pace, **cut)
        request = market_data_service_pb2.StreamMarketDataRequest(
            environment_id=made.environment_id,
            encoding=market_data_pb2.Encoding.Value(f"ENCODING_{encoding.upper()}"),
        )
        readings = [Reading() for _ in range(count)]
        channels = [connect(service.address) for _ in range(min(count, 8))]
        clients = [Client(channel) for channel in channels]
        tasks = [
            asyncio.create_task(read(clients[i % len(clients)], request, made.end_sequence, reading))
            for i, reading in enumerate(readings)
        ]
        await client.until(made.environment_id, lambda _: True)
        await asyncio.sleep(1)
        process = psutil.Process(service.process.pid)
        used, own, begun = sum(process.cpu_times()[:2]), time.process_time(), time.perf_counter()
        await client.move("Start", made.environment_id)
        await asyncio.gather(*tasks)
        seconds = time.perf_counter() - begun
        used, own = sum(process.cpu_times()[:2]) - used, time.process_time() - own
        for channel in channels:
            await channel.close()
        ticks, messages = sum(each.ticks for each in readings), sum(each.messages for each in readings)
        ages = sorted(age for each in readings for age in each.ages)
        p50, p99 = (ages[len(ages) * share // 100] / 1e6 for share in (50, 99))
        print(
            f"{count:>11} {ticks / seconds:>13,.0f} {made.end_sequence / seconds:>12,.0f} {messages / seconds:>10,.0f} "
            f"{ticks / messages:>10,.0f} {p50:>8.2f} {p99:>8.2f} "
            f"{sum(each.resets for each in readings):>6} {used / seconds:>9.2f} {own / seconds:>9.2f}"
        )
        return {"subscribers": count, "delivered": ticks / seconds, "p50": p50, "p99": p99, "cores": used / seconds}


async def bench(chosen: argparse.Namespace) -> list[dict[str, Any]]:
    """All runs."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        write_data_set(Path(folder) / "data-sets" / "ticks", chosen.ticks)
        with running(Path(folder)) as service:
            peers = await asyncio.create_subprocess_exec(sys.executable, __file__, "--peers", service.address)
            try:
                for title, rate in (("as fast as it goes", 0), (f"{chosen.rate:,} ticks a second", chosen.rate)):
                    print(f"\n{chosen.encoding}, {title}")
                    print(
                        "subscribers   delivered/s       each/s messages/s  ticks/msg   p50 ms   p99 ms resets "
                        "server cores client cores"
                    )
                    last = 1_400_000_000_000_000_000 + min(chosen.ticks, rate * 5 or chosen.ticks) * STEP
                    cut = {"end_time": {"seconds": last // 1_000_000_000, "nanos": last % 1_000_000_000}}
                    pace = {"multiple": rate * STEP / 1e9} if rate else {}
                    for count in chosen.subscribers:
                        run = await measure(service, count, chosen.encoding, pace, cut)
                        found.append({"rate": rate} | run)
            finally:
                peers.terminate()
                await peers.wait()
    return found


async def serve_peers(address: str) -> None:
    """Venue and books that have nothing to do."""
    async with connect(address) as channel:
        client = Client(channel)
        await client.serving()
        async with inner_of(client):
            await asyncio.Event().wait()


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--ticks", type=int, default=1_000_000)
    arguments.add_argument("--subscribers", type=lambda text: [int(n) for n in text.split(",")], default=[1, 10, 50])
    arguments.add_argument("--encoding", choices=["columns", "rows"], default="columns")
    arguments.add_argument("--rate", type=int, default=20_000)
    arguments.add_argument("--json", type=Path, help="where the figures are written too")
    arguments.add_argument("--peers", help=argparse.SUPPRESS)
    chosen = arguments.parse_args()
    if chosen.peers:
        asyncio.run(serve_peers(chosen.peers))
        return
    print(state().line())
    found = asyncio.run(bench(chosen))
    print(state().line())
    if chosen.json:
        chosen.json.write_text(json.dumps({"runs": found}, indent=2))


if __name__ == "__main__":
    main()
