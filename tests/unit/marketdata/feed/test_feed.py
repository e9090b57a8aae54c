"""An ended environment's tape: loaded once for all who look at it, and let go of when nobody does."""

from __future__ import annotations

import asyncio
import gc
from collections import deque

import pytest

from services.chassis.errors import ApiError
from services.domain.tape import Tape
from services.domain.timeline import Timeline
from services.marketdata.environment import Plan, tape_lost
from services.marketdata.feed.feed import Feed
from tests.unit.marketdata.feeds import tape_of

PLAN = Plan("r", 1, "", "d", ("S",), None, None, "", 0, 0, 0, "", "", "local", 0)


class Loading:
    """Reads a tape when it is let."""

    def __init__(self) -> None:
        self.let = asyncio.Event()
        self.count = 0
        self.lost = False

    async def __call__(self) -> Tape:
        self.count += 1
        await self.let.wait()
        if self.lost:
            raise tape_lost(PLAN)
        return tape_of()


async def test_those_who_ask_at_once_share_one_load() -> None:
    load = Loading()
    feed = Feed(PLAN, 1, None, load)
    asked = [asyncio.create_task(feed.loaded()) for _ in range(5)]
    await asyncio.sleep(0)
    # Who goes away takes nobody's answer along.
    asked.pop().cancel()
    load.let.set()
    assert len({id(each) for each in await asyncio.gather(*asked)}) == 1
    assert load.count == 1


async def test_a_tape_is_shared_for_as_long_as_somebody_has_it() -> None:
    load = Loading()
    load.let.set()
    kept: deque[Timeline] = deque(maxlen=1)
    feed = Feed(PLAN, 1, None, load, kept)
    first = id(await feed.loaded())
    assert id(await feed.loaded()) == first
    assert load.count == 1
    kept.clear()
    # The loop holds what woke us until its next turn.
    await asyncio.sleep(0)
    gc.collect()
    assert await feed.loaded() is kept[0]
    assert load.count == 2


async def test_a_released_tape_is_the_one_that_subscribers_still_have() -> None:
    timeline = Timeline(tape_of())
    feed = Feed(PLAN, 1, timeline, Loading())
    feed.release()
    assert feed.timeline is None
    assert await feed.loaded() is timeline


async def test_a_lost_tape_is_looked_for_again() -> None:
    load = Loading()
    load.lost = True
    load.let.set()
    feed = Feed(PLAN, 1, None, load)
    with pytest.raises(ApiError):
        await feed.loaded()
    load.lost = False
    assert (await feed.loaded()).end
