"""Streams as cursors: sequenced, resumable, shared by all subscribers.

A partition's latest events lie in one ring, every subscriber is a position in it: 50 subscribers × 100k ticks/s took
half a core, where a queue for each was overloaded at 50 × 1k/s. Who falls out of the ring reads on from the store or,
where there is none, is reset to a snapshot. Neither slows the writer or makes memory grow.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final, Generic, Literal, TypeVar

from services.chassis.errors import ApiError, api_error
from services.chassis.streams.news import News
from services.chassis.streams.ring import Entry, Ring

E = TypeVar("E")

# 8192 events of 300 bytes and their objects are about 8 MB a partition, and 1.5 s of the writer's full speed.
RING: Final = 8192
# Events in one message: enough to spread a message's own cost (60 µs), a few 100 kB at most.
BATCH: Final = 1024
HEARTBEAT_SECONDS: Final = 10.0

ResetReason = Literal["TOKEN_EXPIRED", "SLOW_CONSUMER", "UPSTREAM_GAP"]


@dataclass(frozen=True, slots=True)
class Events(Generic[E]):
    """Events in order; all up to `scanned` was looked at."""

    entries: Sequence[Entry[E]]
    scanned: int

    @property
    def data(self) -> bytes:
        """All encodings in a row: with `length_delimited` entries a valid repeated field."""
        return b"".join([entry.data for entry in self.entries])


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """Nothing to send, but all up to `scanned` was looked at."""

    scanned: int


@dataclass(frozen=True, slots=True)
class Reset:
    """The cursor broke. Send a fresh snapshot and `seek` to its sequence; it goes on at `head` otherwise."""

    reason: ResetReason
    head: int


@dataclass(frozen=True, slots=True)
class Closed:
    """The last item: what ended the stream. Send `closed {status: error.to_status()}`, then raise the error."""

    error: ApiError


Item = Events[E] | Heartbeat | Reset | Closed
Read = Callable[[str, int, int], Awaitable[Sequence[Entry[E]]]]


class EventLog(Generic[E]):
    """The shared log of many partitions (environments).

    With `read` it is durable: what fell out of memory comes from the store. Without, it is a window on the newest.
    """

    def __init__(
        self,
        read: Read[E] | None = None,
        *,
        draining: asyncio.Event | None = None,
        ring: int = RING,
        batch: int = BATCH,
        heartbeat_seconds: float = HEARTBEAT_SECONDS,
    ) -> None:
        """Starts empty.

        Args:
            read: `read(partition, after, limit)` gives the stored entries with `sequence > after`, in order.
            draining: the server's; once set, subscriptions end with `Closed`.
            ring: entries kept in memory a partition.
            batch: most entries in one `Events`.
            heartbeat_seconds: longest silence.
        """
        self._read, self._draining = read, draining
        self._ring, self._batch, self._heartbeat = ring, batch, heartbeat_seconds
        self._partitions: defaultdict[str, Ring[E]] = defaultdict(Ring)
        self._closing: asyncio.Task[None] | None = None

    def recover(self, partition: str, head: int) -> None:
        """Says where a stored partition stands; call for each at start-up, before serving."""
        found = self._partitions[partition]
        found.head, found.entries = head, []
        found.wake()

    def head(self, partition: str) -> int:
        """The newest published sequence; 0 where there is none."""
        found = self._partitions.get(partition)
        return 0 if found is None else found.head

    def publish(self, partition: str, entries: Sequence[Entry[E]]) -> None:
        """Shows committed events to subscribers; call from the commit's `then`.

        Raises:
            ValueError: if the numbers leave a gap.
        """
        if not entries:
            return
        found = self._partitions[partition]
        if entries[0].sequence != found.head + 1 or entries[-1].sequence != found.head + len(entries):
            raise ValueError(f"{partition}: {entries[0].sequence} does not follow {found.head}")
        found.entries.extend(entries)
        found.head += len(entries)
        # Cut at double length, so that an append costs one move on average.
        if len(found.entries) > 2 * self._ring:
            del found.entries[: -self._ring]
        found.wake_after_answers()

    def recent(self, partition: str, after: int, most: int) -> list[Entry[E]]:
        """All that was published after a number; none where it is more than `most`, or not all in memory."""
        found = self._partitions[partition]
        return found.after(after, most) if found.before <= after and found.head <= after + most else []

    def flush(self, partition: str) -> None:
        """Sends what subscribers let wait; call where somebody waits until they have it."""
        found = self._partitions.get(partition)
        if found is not None:
            found.flush()

    def subscribe(
        self, partition: str, after: int | None = 0, accept: Callable[[E], bool] | None = None, *, delay: float = 0.0
    ) -> Subscription[E]:
        """A cursor that starts behind `after`: what was missed comes first, in order, nothing twice, without a gap.

        Args:
            partition: of which.
            after: the last sequence that is known; None for what comes from now on.
            accept: which events; default all.
            delay: how long events may wait for others to come with, seconds.
        """
        if self._draining is not None and self._closing is None:
            self._closing = asyncio.get_running_loop().create_task(self._close(self._draining))
        return Subscription(self, partition, self.head(partition) if after is None else after, accept, delay)

    async def _close(self, draining: asyncio.Event) -> None:
        await draining.wait()
        for partition in self._partitions.values():
            partition.wake()


class Subscription(Generic[E]):
    """An asynchronous iterator of items; one consumer."""

    def __init__(
        self, log: EventLog[E], partition: str, after: int, accept: Callable[[E], bool] | None, delay: float
    ) -> None:
        self._log = log
        self._name = partition
        self._accept = accept
        self._delay = delay
        self.position = after

    def seek(self, sequence: int) -> None:
        """Goes on behind `sequence`, which a snapshot just sent includes."""
        self.position = sequence

    async def __aiter__(self) -> AsyncIterator[Item[E]]:
        log, partition = self._log, self._log._partitions[self._name]  # noqa: SLF001 the log's other half
        # The first item comes at once: a quiet stream's headers travel with its first message.
        news = News(log._heartbeat, self._delay)  # noqa: SLF001
        partition.waiting.append(news)
        try:
            while True:
                news.clear()
                item = await self._next(partition)
                if item is not None:
                    yield item
                    if isinstance(item, Closed):
                        return
                    if isinstance(item, Events):
                        news.speak()
                elif news.overdue:
                    yield Heartbeat(self.position)
                    news.speak()
                elif self.position < partition.head:
                    # A filter that rejects everything must not keep the loop to itself.
                    await asyncio.sleep(0)
                else:
                    await news.wait()
        finally:
            partition.waiting.remove(news)
            news.close()

    async def _next(self, partition: Ring[E]) -> Events[E] | Reset | Closed | None:
        """What is to be told now; None where of what was looked at nothing is."""
        log = self._log
        if log._draining is not None and log._draining.is_set():  # noqa: SLF001
            return Closed(ApiError.unavailable("SERVICE_UNAVAILABLE", "The service is restarting; resume."))
        if self.position > partition.head:
            return self._reset("TOKEN_EXPIRED", partition.head)
        try:
            entries = await self._missed(partition)
        except Exception as error:  # noqa: BLE001 whatever it is, subscribers are told before the stream ends
            return Closed(api_error(error))
        if entries is None:
            return self._reset("SLOW_CONSUMER" if log._read is None else "TOKEN_EXPIRED", partition.head)  # noqa: SLF001
        if entries:
            self.position = entries[-1].sequence
            if (accept := self._accept) is not None:
                entries = [entry for entry in entries if accept(entry.event)]
        return Events(entries, self.position) if entries else None

    async def _missed(self, partition: Ring[E]) -> Sequence[Entry[E]] | None:
        """What follows the position, or None where it is gone."""
        log = self._log
        if self.position >= partition.before:
            return partition.after(self.position, log._batch)  # noqa: SLF001
        if log._read is None:  # noqa: SLF001
            return None
        head = partition.head
        entries = await log._read(self._name, self.position, log._batch)  # noqa: SLF001
        # What is stored beyond the head is committed but not yet published: it will come from the ring.
        entries = [entry for entry in entries if entry.sequence <= head]
        return entries if entries and entries[0].sequence == self.position + 1 else None

    def _reset(self, reason: ResetReason, head: int) -> Reset:
        self.seek(head)
        return Reset(reason, head)
