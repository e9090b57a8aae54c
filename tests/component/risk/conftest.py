"""A small market, and everybody risk talks to in it."""

from collections.abc import AsyncIterator

import pytest

from services.domain.tape import Tape, merge
from tests.component.risk.world import World
from tests.unit.domain.markets import clock, daily, instrument, splits, walk

SYMBOLS = ("A", "B")


def market(days: int = 40, split_day: int = 20) -> Tape:
    """Two random walks on daily bars; A is split 3 for 2 on one day."""
    bars = [daily("A", walk(1, days)), daily("B", walk(2, days, 40))]
    return merge([clock(days), splits("A", {split_day: (3.0, 2.0)}), *bars])


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """At the position of the tenth record, before the split."""
    made = World(market(), {symbol: instrument(symbol) for symbol in SYMBOLS}, start_sequence=10)
    async with made.served():
        yield made
