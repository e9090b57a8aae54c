"""What the machine gives at the moment, by which runs on different machines and days compare.

`python -m tests.performance.machine` prints what the loop takes, and nothing else.
"""

from __future__ import annotations

import os
import platform
import subprocess
import sys
import time
from pathlib import Path
from typing import Final, NamedTuple

ROOT: Final = Path(__file__).parents[2]
TURNS: Final = 3_000_000


class State(NamedTuple):
    """One moment's.

    Attributes:
        load: the load average of the last minute.
        loop_ns: what a fixed piece of Python takes a turn.
        loops_ns: the same while every processor runs it: two that are threads of one core halve each other.
    """

    load: float
    processors: int
    loop_ns: float
    loops_ns: float
    python: str
    architecture: str

    def line(self) -> str:
        """In words."""
        return (
            f"machine      load {self.load:.2f}, {self.processors} processors, loop {self.loop_ns:.0f} ns, "
            f"{self.loops_ns:.0f} on all at once, Python {self.python}, {self.architecture}"
        )


def state() -> State:
    """How the machine is now; takes half a second."""
    load, processors = os.getloadavg()[0], os.cpu_count() or 1
    return State(load, processors, _loop(1), _loop(processors), platform.python_version(), platform.machine())


def reference_loop() -> float:
    """Nanoseconds for a dictionary entry and an addition, in a loop of Python."""
    kept: dict[int, int] = {}
    began = time.perf_counter()
    for i in range(TURNS):
        kept[i & 255] = i + 1
    return (time.perf_counter() - began) / TURNS * 1e9


def _loop(many: int) -> float:
    """What the loop takes in each of so many processes, on average."""
    command = [sys.executable, "-m", "tests.performance.machine"]
    running = [subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE) for _ in range(many)]
    return sum(float(each.communicate()[0]) for each in running) / many


if __name__ == "__main__":
    print(reference_loop())
