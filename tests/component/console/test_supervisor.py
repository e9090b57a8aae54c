"""The real supervisor, over programs that do nothing."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

import pytest

from services.console.layout import PROGRAMS, Layout, Trouble
from services.console.processes import supervision
from services.console.processes.pids import memory_bytes
from services.console.processes.supervision import Supervisor

T = TypeVar("T")

# As `tickmesh run` does: says its id and becomes something whose command line names it.
IDLE = """
import os, sys, time
open(sys.argv[1], "w").write(str(os.getpid()))
print("hello from", sys.argv[2], flush=True)
os.execv(sys.executable, [sys.executable, "-c", "import time; time.sleep(600)", sys.argv[2]])
"""


@pytest.fixture
def supervisor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    layout = Layout(tmp_path)
    layout.prepare()

    def command(program: str) -> list[str]:
        word = "envoy" if program == "edge" else f"services.{program}.main"
        return [sys.executable, "-c", IDLE, str(layout.pid_of(program)), word]

    monkeypatch.setattr(supervision, "command", command)
    made = Supervisor(layout)
    yield made
    made.stop(0.0)


def eventually(condition: Callable[[], bool], instead: Callable[[], object] = str, seconds: float = 30.0) -> None:
    """Waits for it; `instead` is what there is where it never comes."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, instead()
        time.sleep(0.05)


def answered(ask: Callable[[], T]) -> T:
    """What a supervisor answers; one that has no time to is taken for one that does not run, and asked again."""
    for _ in range(20):
        if answer := ask():
            return answer
    raise AssertionError("no answer")


def pids(supervisor: Supervisor) -> dict[str, int]:
    return {each.name: each.pid for each in answered(supervisor.processes)}


def test_what_dies_comes_back_and_everything_stops(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(1.0)
    assert supervisor.running
    eventually(lambda: all(Layout(tmp_path).last_lines(each) for each in PROGRAMS))
    first = pids(supervisor)
    assert list(first) == list(PROGRAMS)
    os.kill(first["order"], signal.SIGKILL)
    eventually(lambda: pids(supervisor)["order"] not in {0, first["order"]})
    restarts = {each.name: each.restarts for each in supervisor.processes()}
    assert restarts == dict.fromkeys(PROGRAMS, 0) | {"order": 1}
    eventually(lambda: Layout(tmp_path).last_lines("order") == ["hello from services.order.main"] * 2)
    running = [*pids(supervisor).values(), supervisor.pid]
    assert len(list((tmp_path / "run").iterdir())) == len(PROGRAMS)
    supervisor.stop(1.0)
    assert not supervisor.running
    assert not memory_bytes(running)
    assert not list((tmp_path / "run").iterdir())


def test_what_outlives_a_killed_supervisor_is_found_and_stopped(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start(1.0)
    eventually(lambda: all(Layout(tmp_path).last_lines(each) for each in PROGRAMS))
    left = pids(supervisor)
    os.kill(answered(lambda: supervisor.pid), signal.SIGKILL)
    eventually(lambda: dict(supervisor.leftovers()) == left, lambda: (supervisor.leftovers(), left))
    supervisor.stop(1.0)
    assert not memory_bytes(list(left.values()))
    assert supervisor.leftovers() == []
    assert not list((tmp_path / "run").iterdir())


def test_it_starts_again_where_it_was_stopped(supervisor: Supervisor) -> None:
    supervisor.start(1.0)
    supervisor.stop(1.0)
    supervisor.start(1.0)
    eventually(lambda: all(each.pid for each in supervisor.processes()))
    assert {each.restarts for each in supervisor.processes()} == {0}


def test_a_supervisor_that_cannot_start_says_why(supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervision, "LOG_BYTES", "many")
    with pytest.raises(Trouble, match="many"):
        supervisor.start(1.0)
    assert not supervisor.running
