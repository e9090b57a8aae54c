"""Public streams: a subscriber is a position on a tape; what all who asked the same are sent is encoded once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from time import monotonic
from typing import NamedTuple

from services.chassis.deadline import detach
from services.chassis.errors import ApiError, api_error
from services.chassis.streams.event_log import Closed, Reset
from services.domain.timeline import Timeline
from services.marketdata.feed.broadcast import Broadcast, Budget, Cursor, Terms
from services.marketdata.feed.feed import Feed


class Snapshot(NamedTuple):
    """Where a stream begins, or begins anew after a reset."""

    position: int
    timeline: Timeline


class Records(NamedTuple):
    """Encoded records, up to a position."""

    position: int
    data: bytes


class Nothing(NamedTuple):
    """Nothing asked for, up to a position; sent when a stream was silent for long."""

    position: int


Item = Snapshot | Records | Nothing | Reset | Closed


class Streams:
    """Every public stream.

    Args:
        heartbeat: longest silence, seconds.
        slow_records: how far a subscriber may fall behind.
        draining: the server's.
    """

    def __init__(self, heartbeat: float, slow_records: int, draining: asyncio.Event) -> None:
        self.heartbeat = heartbeat
        self.slow_records = slow_records
        self.draining = draining
        self._broadcasts: dict[Hashable, Broadcast] = {}
        self._budget = Budget()

    async def close_when_draining(self) -> None:
        """Wakes every subscriber once the server drains, so that it says goodbye."""
        await self.draining.wait()
        for broadcast in self._broadcasts.values():
            broadcast.wake()

    @contextmanager
    def joined(self, feed: Feed, timeline: Timeline, terms: Terms, cursor: Cursor) -> Iterator[Broadcast]:
        """The broadcast that everybody with these terms shares, for as long as one of them is there."""
        key = (feed.plan.environment_id, terms)
        found = self._broadcasts.get(key)
        if found is None:
            found = self._broadcasts[key] = Broadcast(feed, timeline, terms, self._budget)
            found.task = detach(found.run(), name=f"broadcast:{feed.plan.environment_id}")
        found.cursors.add(cursor)
        try:
            yield found
        finally:
            found.cursors.discard(cursor)
            if not found.cursors:
                del self._broadcasts[key]
                found.close()


@dataclass(slots=True)
class Subscription:
    """A cursor on a feed.

    Attributes:
        after: where to resume; None to begin with a snapshot.
        expired: the token given was of another life: reset first.
    """

    streams: Streams
    feed: Feed
    terms: Terms
    after: int | None = None
    expired: bool = False

    async def items(self) -> AsyncIterator[Item]:
        """What to send; ends with `Closed` when the server drains or something fails, and otherwise never."""
        timeline = await self.feed.loaded()
        cursor = Cursor(self.after or 0)
        try:
            with self.streams.joined(self.feed, timeline, self.terms, cursor) as broadcast:
                async for item in self._follow(broadcast, timeline, cursor):
                    yield item
        except Exception as error:  # noqa: BLE001 whatever it is, subscribers are told before the stream ends
            yield Closed(api_error(error))

    async def _follow(self, broadcast: Broadcast, timeline: Timeline, cursor: Cursor) -> AsyncIterator[Item]:
        feed, streams = self.feed, self.streams
        expired = self.expired or cursor.position > feed.head
        if expired:
            yield Reset("TOKEN_EXPIRED", feed.head)
        if expired or self.after is None:
            cursor.position = feed.head
            yield Snapshot(cursor.position, timeline)
        # Who resumes is behind, but not slow: what was missed comes first, however much it is.
        catching_up, spoke = feed.head, monotonic()
        speak = self.after is not None
        while not streams.draining.is_set():
            changed = broadcast.changed
            if cursor.position >= catching_up and broadcast.head - cursor.position > streams.slow_records:
                yield Reset("SLOW_CONSUMER", feed.head)
                cursor.position = feed.head
                yield Snapshot(cursor.position, timeline)
                spoke = monotonic()
            elif cursor.position < broadcast.head:
                chunk = broadcast.next(cursor.position)
                cursor.position = chunk.through
                if chunk.data:
                    yield Records(cursor.position, chunk.data)
                    spoke, speak = monotonic(), False
                else:
                    await asyncio.sleep(0)
            elif speak or (due := spoke + streams.heartbeat - monotonic()) <= 0:
                # The first one comes at once: a quiet stream's headers travel with its first message.
                yield Nothing(cursor.position)
                spoke, speak = monotonic(), False
            else:
                await _wait(changed, due)
                if broadcast.task.done():
                    broadcast.task.result()
        yield Closed(ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is restarting; resume."))


async def _wait(changed: asyncio.Event, seconds: float) -> None:
    try:
        async with asyncio.timeout(seconds):
            await changed.wait()
    except TimeoutError:
        return
