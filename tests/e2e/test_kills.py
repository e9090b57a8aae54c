"""Under order load, `kill -9` of anybody at any moment loses, doubles and leaks nothing (rules 1 to 4)."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Meshes
from tests.e2e.rounds import kill_rounds


@pytest.mark.timeout(400)
async def test_rule_2_rule_4_fifty_rounds_of_kills_lose_double_and_leak_nothing(meshes: Meshes) -> None:
    async with meshes() as mesh, mesh.clients() as clients:
        tally = await kill_rounds(mesh, clients, seed=1, count=50)
    print(tally)
    assert tally.rounds == 50
    assert min(tally.fills, tally.refused, tally.canceled) > 20
    assert tally.deaths >= 50
    assert tally.points >= 20
