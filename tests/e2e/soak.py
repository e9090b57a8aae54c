"""Kills for as long as one likes: `python -m tests.e2e.soak --rounds 500`.

The rounds are those of `test_kills.py`, fifty to an environment; with `--replays` also whole replays under kills as in
`test_parity.py`. What a seed does is the same every time, when it happens is not. Prints at the end how often each kind
of blow fell: a service's kill, all at once, a named point. Ends with 1 at the first thing wrong, and leaves that mesh's
data and logs where it says.
"""

from __future__ import annotations

import argparse
import asyncio
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from tests.e2e.conftest import prepare, running
from tests.e2e.nursery import Nursery
from tests.e2e.rounds import KINDS, Tally, kill_rounds
from tests.e2e.test_parity import replay_under_kills
from tests.e2e.trading import SHORT, trial

ROUNDS_OF_AN_ENVIRONMENT = 50


async def soak(folder: Path, rounds: int, replays: int, seed: int) -> None:
    """Runs it; raises at the first thing that is wrong."""
    nursery, prepared, tallies = Nursery(), folder / "prepared", []
    prepared.mkdir()
    try:
        await prepare(prepared)
        async with running(folder / "mesh", prepared, nursery) as mesh, mesh.clients() as clients:
            for start in range(0, rounds, ROUNDS_OF_AN_ENVIRONMENT):
                count = min(ROUNDS_OF_AN_ENVIRONMENT, rounds - start)
                tallies.append(await kill_rounds(mesh, clients, seed + start, count, name=f"w{start}"))
                print(tallies[-1], flush=True)
            wanted = await trial(SHORT, mesh) if replays else None
            for number in range(replays):
                began = time.monotonic()
                assert wanted is not None
                await replay_under_kills(mesh, clients, wanted, seed + number)
                print(f"replay {number + 1} of {replays}: equal, {time.monotonic() - began:.1f} s", flush=True)
            print(f"deaths: {dict(mesh.deaths)}")
    finally:
        nursery.close()
        print(table(tallies))
    missed = sum(tally.rounds - tally.fallen.total() for tally in tallies)
    assert not missed, f"{missed} rounds did not kill as they were meant to"


def table(tallies: list[Tally]) -> str:
    """How often each kind of blow was meant to fall, and how often it fell."""
    meant = sum((tally.meant for tally in tallies), Counter[str]())
    fallen = sum((tally.fallen for tally in tallies), Counter[str]())
    rows = [f"{kind:<28}{meant[kind]:>7}{fallen[kind]:>7}" for kind in KINDS]
    return "\n".join([f"{'':<28}{'rounds':>7}{'hits':>7}", *rows])


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.soak", description=__doc__)
    parser.add_argument("--rounds", type=int, default=500)
    parser.add_argument("--replays", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="tickmesh-soak-"))
    try:
        asyncio.run(soak(folder, options.rounds, options.replays, options.seed))
    except BaseException:
        print(f"data and logs: {folder}")
        raise
    shutil.rmtree(folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
