"""Failpoints cost nothing unless armed, and then kill or delay where they are told to."""

import subprocess
import sys
import timeit
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from services.chassis import failpoints

PROGRAM = """
from services.chassis.failpoints import failpoint
for n in range(1, 6):
    failpoint("order.before_commit")
    print(n, flush=True)
"""


@pytest.fixture(autouse=True)
def disarmed() -> Iterator[None]:
    failpoints.arm("")
    yield
    failpoints.arm("")


def run(specification: str, folder: Path) -> tuple[int, list[str]]:
    environment = {"TICKMESH_FAILPOINTS": specification, "TICKMESH_DATA_DIRECTORY": str(folder)}
    done = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout.split()


def test_a_kill_comes_at_the_nth_hit(tmp_path: Path) -> None:
    assert run("other=kill,order.before_commit=kill:3", tmp_path) == (-9, ["1", "2"])


def test_a_kill_once_lets_the_next_life_go_on(tmp_path: Path) -> None:
    assert run("order.before_commit=kill-once", tmp_path) == (-9, [])
    assert run("order.before_commit=kill-once", tmp_path) == (0, ["1", "2", "3", "4", "5"])


def test_a_specification_that_cannot_be_read_ends_the_process_with_code_2(tmp_path: Path) -> None:
    assert run("order.before_commit=explode", tmp_path) == (2, [])


def test_a_delay_blocks_for_its_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr(failpoints, "time", SimpleNamespace(sleep=slept.append))
    failpoints.arm("risk.after_reserve=delay:20")
    failpoints.failpoint("risk.after_reserve")
    failpoints.failpoint("elsewhere")
    assert slept == [0.02]


def test_a_failpoint_that_is_off_costs_next_to_nothing() -> None:
    # The best of some: at 30 ns a call, even a machine that has no time has a hundredth of a millisecond.
    best = min(timeit.repeat(lambda: failpoints.failpoint("order.before_commit"), number=1_000, repeat=50))
    assert best / 1_000 < 2e-6


@pytest.mark.parametrize("specification", ["order", "order=explode", "order=kill:soon", "=kill"])
def test_a_specification_that_cannot_be_read_is_refused(specification: str) -> None:
    with pytest.raises(ValueError, match=r"failpoint|int"):
        failpoints.arm(specification)
