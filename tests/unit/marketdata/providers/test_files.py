"""CSV data sets: how times, dates and numbers are read."""

import json
from pathlib import Path

import numpy as np
import pytest

from services.domain.instrument import Instrument
from services.domain.market import Auction, Halt
from services.domain.tape import Kind, merge
from services.marketdata.providers.checks import accept
from services.marketdata.providers.files import FilesProvider
from services.marketdata.reference.sessions import DAY_NS, Sessions

HOUR = 3_600_000_000_000
DAY = 15_706  # 2013-01-01
OPENS = np.array([DAY, DAY + 1, DAY + 3], np.int64) * DAY_NS + 14 * HOUR
SESSIONS = {"XTST": Sessions("XTST", OPENS, OPENS + 6 * HOUR, (DAY - 10) * DAY_NS, (DAY + 10) * DAY_NS)}
INSTRUMENT = {"symbol": "ABC", "calendar": "XTST", "price_increment": 0.01, "currency_code": "EUR", "display_name": "A"}


def provider(folder: Path, **files: str) -> FilesProvider:
    (folder / "set").mkdir()
    (folder / "set" / "data_set.json").write_text(json.dumps({"instruments": [INSTRUMENT], "max_move": 3}))
    for name, text in files.items():
        (folder / "set" / f"{name.replace('_', '.')}.csv").write_text(text)
    return FilesProvider(folder)


def test_a_data_set_is_described_without_reading_it_all(tmp_path: Path) -> None:
    found = provider(
        tmp_path,
        bars_1d="symbol,start,open,high,low,close,volume\nABC,2013-01-01,1,1,1,1,1\nABC,2013-01-02,1,1,1,1,1\n",
        trades="symbol,time,price,size\nABC,2013-01-02T15:00:00Z,1,1\n",
    )
    (listed,) = found.data_sets({})
    assert (listed.data_set_id, listed.display_name, listed.record_count, listed.max_move) == ("set", "set", 3, 3.0)
    assert (listed.kinds, listed.symbols) == (("BAR 1d", "TRADE"), ("ABC",))
    assert (listed.start_time, listed.end_time) == (DAY * DAY_NS, (DAY + 1) * DAY_NS + 15 * HOUR)
    assert str(listed.instruments[0].price_increment) == "0.01"
    assert (listed.instruments[0].name, listed.instruments[0].currency_code) == ("A", "EUR")
    assert found.calendars() == ["XTST"]


def test_bare_dates_lie_in_their_sessions(tmp_path: Path) -> None:
    found = provider(
        tmp_path,
        bars_1d="symbol,start,open,high,low,close,volume\nABC,2013-01-01,1,2,1,2,7\nABC,2013-01-03,1,2,1,2,7\n",
        splits="symbol,time,numerator,denominator\nABC,2013-01-02,2,1\n",
    )
    bars, splits = found.read("set", frozenset({"ABC"}), SESSIONS)
    # The third of January has no session.
    assert (bars.start.tolist(), bars.time.tolist(), bars.unread) == (
        [OPENS[0]],
        [OPENS[0] + 6 * HOUR],
        {"unreadable": 1},
    )
    assert (splits.source.kind, splits.time.tolist(), splits.start.tolist()) == (Kind.SPLIT, [OPENS[1]], [OPENS[1]])


def test_a_bare_date_of_two_sessions_is_both(tmp_path: Path) -> None:
    found = provider(
        tmp_path,
        bars_1d="symbol,start,open,high,low,close,volume\nABC,2013-01-01,1,2,1,2,7\nABC,2013-01-02,1,2,1,2,7\n",
        bars_5m="symbol,start,open,high,low,close,volume\nABC,2013-01-01,1,2,1,2,7\n",
        auctions="symbol,time,auction,price\nABC,2013-01-01,open,1\nABC,2013-01-01,close,2\nABC,2013-01-02,open,2\n"
        f"ABC,{OPENS[1] + 7},close,2\nABC,2013-01-03,close,2\n",
    )
    opens = np.array([OPENS[0], OPENS[0] + 2 * HOUR, OPENS[1]], np.int64)
    sessions = Sessions("XTST", opens, opens + HOUR, (DAY - 10) * DAY_NS, (DAY + 10) * DAY_NS)
    auctions, days, minutes = found.read("set", frozenset({"ABC"}), {"XTST": sessions})
    # At the first open and at the last close.
    assert auctions.time.tolist() == auctions.start.tolist() == [OPENS[0], opens[1] + HOUR, OPENS[1], OPENS[1] + 7]
    assert auctions.unread == {"unreadable": 1}
    assert (days.start.tolist(), days.time.tolist()) == ([OPENS[0], OPENS[1]], [opens[1] + HOUR, opens[2] + HOUR])
    assert (minutes.start.tolist(), minutes.time.tolist()) == ([OPENS[0]], [OPENS[0] + HOUR // 12])


def test_times_numbers_and_columns(tmp_path: Path) -> None:
    found = provider(
        tmp_path,
        quotes=(
            "ask,bid,symbol,time\n"
            "1.02,1.01,ABC,2013-01-01T14:00:00.000000001\n"
            "1.02,,ABC,2013-01-01T14:00:01Z\n"
            "1.02,1e0,ABC,1357048802000000000\n"
            "1.02,1.01,OTHER,1357048802000000000\n"
            "1.02,1.01,ABC,yesterday\n"
            "1.02,1.01\n"
        ),
        bars_5m=(
            "symbol,start,open,high,low,close,volume,end\n"
            f"ABC,{OPENS[0]},1,1,1,1,1,\n"
            f"ABC,{OPENS[0]},1,1,1,1,1,{OPENS[0] + 1}\n"
        ),
    )
    bars, quotes = found.read("set", frozenset({"ABC"}), SESSIONS)
    second = 1_000_000_000
    first = DAY * DAY_NS + 14 * HOUR
    assert quotes.time.tolist() == [first + 1, first + second, first + 2 * second]
    assert quotes.values[0].tolist() == [1.01, 1.02, 0, 0, 0]
    assert np.isnan(quotes.values[1, 0])
    assert quotes.values[2, 0] == 1.0
    assert quotes.unread == {"unreadable": 1}
    assert bars.time.tolist() == [OPENS[0] + 300 * second, OPENS[0] + 1]


@pytest.mark.parametrize(
    "described",
    [
        "{",
        "{}",
        '{"instruments": [{}]}',
        '{"instruments": [{"symbol": "A", "price_increment": "-1"}]}',
        '{"instruments": [{"symbol": "A", "price_increment": "x"}]}',
        '{"instruments": [{"symbol": "a"}]}',
        '{"instruments": [{"symbol": "A", "currency_code": "euro"}]}',
        "[]",
    ],
)
def test_a_folder_that_is_no_data_set_is_passed_over(tmp_path: Path, described: str) -> None:
    found = provider(tmp_path, trades="symbol,time,price,size\nABC,2013-01-02T15:00:00Z,1,1\n")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "data_set.json").write_text(described)
    (tmp_path / "other" / "trades.csv").write_text("symbol,time,price\nA,1,1\n")
    assert [each.data_set_id for each in found.data_sets({})] == ["set"]


def test_a_changed_file_is_described_anew(tmp_path: Path) -> None:
    found = provider(tmp_path, trades="symbol,time,price,size\nABC,2013-01-02T15:00:00Z,1,1\n")
    assert found.data_sets({})[0].record_count == 1
    with (tmp_path / "set" / "trades.csv").open("a") as file:
        file.write("ABC,2013-01-02T15:00:01Z,1,1\n")
    (tmp_path / "set" / "trades.csv").touch()
    assert found.data_sets({})[0].record_count == 2


def test_there_may_be_no_folder(tmp_path: Path) -> None:
    assert not FilesProvider(tmp_path / "nothing").data_sets({})
    with pytest.raises(KeyError):
        FilesProvider(tmp_path / "nothing").read("set", frozenset(), {})


def test_auctions_and_halts_are_read_by_their_words(tmp_path: Path) -> None:
    found = provider(
        tmp_path,
        auctions="symbol,time,auction,price,size\n"
        "ABC,2013-01-01T14:00:00Z,open,10.5,300\nABC,2013-01-01T20:00:00Z,close,11,\nABC,2013-01-02T14:00:00Z,1,11,5\n",
        halts="symbol,time,state\n"
        "ABC,2013-01-01T15:00:00Z,halt\nABC,2013-01-01T15:05:00Z,resume\nABC,2013-01-01T16:00:00Z,stop\n",
        trades="symbol,time,price\nABC,2013-01-01T15:00:00Z,10.5\n",
    )
    auctions, halts, _ = found.read("set", frozenset({"ABC"}), SESSIONS)
    instrument = Instrument("ABC", calendar="XTST")
    prints, refused = accept(auctions, instrument, 3.0)
    assert prints.values.tolist() == [[10.5, 300, 1, 0, 0], [11, 0, 0, 0, 0]]
    assert (prints.source.kind, dict(refused)) == (Kind.AUCTION, {"not_a_number": 1})
    stops, refused = accept(halts, instrument, 3.0)
    assert stops.values[:, 0].tolist() == [1, 0]
    assert stops.time.tolist() == [DAY * DAY_NS + 15 * HOUR, DAY * DAY_NS + 15 * HOUR + 300_000_000_000]
    assert (stops.source.kind, dict(refused)) == (Kind.HALT, {"not_a_number": 1})
    tape = merge([prints, stops])
    assert tape.record(1) == Auction("ABC", DAY * DAY_NS + 14 * HOUR, 10.5, 300.0, opening=True)
    assert tape.record(2) == Halt("ABC", DAY * DAY_NS + 15 * HOUR, halted=True)
    assert not tape.record(4).opening  # type: ignore[union-attr]


def test_quotes_have_as_many_levels_as_their_columns_name_and_they_give(tmp_path: Path) -> None:
    found = provider(
        tmp_path,
        quotes=(
            "symbol,time,bid,ask,bid_size,ask_size,bid_2,bid_size_2,ask_2,ask_size_2,bid_3,bid_size_3,ask_3,ask_size_3\n"
            "ABC,2013-01-01T14:00:00Z,1.01,1.02,5,6,1.00,7,1.03,8,0.99,9,,\n"
            "ABC,yesterday,1.01,1.02,5,6,1.00,7,1.03,8,,,,\n"
            "ABC,2013-01-01T14:00:01Z,1.01,1.02,5,6,,,,,,,,\n"
            "ABC,2013-01-01T14:00:02Z,1.01,1.02,5,6,1.00,x,1.03,8,,,,\n"
            "ABC,2013-01-01T14:00:03Z,1.01,1.02,5,6,,,1.03,8,,,1.05,1\n"
        ),
    )
    (listed,) = found.data_sets({})
    assert listed.kinds == ("QUOTE 3",)
    (quotes,) = found.read("set", frozenset({"ABC"}), SESSIONS)
    series, refused = accept(quotes, listed.instruments[0])
    assert refused == {"unreadable": 1, "not_a_number": 1}
    assert [series.levels.of(row) for row in range(3)] == [
        [[1.0, 7, 1.03, 8], [0.99, 9, 0, 0]],
        [],
        [[0, 0, 1.03, 8], [0, 0, 1.05, 1]],
    ]


def test_levels_go_with_their_quotes_from_chunk_to_chunk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.marketdata.providers.files.CHUNK", 3)
    behind = [f"1.00,{n}" if n % 2 else "," for n in range(1, 9)]
    lines = [f"ABC,{n},1.01,1.02,1,1,{level}" for n, level in enumerate(behind, 1)]
    header = "symbol,time,bid,ask,bid_size,ask_size,bid_2,bid_size_2"
    found = provider(tmp_path, quotes="\n".join([header, *lines, ""]))
    (quotes,) = found.read("set", frozenset({"ABC"}), SESSIONS)
    sizes = [[size for _, size, *_ in quotes.levels.of(row)] for row in range(8)]
    assert sizes == [[1], [], [3], [], [5], [], [7], []]
