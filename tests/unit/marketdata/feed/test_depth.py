"""What lies behind a quote's best prices: as it is kept, as it is shown, and as it is streamed."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from tickmesh.marketdata.v1 import market_data_pb2

from services.domain.market import PriceLevel
from services.domain.tape import Kind, Tape, merge
from services.domain.timeline import Timeline
from services.marketdata.feed.feed import latest
from services.marketdata.feed.mapping import FeedWriter
from services.marketdata.feed.quotes import _read, _write
from services.marketdata.mapping import quote_to_proto
from services.marketdata.tapes.cutting import _between
from services.marketdata.tapes.files import TapeFiles
from tests.unit.domain.venue.matching_reference import MINUTE, deep, series
from tests.unit.marketdata.feeds import Known, feed_of, parse

BEST = (1.01, 1.02, 5, 6)
BEHIND = [(1.00, 7, 1.03, 8), (0.99, 9, 0, 0), (0.98, 4, 0, 0)]
Shown = list[tuple[str, str]]


def market() -> Tape:
    """Quotes of A, deep, plain and deep again, of a B that has nothing but best ones in between, and a split of A."""
    of_a = deep(series(Kind.QUOTE, "A", [(1, 1, BEST), (3, 3, BEST), (5, 5, BEST)]), [BEHIND, [], BEHIND[:2]])
    of_b = series(Kind.QUOTE, "B", [(2, 2, BEST), (4, 4, BEST)])
    return merge([of_a, of_b, series(Kind.SPLIT, "A", [(6, 6, (2, 1))])])


def shown(levels: Sequence[market_data_pb2.PriceLevel]) -> Shown:
    return [(each.price, each.size) for each in levels]


@pytest.mark.parametrize(
    ("depth", "bids", "asks"),
    [
        (0, [], []),
        (1, [], []),
        (2, [("1.01", "5"), ("1.00", "7")], [("1.02", "6"), ("1.03", "8")]),
        (9, [("1.01", "5"), ("1.00", "7"), ("0.99", "9"), ("0.98", "4")], [("1.02", "6"), ("1.03", "8")]),
    ],
)
def test_rows_bring_as_many_levels_as_are_asked_for(depth: int, bids: Shown, asks: Shown) -> None:
    tape = market()
    rows = parse(FeedWriter(Known()).rows.encode(feed_of(tape), tape, np.arange(5), depth)).rows
    assert [(shown(each.bids), shown(each.asks)) for each in rows.quotes[:4]] == [(bids, asks), *[([], [])] * 3]
    assert len(rows.quotes[4].bids) == min(len(bids), 3)
    instrument = Known().get("A")
    quote = latest(Timeline(tape), "A", 1)
    assert quote is not None
    found = quote_to_proto(quote, "r", instrument, 0, depth)
    assert (shown(found.bids), shown(found.asks)) == (bids, asks)


@pytest.mark.parametrize("depth", [1, 2, 3, 9])
def test_columns_say_what_rows_say(depth: int) -> None:
    tape = market()
    writer, feed = FeedWriter(Known()), feed_of(tape)
    rows = parse(writer.rows.encode(feed, tape, np.arange(5), depth)).rows.quotes
    # In two windows, whose bytes follow each other.
    windows = [writer.columns.encode(feed, tape, part, depth) for part in (np.arange(2), np.arange(2, 5))]
    quotes = parse(b"".join(windows)).columns.quotes
    counts = list(quotes.level_counts)
    assert len(counts) == (5 if depth > 1 else 0)
    ends = np.cumsum(counts).tolist()
    for row, count, end in zip(rows, counts, ends, strict=False):
        for side, prices, sizes in (
            (row.bids, quotes.level_bid_prices, quotes.level_bid_sizes),
            (row.asks, quotes.level_ask_prices, quotes.level_ask_sizes),
        ):
            own = [pair for pair in zip(prices[end - count : end], sizes[end - count : end], strict=True) if pair[0]]
            assert own == [(float(each.price), float(each.size)) for each in side[1:]]
    assert len(quotes.level_ask_sizes) == (ends[-1] if ends else 0)


def test_the_latest_levels_are_in_today_s_units_and_stay_so_in_the_cache() -> None:
    found = latest(Timeline(market()), "A", 6)
    assert found is not None
    assert found.bids == (PriceLevel(0.505, 10), PriceLevel(0.5, 14), PriceLevel(0.495, 18))
    assert found.asks == (PriceLevel(0.51, 12), PriceLevel(0.515, 16))
    assert (found.bid_size, found.ask_size) == (10, 12)
    assert _read(_write(found)) == found


async def test_a_kept_tape_has_its_levels_and_one_kept_before_there_were_any_none(tmp_path: Path) -> None:
    tape, plain = market(), merge([series(Kind.QUOTE, "A", [(1, 1, BEST)])])
    files = TapeFiles(tmp_path)
    digest, older = await files.save(tape), await files.save(plain)
    with np.load(tmp_path / f"{older}.npz") as arrays:
        columns = {name: arrays[name] for name in ("sources", "source", "time", "start", "values")}
    np.savez(tmp_path / f"{older}.npz", **columns)  # type: ignore[arg-type]
    found, before = await TapeFiles(tmp_path).load(digest), await TapeFiles(tmp_path).load(older)
    assert found is not None
    assert [found.record(n) for n in range(1, 7)] == [tape.record(n) for n in range(1, 7)]
    assert before is not None
    assert before.record(1) == plain.record(1)


def test_a_part_of_a_source_has_its_own_levels() -> None:
    quotes = deep(series(Kind.QUOTE, "A", [(n, n, BEST) for n in range(4)]), [BEHIND[:1], BEHIND, [], BEHIND[:2]])
    part = _between(quotes, MINUTE, 3 * MINUTE)
    assert [len(part.levels.of(row)) for row in range(3)] == [3, 0, 2]
