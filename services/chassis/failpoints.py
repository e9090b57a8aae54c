"""Named points where a test may kill or delay a process; off unless `TICKMESH_FAILPOINTS` is set.

`TICKMESH_FAILPOINTS="order.before_commit=kill:3,risk.after_reserve=delay:20"`:

- `kill[:n]` sends SIGKILL to the own process at the n-th hit (default 1) of each life of the process;
- `kill-once[:n]` does so in one life only, and remembers by a file in `TICKMESH_DATA_DIRECTORY/failpoints`, so that
  a supervisor can restart the process with the same environment;
- `delay:ms` blocks the whole process for so long at every hit, as a slow machine would; at `sqlite.before_commit` only
  the thread that commits, as a slow disk would: the loop makes none itself once they take long.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path


def failpoint(name: str) -> None:
    """Does what the environment asks for at `name`; a truth test of an empty dict (30 ns) when nothing is asked."""
    if _armed:
        action = _armed.get(name)
        if action is not None:
            action()


def arm(specification: str) -> None:
    """Replaces what is armed.

    Raises:
        ValueError: if the specification cannot be read.
    """
    armed: dict[str, Callable[[], None]] = {}
    for part in filter(None, (each.strip() for each in specification.split(","))):
        name, equals, action = part.partition("=")
        verb, _, argument = action.partition(":")
        if not equals or not name:
            raise ValueError(f"failpoint {part!r} is not name=action")
        if verb == "kill":
            armed[name] = _kill_at(int(argument or 1), None)
        elif verb == "kill-once":
            armed[name] = _kill_at(int(argument or 1), _marker(name))
        elif verb == "delay":
            armed[name] = _delay(float(argument) / 1000)
        else:
            raise ValueError(f"failpoint action {verb!r} is none of kill, kill-once, delay")
    _armed.clear()
    _armed.update(armed)


def _marker(name: str) -> Path:
    return Path(os.environ.get("TICKMESH_DATA_DIRECTORY", ".tickmesh")) / "failpoints" / name


def _kill_at(nth: int, marker: Path | None) -> Callable[[], None]:
    hits = 0

    def act() -> None:
        nonlocal hits
        hits += 1
        if hits != nth or (marker is not None and marker.exists()):
            return
        if marker is not None:
            marker.parent.mkdir(parents=True, exist_ok=True)
            marker.touch()
        os.kill(os.getpid(), signal.SIGKILL)

    return act


def _delay(seconds: float) -> Callable[[], None]:
    return lambda: time.sleep(seconds)


_armed: dict[str, Callable[[], None]] = {}
try:
    arm(os.environ.get("TICKMESH_FAILPOINTS", ""))
except ValueError as error:
    # As for any other bad setting (settings.py).
    sys.stderr.write(f"TICKMESH_FAILPOINTS: {error}\n")
    raise SystemExit(2) from None
