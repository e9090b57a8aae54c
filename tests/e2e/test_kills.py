"""Under order load, `kill -9` of anybody at any moment loses, doubles and leaks nothing (rules 1 to 4)."""

from __future__ import annotations

import re

import pytest

from tests.e2e.blows import KINDS, POINTS
from tests.e2e.conftest import Meshes
from tests.e2e.mesh import PROJECT
from tests.e2e.rounds import kill_rounds


@pytest.mark.timeout(400)
async def test_rule_2_rule_4_rounds_of_kills_lose_double_and_leak_nothing(meshes: Meshes) -> None:
    # Each kind of blow comes twice; `python -m tests.e2e.soak` deals as many as one likes.
    rounds = 2 * len(KINDS)
    async with meshes() as mesh, mesh.clients() as clients:
        tally = await kill_rounds(mesh, clients, seed=1, count=rounds)
    print(tally)
    assert tally.rounds == rounds
    assert min(tally.fills, tally.refused, tally.canceled, tally.replaced, tally.disconnected) > 10
    assert tally.stopped > 0
    assert tally.deaths >= rounds
    # None was a blow into the air.
    assert {kind: tally.fallen[kind] for kind in KINDS} == dict.fromkeys(KINDS, 2)


def test_the_rounds_know_every_point_of_the_code() -> None:
    sources = "".join(path.read_text() for path in (PROJECT / "services").rglob("*.py"))
    found = set(re.findall(r'\bfailpoint\("([^"]+)"\)', sources))
    # What all services stand on has one more, at which a test makes disks slow.
    assert set(POINTS) == found - {"sqlite.before_commit"}
