"""Kills for as long as one likes: `python -m tests.e2e.soak --rounds 200 --replays 20`.

The rounds are those of `test_kills.py`, fifty to an environment. Replays are whole ones under kills and halts, as in
`test_parity.py`: each must come to its backtest's digest. What a seed does is the same every time, when it happens is
not. Prints at the end how often each kind of blow fell: a service's kill, all at once, a named point. Ends with 1 at
the first thing wrong, and leaves that mesh's data and logs where it says.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections import Counter
from collections.abc import Awaitable

from tests.e2e.blows import KINDS
from tests.e2e.command import in_mesh
from tests.e2e.mesh import Mesh
from tests.e2e.replaying import replay_under_blows
from tests.e2e.rounds import Tally, kill_rounds
from tests.e2e.scenarios import QUOTED, QUOTING, SHORT, write_quotes
from tests.e2e.trading import trial

ROUNDS_OF_AN_ENVIRONMENT = 50


async def soak(mesh: Mesh, rounds: int, replays: int, seed: int) -> None:
    """Runs it; raises at the first thing that is wrong."""
    tallies: list[Tally] = []
    try:
        async with mesh.clients() as clients:
            for start in range(0, rounds, ROUNDS_OF_AN_ENVIRONMENT):
                count = min(ROUNDS_OF_AN_ENVIRONMENT, rounds - start)
                tallies.append(await kill_rounds(mesh, clients, seed + start, count, name=f"w{start}"))
                print(tallies[-1], flush=True)
            write_quotes(mesh)
            wanted = (await trial(QUOTED, mesh, QUOTING), await trial(SHORT, mesh))
            for number in range(replays):
                began, each = time.monotonic(), wanted[number % len(wanted)]
                await replay_under_blows(mesh, clients, each, seed + number)
                what, took = each.scenario.data_set_id, time.monotonic() - began
                print(f"replay {number + 1} of {replays}: {what}, {each.digest[:16]}, {took:.1f} s", flush=True)
            print(f"deaths: {dict(mesh.deaths)}")
    finally:
        if tallies:
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
    parser.add_argument("--rounds", type=int, default=200)
    parser.add_argument("--replays", type=int, default=0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--postgres", action="store_true", help="instead of SQLite")
    options = parser.parse_args()

    def run(mesh: Mesh) -> Awaitable[None]:
        return soak(mesh, options.rounds, options.replays, options.seed)

    in_mesh("soak", run, postgres=options.postgres, strategy_path=QUOTING)
    return 0


if __name__ == "__main__":
    sys.exit(main())
