"""What a market says besides prices: auctions and halts, in lists, in streams, and where a stream begins (rule 15)."""

from collections import deque

import numpy as np
import pytest
from tickmesh.marketdata.v1 import market_data_pb2

from services.chassis.errors import ApiError
from services.domain.market import Auction, Halt
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.timeline import Timeline
from services.marketdata.environment import Plan
from services.marketdata.feed.broadcast import Selection
from services.marketdata.feed.feed import Feed, Feeds
from services.marketdata.feed.mapping import FeedWriter
from services.marketdata.feed.notices import NoticePage, Notices, standing
from tests.unit.marketdata.feeds import Known, parse

OPENING, CLOSING = market_data_pb2.AUCTION_TYPE_OPENING, market_data_pb2.AUCTION_TYPE_CLOSING
SECOND = 1_000_000_000


def series(kind: Kind, symbol: str, *rows: tuple[int, tuple[float, ...]]) -> Series:
    times = np.array([second * SECOND for second, _ in rows], np.int64)
    values = np.zeros((len(rows), 5))
    for row, (_, given) in enumerate(rows):
        values[row, : len(given)] = given
    return Series(Source(kind, symbol), times, times, values)


def tape() -> Tape:
    """A has auctions at 1 and 8; it stops at 3, which is told again at 4, and goes on at 6. B stops at 5 for good."""
    return merge(
        [
            series(Kind.TRADE, "A", *[(second, (2.0, 5.0)) for second in range(1, 9)]),
            series(Kind.TRADE, "B", (2, (3.0, 1.0))),
            series(Kind.AUCTION, "A", (1, (2.25, 30, 1)), (8, (2.5, 0, 0))),
            series(Kind.HALT, "A", (3, (1,)), (4, (1,)), (6, (0,))),
            series(Kind.HALT, "B", (5, (1,))),
        ]
    )


@pytest.fixture
def feed() -> Feed:
    made = tape()
    plan = Plan("replay-1", 1, "", "x", ("A", "B"), None, None, "d", 0, len(made), 0, "", "", "local", 0)
    return Feed(plan, len(made), Timeline(made), None, deque())  # type: ignore[arg-type]


@pytest.fixture
def notices(feed: Feed) -> Notices:
    feeds = Feeds()
    feeds._all[feed.plan.environment_id] = feed
    return Notices(feeds)


def test_rows_and_columns_say_the_same(feed: Feed) -> None:
    made, writer = tape(), FeedWriter(Known())
    chosen = np.flatnonzero([each.kind in {Kind.AUCTION, Kind.HALT} for each in made.sources])
    rows = np.flatnonzero(np.isin(made.source, chosen))
    columns = parse(writer.columns.encode(feed, made, rows)).columns
    as_rows = parse(writer.rows.encode(feed, made, rows)).rows
    assert [(each.symbol, each.auction_type, each.price, each.size) for each in as_rows.auctions] == [
        ("A", OPENING, "2.25", "30"),
        ("A", CLOSING, "2.50", ""),
    ]
    assert [each.event_time.seconds for each in as_rows.auctions] == [1, 8]
    auctions = columns.auctions
    assert [*auctions.auction_types] == [OPENING, CLOSING]
    assert [*auctions.prices] == [2.25, 2.5]
    assert [*auctions.sizes] == [30.0, 0.0]
    assert [*auctions.symbols] == [0, 0]
    assert [*auctions.tape_sequences] == [each.tape_sequence for each in as_rows.auctions]
    assert [(each.symbol, each.halted, each.event_time.seconds) for each in as_rows.halts] == [
        ("A", True, 3),
        ("A", True, 4),
        ("B", True, 5),
        ("A", False, 6),
    ]
    assert [*columns.halts.halted] == [True, True, True, False]
    assert [*columns.halts.symbols] == [0, 0, 1, 0]
    assert [*columns.halts.event_times] == [second * SECOND for second in (3, 4, 5, 6)]
    assert [*columns.halts.tape_sequences] == [each.tape_sequence for each in as_rows.halts]


def test_a_selection_wants_them_by_their_kinds_and_without_any() -> None:
    source = Source(Kind.HALT, "A")
    assert Selection().wants(source)
    assert Selection(kinds=frozenset({Kind.HALT})).wants(source)
    assert not Selection(kinds=frozenset({Kind.AUCTION})).wants(source)
    assert not Selection(symbols=frozenset({"B"})).wants(source)
    assert not Selection().wants(Source(Kind.SPLIT, "A"))


def test_a_stream_begins_with_the_halts_that_stand(feed: Feed) -> None:
    timeline, writer = feed.timeline, FeedWriter(Known())
    assert timeline is not None
    found = []
    for head in range(feed.plan.end_sequence + 1):
        feed.publish(head)
        snapshot = writer.snapshot(feed, frozenset(), timeline)
        found.append("".join(f"{each.symbol}{each.event_time.seconds}" for each in snapshot.halts))
    # Never before it has come, and only until trading goes on.
    assert list(dict.fromkeys(found)) == ["", "A3", "A4", "A4B5", "B5"]
    feed.publish(feed.plan.end_sequence)
    assert not writer.snapshot(feed, frozenset({"A"}), timeline).halts
    assert standing(timeline, "B", feed.head) == (Halt("B", 5 * SECOND, halted=True), found.index("A4B5"))


async def test_they_are_listed_by_symbol_time_and_position_and_never_of_the_future(
    feed: Feed, notices: Notices
) -> None:
    async def listed(
        kind: type[Auction] | type[Halt], symbol: str = "A", *, after: int = 0, size: int = 9
    ) -> list[int]:
        page = NoticePage(symbol, None, None, size)
        return [each.time // SECOND for each, _ in await notices.page(kind, "replay-1", page, after)]

    assert await listed(Auction) == [1, 8]
    assert await listed(Halt) == [3, 4, 6]
    assert await listed(Halt, "B") == [5]
    assert await listed(Auction, "B") == []
    # One more than asked for says that there are more.
    assert await listed(Halt, size=1) == [3, 4]
    ((_, first), *_) = await notices.page(Halt, "replay-1", NoticePage("A", None, None, 9), 0)
    assert await listed(Halt, after=first) == [4, 6]
    between = NoticePage("A", 4 * SECOND, 6 * SECOND, 9)
    assert [each.time for each, _ in await notices.page(Halt, "replay-1", between, 0)] == [4 * SECOND]
    feed.publish(first)
    assert await listed(Halt) == [3]
    feed.publish(first - 1)
    assert await listed(Halt) == []


async def test_what_is_not_there_is_not_found(notices: Notices) -> None:
    for environment_id, symbol, reason in (
        ("nobody", "A", "ENVIRONMENT_NOT_FOUND"),
        ("replay-1", "C", "INSTRUMENT_NOT_FOUND"),
    ):
        with pytest.raises(ApiError, match=reason):
            await notices.page(Auction, environment_id, NoticePage(symbol, None, None, 9), 0)
