"""Every benchmark in one run, and one table of what was wanted and what came of it.

    python -m tests.performance [--quick] [--only order_path,cycle] [--output PATH] [--peer PYTHON]

Before and after each stands what the machine gave: its loop alone, and on all processors at once. `--quick` takes small
sizes, to see that everything runs: its figures mean little. A benchmark that fails is told, and the others run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, NamedTuple

from tests.performance.machine import ROOT, State, state
from tests.performance.wanted import WANTED, Row


class Run(NamedTuple):
    """One start of a script: its arguments, and smaller ones."""

    name: str
    arguments: Sequence[str] = ()
    quick: Sequence[str] = ()


RUNS: Final = (
    Run("matching", quick=("--quotes=50000", "--orders=2000", "--runs=1")),
    Run("gate", quick=("--checks=200", "--runs=1")),
    Run("backtest", quick=("--bars=50000", "--runs=1")),
    Run("order_path", quick=("--seconds=1", "--in-flight=1,64")),
    Run("order_path", ("--database=postgresql", "--ways=enter"), ("--seconds=1", "--in-flight=1,64")),
    Run("growth", quick=("--orders=100,1000", "--seconds=1")),
    Run("growth", ("--database=postgresql",), ("--orders=100,1000", "--seconds=1")),
    Run("reactions", quick=("--fills=100",)),
    Run("cycle"),
    Run("ticks", quick=("--ticks=50000", "--subscribers=1,50")),
)


class Ran(NamedTuple):
    """What a start came to; no rows where it failed."""

    run: Run
    before: State
    after: State
    rows: Sequence[Row]


def perform(run: Run, more: Sequence[str], folder: Path) -> Ran:
    """Runs a script, which prints what it always does."""
    figures, before = folder / "figures.json", state()
    figures.unlink(missing_ok=True)
    script = ROOT / "tests" / "performance" / f"bench_{run.name}.py"
    print(f"\n--- {run.name} {' '.join((*run.arguments, *more))}", flush=True)
    command = [sys.executable, str(script), *run.arguments, *more, f"--json={figures}"]
    done = subprocess.run(command, cwd=ROOT, check=False)
    good = done.returncode == 0 and figures.exists()
    rows = list(WANTED[run.name](json.loads(figures.read_text()))) if good else []
    return Ran(run, before, state(), rows)


def document(runs: Sequence[Ran]) -> str:
    """The tables, in Markdown."""
    lines = ["| what | wanted | got | |", "| --- | --- | --- | --- |"]
    marks: Mapping[bool | None, str] = {True: "met", False: "**missed**", None: ""}
    for ran in runs:
        failed = Row(" ".join((ran.run.name, *ran.run.arguments)), "runs", "failed", False)
        lines += [f"| {row.what} | {row.wanted} | {row.got} | {marks[row.met]} |" for row in ran.rows or [failed]]
    lines += ["", "| run | load | loop, ns | on all processors at once |", "| --- | --- | --- | --- |"]
    for ran in runs:
        before, after = ran.before, ran.after
        name = " ".join((ran.run.name, *ran.run.arguments))
        loops = f"{before.loop_ns:.0f}, {after.loop_ns:.0f} | {before.loops_ns:.0f}, {after.loops_ns:.0f}"
        lines.append(f"| {name} | {before.load:.1f}, {after.load:.1f} | {loops} |")
    now = runs[-1].after
    where = f"{now.processors} processors, {now.architecture}, Python {now.python}"
    ended = datetime.now(UTC).strftime("%Y-%m-%d %H:%M")
    return "\n".join([f"{ended} UTC, {where}; each before, after.", "", *lines, ""])


def main() -> None:
    arguments = argparse.ArgumentParser(prog="python -m tests.performance", description=(__doc__ or "").splitlines()[0])
    arguments.add_argument("--quick", action="store_true", help="small sizes")
    arguments.add_argument("--only", type=lambda text: text.split(","), default=list(WANTED), help="names of scripts")
    arguments.add_argument("--output", type=Path, help="where the tables are written too")
    arguments.add_argument("--peer", help="an interpreter with nautilus_trader")
    chosen = arguments.parse_args()
    if strange := set(chosen.only) - set(WANTED):
        arguments.error(f"no such benchmark: {', '.join(sorted(strange))}; there are {', '.join(WANTED)}")
    ran = []
    with tempfile.TemporaryDirectory() as name:
        for run in (each for each in RUNS if each.name in chosen.only):
            more = [*(run.quick if chosen.quick else ())]
            more += [f"--peer={chosen.peer}"] if chosen.peer and run.name == "matching" else []
            ran.append(perform(run, more, Path(name)))
    told = document(ran)
    print(f"\n{told}")
    if chosen.output:
        chosen.output.write_text(told)
    sys.exit(any(not each.rows for each in ran))


if __name__ == "__main__":
    main()
