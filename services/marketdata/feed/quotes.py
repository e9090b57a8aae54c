"""The latest price of every symbol of every environment, cached for environments whose tape is not in memory."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from dataclasses import fields
from typing import Final

import numpy as np

from services.chassis.cache import Cache
from services.domain.market import PriceLevel
from services.domain.tape import Kind
from services.domain.timeline import Timeline
from services.marketdata.feed.feed import Feed, Feeds, Latest, latest

# The cache is for those who look now and then: every 50 ms took a tenth of this process at full speed.
INTERVAL_SECONDS: Final = 0.25
_FIELDS: Final = tuple(field.name for field in fields(Latest))


class Quotes:
    """Latest prices at the stored position."""

    def __init__(self, feeds: Feeds, cache: Cache) -> None:
        self._feeds = feeds
        self._cache = cache
        self._written: dict[str, int] = {}

    async def get(self, environment_id: str, symbols: Sequence[str]) -> list[Latest | None]:
        """One for each symbol, in their order; None for one that has no price.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`.
        """
        feed = self._feeds.get(environment_id)
        if feed.timeline is not None:
            timeline = feed.timeline
            return [feed.latest(timeline, symbol) for symbol in symbols]
        # It has ended, so what was cached at its last position is the truth.
        keys = {symbol: _key(environment_id, symbol) for symbol in symbols}
        cached = await self._cache.get_many([_key(environment_id), *keys.values()])
        if cached.get(_key(environment_id)) == str(feed.head).encode():
            return [_read(cached.get(keys[symbol])) for symbol in symbols]
        timeline = await feed.loaded()
        await self._put(feed, timeline, feed.head, feed.plan.symbols)
        return [feed.latest(timeline, symbol) for symbol in symbols]

    async def write(self) -> None:
        """Keeps the cache up with the feeds; until cancelled."""
        while True:
            await asyncio.sleep(INTERVAL_SECONDS)
            for feed in self._feeds.all:
                await self._write(feed)

    async def _write(self, feed: Feed) -> None:
        environment_id, head, timeline = feed.plan.environment_id, feed.head, feed.timeline
        before = self._written.get(environment_id, 0)
        if head == before or timeline is None:
            return
        self._written[environment_id] = head
        changed = {timeline.tape.sources[i].symbol for i in np.unique(timeline.tape.source[before:head])}
        await self._put(feed, timeline, head, sorted(changed & set(feed.plan.symbols)))

    async def _put(self, feed: Feed, timeline: Timeline, head: int, symbols: Sequence[str]) -> None:
        environment_id = feed.plan.environment_id
        found = [latest(timeline, symbol, head) for symbol in symbols]
        values = {_key(environment_id, each.symbol): _write(each) for each in found if each is not None}
        # All are at the position written with them.
        await self._cache.put_many(values | {_key(environment_id): str(head).encode()})


def _key(environment_id: str, symbol: str = "") -> str:
    return f"quote:{environment_id}:{symbol}"


def _write(latest: Latest) -> bytes:
    return json.dumps({name: getattr(latest, name) for name in _FIELDS}).encode()


def _read(data: bytes | None) -> Latest | None:
    if data is None:
        return None
    values = json.loads(data)
    sides = {name: tuple(PriceLevel(*level) for level in values[name]) for name in ("bids", "asks")}
    return Latest(**values | sides | {"kind": Kind(values["kind"])})
