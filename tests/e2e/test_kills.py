"""Under order load, `kill -9` of anybody at any moment loses, doubles and leaks nothing (rules 1 to 4)."""

from __future__ import annotations

import re

import pytest

from tests.e2e.conftest import Meshes
from tests.e2e.mesh import PROJECT
from tests.e2e.rounds import KINDS, POINTS, kill_rounds


@pytest.mark.timeout(400)
async def test_rule_2_rule_4_fifty_rounds_of_kills_lose_double_and_leak_nothing(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        tally = await kill_rounds(mesh, clients, seed=1, count=50)
    print(tally)
    assert tally.rounds == 50
    assert min(tally.fills, tally.refused, tally.canceled) > 20
    assert tally.deaths >= 50
    # Fifty are each of the twenty-one at least twice, and none was a blow into the air.
    assert min(tally.fallen[kind] for kind in KINDS) >= 2
    assert tally.fallen.total() == tally.rounds


def test_the_rounds_know_every_point_of_the_code() -> None:
    sources = "".join(path.read_text() for path in (PROJECT / "services").rglob("*.py"))
    assert set(POINTS) == set(re.findall(r'\bfailpoint\("([^"]+)"\)', sources))
