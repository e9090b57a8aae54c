"""A stream is a cursor: what was missed comes first, in order, without a gap and nothing twice."""

import asyncio
import random
from collections.abc import AsyncIterator, Sequence

import pytest
import sqlalchemy as sa

from services.chassis.errors import ApiError
from services.chassis.storage.writer import Groups, Writer
from services.chassis.streams.event_log import Closed, EventLog, Events, Heartbeat, Item, Reset, Subscription
from services.chassis.streams.news import News
from services.chassis.streams.ring import Entry


class Store:
    """Committed events; `read` takes a moment, as a database does."""

    def __init__(self) -> None:
        self.rows: list[Entry[int]] = []
        self.reads = 0

    async def read(self, partition: str, after: int, limit: int) -> Sequence[Entry[int]]:
        self.reads += 1
        await asyncio.sleep(0)
        return [entry for entry in self.rows if entry.sequence > after][:limit]


class Feed:
    """A writer with a durable log."""

    def __init__(self, *, durable: bool = True, ring: int = 8, batch: int = 4, heartbeat: float = 15.0) -> None:
        self.store = Store()
        self.draining = asyncio.Event()
        self.log: EventLog[int] = EventLog(
            self.store.read if durable else None,
            draining=self.draining,
            ring=ring,
            batch=batch,
            heartbeat_seconds=heartbeat,
        )

    def write(self, count: int) -> None:
        head = len(self.store.rows)
        entries = [Entry(head + n, head + n, b"%d," % (head + n)) for n in range(1, count + 1)]
        self.store.rows += entries
        self.log.publish("r1", entries)


async def take(items: AsyncIterator[Item[int]], count: int) -> list[Item[int]]:
    async with asyncio.timeout(5):
        return [await anext(items) for _ in range(count)]


async def sequences(subscription: Subscription[int], until: int) -> list[int]:
    found: list[int] = []
    async with asyncio.timeout(5):
        async for item in subscription:
            if isinstance(item, Events):
                found += [entry.sequence for entry in item.entries]
            if isinstance(item, Events | Heartbeat) and item.scanned >= until:
                break
    return found


async def test_missed_events_come_first_then_live_ones() -> None:
    feed = Feed()
    feed.write(3)
    items = aiter(feed.log.subscribe("r1", after=1))
    [missed] = await take(items, 1)
    feed.write(1)
    [live] = await take(items, 1)
    assert isinstance(missed, Events)
    assert isinstance(live, Events)
    assert [entry.sequence for entry in missed.entries] == [2, 3]
    assert (missed.scanned, missed.data) == (3, b"2,3,")
    assert (live.scanned, live.data) == (4, b"4,")


async def test_many_events_travel_in_one_item() -> None:
    feed = Feed(ring=100, batch=50)
    subscription = feed.log.subscribe("r1")
    reader = asyncio.create_task(take(aiter(subscription), 3))
    await asyncio.sleep(0.01)
    feed.write(30)
    feed.write(40)
    _, first, second = await reader
    assert isinstance(first, Events)
    assert isinstance(second, Events)
    assert (len(first.entries), len(second.entries)) == (50, 20)


async def test_events_out_of_memory_come_from_the_store() -> None:
    feed = Feed(ring=8)
    feed.write(100)
    assert await sequences(feed.log.subscribe("r1"), 100) == list(range(1, 101))
    assert feed.store.reads > 0


async def test_after_a_restart_the_whole_history_comes_from_the_store() -> None:
    before = Feed()
    before.write(20)
    after = Feed()
    after.store.rows = before.store.rows
    after.log.recover("r1", 20)
    early = asyncio.create_task(sequences(after.log.subscribe("r1", after=18), 20))
    assert after.log.head("r1") == 20
    assert await early == [19, 20]
    assert await sequences(after.log.subscribe("r1", after=5), 20) == list(range(6, 21))


@pytest.mark.parametrize("seed", range(20))
async def test_whatever_the_interleaving_each_event_comes_once_and_in_order(seed: int) -> None:
    rng = random.Random(seed)
    feed = Feed(ring=rng.randint(1, 16), batch=rng.randint(1, 8))
    total = 300

    async def write() -> None:
        while len(feed.store.rows) < total:
            feed.write(min(rng.randint(1, 12), total - len(feed.store.rows)))
            for _ in range(rng.randint(0, 3)):
                await asyncio.sleep(0)

    starts = [rng.randint(0, 5) for _ in range(5)]
    feed.write(5)
    readers = [asyncio.create_task(sequences(feed.log.subscribe("r1", start), total)) for start in starts]
    await write()
    for start, reader in zip(starts, readers, strict=True):
        assert await reader == list(range(start + 1, total + 1))


async def test_events_stored_but_not_yet_published_are_not_sent_ahead() -> None:
    feed = Feed(ring=2)
    feed.write(10)
    feed.store.rows.append(Entry(11, 11))
    assert await sequences(feed.log.subscribe("r1"), 10) == list(range(1, 11))
    feed.log.publish("r1", [Entry(11, 11)])
    assert await sequences(feed.log.subscribe("r1", after=10), 11) == [11]


async def test_a_filtered_stream_names_the_last_one_sent_and_how_far_it_has_scanned() -> None:
    feed = Feed(ring=100, batch=10)
    feed.write(20)
    items = aiter(feed.log.subscribe("r1", accept=lambda event: event in (3, 15)))
    first, second = await take(items, 2)
    assert isinstance(first, Events)
    assert isinstance(second, Events)
    assert (first.entries[-1].sequence, first.scanned) == (3, 10)
    assert (second.entries[-1].sequence, second.scanned) == (15, 20)


async def test_a_quiet_stream_beats_with_the_position_it_has_scanned() -> None:
    feed = Feed(heartbeat=0.02, ring=100)
    feed.write(20)
    items = aiter(feed.log.subscribe("r1", accept=lambda event: False))
    beats = await take(items, 8)
    assert all(isinstance(beat, Heartbeat) for beat in beats)
    assert beats[-1] == Heartbeat(scanned=20)


async def test_the_first_message_comes_at_once_also_when_there_is_nothing() -> None:
    feed = Feed()
    assert await take(aiter(feed.log.subscribe("r1")), 1) == [Heartbeat(0)]


async def test_a_position_beyond_the_head_has_expired() -> None:
    feed = Feed()
    feed.write(3)
    subscription = feed.log.subscribe("r1", after=9)
    items = aiter(subscription)
    assert await take(items, 1) == [Reset("TOKEN_EXPIRED", 3)]
    feed.write(1)
    [item] = await take(items, 1)
    assert isinstance(item, Events)
    assert [entry.sequence for entry in item.entries] == [4]


async def test_who_names_no_sequence_gets_what_comes_from_now_on() -> None:
    feed = Feed()
    feed.write(3)
    subscription = feed.log.subscribe("r1", after=None)
    feed.write(1)
    assert await sequences(subscription, 4) == [4]


async def test_history_that_is_no_longer_kept_has_expired() -> None:
    feed = Feed(ring=2)
    feed.write(10)
    del feed.store.rows[:3]
    assert await take(aiter(feed.log.subscribe("r1", after=1)), 1) == [Reset("TOKEN_EXPIRED", 10)]


async def test_a_slow_consumer_of_a_log_in_memory_is_reset_and_goes_on_from_its_snapshot() -> None:
    feed = Feed(durable=False, ring=4)
    feed.write(1)
    subscription = feed.log.subscribe("r1")
    items = aiter(subscription)
    await take(items, 1)
    feed.write(50)
    assert await take(items, 1) == [Reset("SLOW_CONSUMER", 51)]
    feed.write(2)
    subscription.seek(feed.log.head("r1"))
    feed.write(1)
    [item] = await take(items, 1)
    assert isinstance(item, Events)
    assert [entry.sequence for entry in item.entries] == [54]


async def test_memory_stays_bounded_and_a_slow_consumer_slows_nobody() -> None:
    feed = Feed(durable=False, ring=100, batch=100)
    slow = aiter(feed.log.subscribe("r1"))
    await take(slow, 1)
    quick = feed.log.subscribe("r1")
    reader = asyncio.create_task(sequences(quick, 10_000))
    for _ in range(1000):
        feed.write(10)
        await asyncio.sleep(0)
    assert len(await reader) == 10_000
    assert len(feed.log._partitions["r1"].entries) <= 200


async def test_draining_closes_every_subscription_with_a_status() -> None:
    feed = Feed()
    items = aiter(feed.log.subscribe("r1"))
    await take(items, 1)
    waiting = asyncio.create_task(take(items, 1))
    await asyncio.sleep(0.01)
    feed.draining.set()
    [closed] = await waiting
    assert isinstance(closed, Closed)
    assert closed.error.reason == "SERVICE_UNAVAILABLE"
    assert [item async for item in items] == []


@pytest.mark.parametrize(
    ("failure", "reason"),
    [(ApiError.unavailable("SERVICE_UNAVAILABLE", "away"), "SERVICE_UNAVAILABLE"), (KeyError("x"), "INTERNAL_ERROR")],
)
async def test_a_store_that_fails_closes_the_subscription_with_the_status(failure: Exception, reason: str) -> None:
    feed = Feed(ring=2)
    feed.write(10)

    async def read(partition: str, after: int, limit: int) -> list[Entry[int]]:
        if after:
            raise failure
        return await feed.store.read(partition, after, limit)

    feed.log._read = read
    *before, closed = [item async for item in feed.log.subscribe("r1")]
    assert len(before) == 1
    assert isinstance(closed, Closed)
    assert closed.error.reason == reason


async def test_a_gap_is_refused_when_it_is_written() -> None:
    feed = Feed()
    feed.write(1)
    with pytest.raises(ValueError, match="does not follow"):
        feed.log.publish("r1", [Entry(3, 3)])
    feed.log.publish("r1", [])


async def test_who_asked_for_what_was_committed_is_answered_before_subscribers_are_told() -> None:
    feed, told = Feed(), list[str]()
    writer = Writer(commit_nothing)

    async def subscribe() -> None:
        async for item in feed.log.subscribe("r1"):
            if isinstance(item, Events):
                told.append("event")
                return

    async def decide(answer: asyncio.Future[None]) -> None:
        await writer.commit([(sa.text("a row"), [{"n": 1}])], lambda: feed.write(1))
        answer.set_result(None)

    async def hand_on(answer: asyncio.Future[None], news: News) -> None:
        await answer
        news.tell()

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        subscribed = group.create_task(subscribe())
        await asyncio.sleep(0.01)
        # As an order's acknowledgement goes: from the desk to its session, and from there to its stream.
        answer, news = asyncio.get_running_loop().create_future(), News(10.0)
        news.speak()
        group.create_task(decide(answer))
        group.create_task(hand_on(answer, news))
        await news.wait()
        told.append("answer")
        await subscribed
    assert told == ["answer", "event"]


async def commit_nothing(groups: Groups) -> None:
    await asyncio.sleep(0)


async def test_who_lets_events_wait_is_sent_them_together_when_somebody_needs_them_there() -> None:
    feed = Feed(ring=100, batch=50)
    patient, prompt = aiter(feed.log.subscribe("r1", delay=60.0)), aiter(feed.log.subscribe("r1"))
    for each in (patient, prompt):
        await take(each, 1)
    waiting = asyncio.create_task(take(patient, 1))
    for _ in range(3):
        feed.write(1)
        await take(prompt, 1)
    assert not waiting.done()
    feed.log.flush("r1")
    [together] = await waiting
    assert isinstance(together, Events)
    assert [entry.sequence for entry in together.entries] == [1, 2, 3]


async def test_events_of_which_nobody_has_been_told_yet_are_flushed_too() -> None:
    feed = Feed()
    patient = asyncio.create_task(take(aiter(feed.log.subscribe("r1", delay=60.0)), 2))
    await asyncio.sleep(0.01)
    feed.write(2)
    feed.log.flush("r1")
    _, together = await patient
    assert isinstance(together, Events)
    assert together.scanned == 2
    feed.log.flush("r9")


async def test_recent_events_are_told_whole_or_not_at_all() -> None:
    feed = Feed(ring=4)
    feed.write(20)
    first = feed.log._partitions["r1"].before
    assert [entry.sequence for entry in feed.log.recent("r1", 18, 2)] == [19, 20]
    assert feed.log.recent("r1", 20, 2) == []
    assert feed.log.recent("r1", 17, 2) == []
    assert len(feed.log.recent("r1", first, 20)) == 20 - first
    assert feed.log.recent("r1", first - 1, 20) == []
    assert feed.log.recent("r9", 0, 20) == []


async def test_events_wait_no_longer_than_they_may() -> None:
    feed = Feed()
    feed.write(3)
    patient = feed.log.subscribe("r1", delay=0.02)
    writing = asyncio.get_running_loop().call_later(0.01, lambda: feed.write(3))
    assert await sequences(patient, 6) == [1, 2, 3, 4, 5, 6]
    writing.cancel()


async def test_a_stream_that_lets_events_wait_ends_at_once_with_the_service() -> None:
    feed = Feed()
    items = aiter(feed.log.subscribe("r1", delay=60.0))
    await take(items, 1)
    waiting = asyncio.create_task(take(items, 1))
    await asyncio.sleep(0.01)
    feed.write(1)
    feed.draining.set()
    assert isinstance((await waiting)[0], Closed)


async def test_partitions_do_not_meet() -> None:
    feed = Feed()
    feed.write(3)
    feed.log.publish("r2", [Entry(1, 1)])
    assert (feed.log.head("r1"), feed.log.head("r2"), feed.log.head("r3")) == (3, 1, 0)
    assert await sequences(feed.log.subscribe("r2"), 1) == [1]
