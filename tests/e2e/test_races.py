"""Whoever wins a race of cancel, replacement and fill, all see the same (rules 1, 6 and 7)."""

from __future__ import annotations

import pytest

from tests.e2e.conftest import Meshes
from tests.e2e.races import races


@pytest.mark.timeout(300)
async def test_rule_7_cancel_replacement_and_fill_race_for_one_order_and_every_watcher_sees_the_same(
    meshes: Meshes,
) -> None:
    async with meshes() as mesh:
        outcome = await races(mesh, seed=1, count=240)
    print(outcome)
    assert outcome.races == 240
    # Each of them won some, and lost some.
    won = ("FILLED", "CANCELED", "CANCELED in part filled", "replaced", "ended with its session")
    lost = ("cancel refused: ORDER_ENDED", "replacement refused: ORDER_ENDED")
    assert min(outcome.ends[what] for what in won + lost) > 0, outcome
