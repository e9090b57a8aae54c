"""Broadcasts: encoded once, shared as the same bytes, joined for who lags; and the columns on the wire."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tickmesh.marketdata.v1 import market_data_pb2, market_data_service_pb2, tape_service_pb2

from services.chassis.streams.event_log import Closed, Reset
from services.chassis.streams.tokens import ResumeTokens
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.timeline import Timeline
from services.marketdata.feed import broadcast as module
from services.marketdata.feed.broadcast import Selection, Terms
from services.marketdata.feed.feed import Feed
from services.marketdata.feed.mapping import FeedWriter, write
from services.marketdata.feed.streams import Item, Nothing, Records, Snapshot, Streams, Subscription
from services.wire.columns import packed_varints
from services.wire.streams import Cursor, Envelopes
from services.wire.tapes import stretches_to_proto
from tests.unit.marketdata.feeds import Known, feed_of, parse

COUNT = 300
MINUTE = 60_000_000_000
EVERYTHING = Selection()


def tape() -> Tape:
    """Quotes of A, trades of B and a minute bar of each, all interleaved."""
    times = (np.arange(COUNT, dtype=np.int64) + 100) * 1_000_000_000
    quotes, trades, bars = (np.zeros((COUNT, 5)) for _ in range(3))
    steps = np.arange(COUNT)
    quotes[:, 0], quotes[:, 1] = np.round(1 + steps * 0.01, 2), np.round(1.01 + steps * 0.01, 2)
    quotes[:, 2:4] = steps[:, None]
    trades[:, 0], trades[:, 1] = np.round(2 + steps * 0.01, 2), 5
    bars[:] = (1, 2, 0.5, 1.5, 10)
    own = (
        (Kind.QUOTE, "A", "", times, times, quotes),
        (Kind.TRADE, "B", "", times, times, trades),
        (Kind.BAR, "A", "1m", times, times - MINUTE, bars),
    )
    return merge(
        [Series(Source(kind, symbol, name), time, start, values) for kind, symbol, name, time, start, values in own]
    )


@pytest.fixture
def feed() -> Feed:
    return feed_of(tape())


@pytest.fixture
def writer() -> FeedWriter:
    return FeedWriter(Known())


@asynccontextmanager
async def subscribed(
    feed: Feed, writer: FeedWriter, streams: Streams, selection: Selection = EVERYTHING, **more: object
) -> AsyncIterator[AsyncIterator[Item]]:
    terms = Terms(selection, writer.columns, 0.0)
    subscription = Subscription(streams, feed, terms, **more)  # type: ignore[arg-type]
    items = subscription.items()
    try:
        yield items
    finally:
        await items.aclose()  # type: ignore[attr-defined]


async def test_everybody_who_asked_the_same_gets_the_same_bytes(feed: Feed, writer: FeedWriter) -> None:
    streams = Streams(15, 1_000_000, asyncio.Event())
    async with subscribed(feed, writer, streams) as one, subscribed(feed, writer, streams) as two:
        assert isinstance(await anext(one), Snapshot)
        assert isinstance(await anext(two), Snapshot)
        feed.publish(100)
        first, second = await anext(one), await anext(two)
        assert isinstance(first, Records)
        assert isinstance(second, Records)
        assert first.data is second.data
        assert len(streams._broadcasts) == 1
    assert not streams._broadcasts


async def test_who_lags_gets_windows_joined_into_one_valid_message(feed: Feed, writer: FeedWriter) -> None:
    streams = Streams(15, 1_000_000, asyncio.Event())
    async with subscribed(feed, writer, streams) as quick, subscribed(feed, writer, streams) as slow:
        await anext(quick)
        await anext(slow)
        windows = []
        for head in (1, 50, 51, 400):
            feed.publish(head)
            windows.append(await anext(quick))
        item = await anext(slow)
        assert isinstance(item, Records)
        assert item.position == 400
        joined = parse(item.data).columns
        assert item.data == b"".join(each.data for each in windows if isinstance(each, Records))
        sequences = sorted([*joined.quotes.tape_sequences, *joined.trades.tape_sequences, *joined.bars.tape_sequences])
        assert sequences == list(range(1, 401))


async def test_who_begins_or_resumes_in_mid_window_gets_the_rest_of_it(feed: Feed, writer: FeedWriter) -> None:
    streams = Streams(15, 1_000_000, asyncio.Event())
    async with subscribed(feed, writer, streams) as first:
        await anext(first)
        feed.publish(100)
        await anext(first)
        feed.publish(200)
        await anext(first)
        async with subscribed(feed, writer, streams, after=150) as other:
            item = await anext(other)
            assert isinstance(item, Records)
            assert item.position == 200
            found = parse(item.data).columns
            assert min(found.quotes.tape_sequences) > 150


async def test_what_is_kept_is_bounded(feed: Feed, writer: FeedWriter, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT_BYTES", 2_000)
    streams = Streams(15, 1_000_000, asyncio.Event())
    async with subscribed(feed, writer, streams) as quick, subscribed(feed, writer, streams) as slow:
        await anext(quick)
        await anext(slow)
        for head in range(10, 900, 10):
            feed.publish(head)
            await anext(quick)
        (broadcast,) = streams._broadcasts.values()
        # The newest window may go beyond.
        assert broadcast._bytes <= 3_000
        assert streams._budget.used == broadcast._bytes
        position, got = 0, []
        while position < 890:
            item = await anext(slow)
            assert isinstance(item, Records)
            assert item.position > position
            position = item.position
            got += parse(item.data).columns.quotes.tape_sequences
        assert got == sorted(set(got))
        kinds = feed.timeline.tape.source[:890]  # type: ignore[union-attr]
        assert len(got) == int((kinds == 0).sum())


async def test_nothing_is_kept_that_everybody_has(feed: Feed, writer: FeedWriter) -> None:
    streams = Streams(15, 1_000_000, asyncio.Event())
    async with subscribed(feed, writer, streams) as quick, subscribed(feed, writer, streams) as slow:
        await anext(quick)
        await anext(slow)
        (broadcast,) = streams._broadcasts.values()
        kept = []
        for head in range(10, 500, 10):
            feed.publish(head)
            await anext(quick)
            kept.append(len(broadcast._chunks))
        assert kept == list(range(1, 50))
        await anext(slow)
        feed.publish(500)
        await anext(quick)
        assert [each.through for each in broadcast._chunks] == [500]
    assert streams._budget.used == 0


async def test_all_broadcasts_share_one_budget(feed: Feed, writer: FeedWriter) -> None:
    streams = Streams(15, 1_000_000, asyncio.Event())
    streams._budget.limit = 5_000
    async with AsyncExitStack() as stack:
        selections = [Selection(symbols=frozenset({"A", str(number)})) for number in range(20)]
        slow = [await stack.enter_async_context(subscribed(feed, writer, streams, each)) for each in selections]
        for items in slow:
            await anext(items)
        quick = [await stack.enter_async_context(subscribed(feed, writer, streams, each)) for each in selections]
        for items in quick:
            await anext(items)
        for head in range(50, 900, 50):
            feed.publish(head)
            for items in quick:
                await anext(items)
            # Each keeps its newest window.
            assert streams._budget.used <= 5_000 + sum(
                len(each._chunks[-1].data) + module.CHUNK_BYTES for each in streams._broadcasts.values()
            )
        first = await anext(slow[0])
        assert isinstance(first, Records)
    assert streams._budget.used == 0


async def test_a_selection_by_symbol_kind_and_interval(feed: Feed, writer: FeedWriter) -> None:
    streams = Streams(15, 1_000_000, asyncio.Event())
    for selection, expected in (
        (Selection(symbols=frozenset("A")), {"quotes", "bars"}),
        (Selection(kinds=frozenset({Kind.TRADE})), {"trades"}),
        (Selection(intervals=frozenset({"5m"})), {"quotes", "trades"}),
        (Selection(), {"quotes", "trades", "bars"}),
    ):
        async with subscribed(feed, writer, streams, selection) as items:
            await anext(items)
            feed.publish(feed.head + 30)
            item = await anext(items)
            assert isinstance(item, Records)
            assert {field.name for field, _ in parse(item.data).columns.ListFields()} == expected


def test_rows_and_columns_say_the_same(feed: Feed, writer: FeedWriter) -> None:
    made = feed.timeline.tape  # type: ignore[union-attr]
    rows = np.arange(60)
    columns = parse(writer.columns.encode(feed, made, rows)).columns
    as_rows = parse(writer.rows.encode(feed, made, rows)).rows
    assert [float(each.bid_price) for each in as_rows.quotes] == list(columns.quotes.bid_prices)
    assert [each.bid_price for each in as_rows.quotes][:3] == ["1.00", "1.01", "1.02"]
    assert [each.bid_size for each in as_rows.quotes][:2] == ["", "1"]
    assert [float(each.price) for each in as_rows.trades] == list(columns.trades.prices)
    assert [each.tape_sequence for each in as_rows.bars] == list(columns.bars.tape_sequences)
    assert {(each.symbol, each.interval, each.final) for each in as_rows.bars} == {("A", "1m", True)}
    assert list(columns.trades.symbols) == [1] * len(as_rows.trades)
    assert columns.quotes.event_times[1] == 101_000_000_000
    assert columns.bars.start_times[1] == columns.bars.end_times[1] - MINUTE


async def test_messages_follow_each_other_whatever_they_bring(feed: Feed, writer: FeedWriter) -> None:
    request, tokens = market_data_service_pb2.StreamMarketDataRequest(), ResumeTokens("life")
    request.resume_token = Cursor(request, tokens).token("replay-1", 3)
    cursor = Cursor(request, tokens)
    envelopes = Envelopes(market_data_service_pb2.StreamMarketDataResponse, "replay-1", cursor)
    records = writer.columns.encode(feed, tape(), np.arange(3, 9))
    items = [Records(9, records), Nothing(12), Reset("SLOW_CONSUMER", 20), Snapshot(21, Timeline(tape()))]
    made = [parse(write(envelopes, each, partial(writer.snapshot, feed, frozenset()))) for each in items]
    assert [each.WhichOneof("event") for each in made] == ["columns", "heartbeat", "reset", "snapshot"]
    assert [(each.previous_sequence, each.sequence) for each in made] == [(3, 9), (9, 12), (12, 20), (20, 21)]
    assert [each.resume_token for each in made] == [cursor.token("replay-1", n) for n in (9, 12, 20, 21)]
    assert made[0].columns == parse(records).columns
    assert {each.partition for each in made} == {"replay-1"}


@given(st.lists(st.integers(0, 16_383), max_size=50))
def test_packed_varints(values: list[int]) -> None:
    data = packed_varints(3, np.array(values, np.int32))
    assert list(market_data_pb2.QuoteColumns.FromString(data).symbols) == values


def test_a_chunk_of_tape(feed: Feed) -> None:
    made = feed.timeline.tape  # type: ignore[union-attr]
    (data,) = stretches_to_proto(made, 10, len(made))
    chunk = tape_service_pb2.ReadTapeResponse.FromString(data)
    assert (chunk.first_sequence, chunk.end_sequence, len(chunk.sources)) == (11, 900, 3)
    assert list(chunk.time) == made.time[10:].tolist()
    assert list(chunk.values) == made.values[10:].ravel().tolist()
    assert list(chunk.source) == made.source[10:].tolist()
    assert [(each.kind, each.symbol, each.interval) for each in chunk.sources] == [
        (3, "A", ""),
        (4, "B", ""),
        (5, "A", "1m"),
    ]


async def test_a_broadcast_that_fails_closes_its_subscribers_with_a_status(
    feed: Feed, writer: FeedWriter, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(_: object) -> None:
        raise KeyError("secret")

    monkeypatch.setattr(module.Broadcast, "run", fail)
    async with asyncio.timeout(5), subscribed(feed, writer, Streams(0.02, 1000, asyncio.Event())) as items:
        *_, last = [item async for item in items]
    assert isinstance(last, Closed)
    assert last.error.reason == "INTERNAL_ERROR"
