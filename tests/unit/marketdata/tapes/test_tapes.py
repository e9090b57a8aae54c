"""Tapes cut from data sets, and the calendars and packaged prices they stand on (rules 20, 24, 31)."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from services.chassis.errors import ApiError
from services.domain.calendar import Sessions, UnknownTime
from services.domain.market import Bar, Clock, Split
from services.domain.tape import Kind, Tape
from services.marketdata.providers.base import Records
from services.marketdata.providers.sample import INSTRUMENTS, SampleProvider
from services.marketdata.reference.sessions import DAY_NS, Calendar, Calendars, compile_in_child
from services.marketdata.tapes.cutting import Cut, NoRecords, build, session_ends
from services.marketdata.tapes.files import TapeFiles

BY_SYMBOL = {each.symbol: each for each in INSTRUMENTS}


@pytest.fixture(scope="module")
def xnys() -> Calendar:
    found = asyncio.run(compile_in_child("XNYS"))
    assert found is not None
    return found


@pytest.fixture(scope="module")
def sessions(xnys: Calendar) -> Mapping[str, Sessions]:
    return {"XNYS": xnys.sessions}


def cut(sessions: Mapping[str, Sessions], *symbols: str, start: int | None = None, end: int | None = None) -> Tape:
    provider = SampleProvider()
    (data_set,) = provider.data_sets(sessions)
    tape, refused = build(provider, Cut(data_set, symbols or data_set.symbols, start, end), BY_SYMBOL, sessions)
    assert refused == Counter()
    return tape


def day(text: str) -> int:
    return int(np.datetime64(text, "D").astype(np.int64))


def test_rule_24_a_compiled_calendar_knows_what_it_knows(xnys: Calendar) -> None:
    (friday,) = xnys.between(day("2012-11-23"), day("2012-11-25"))
    assert friday[2] - friday[1] == 3.5 * 3600 * 10**9  # the day after Thanksgiving
    assert xnys.between(day("2012-10-29"), day("2012-10-30")) == []  # Sandy
    assert len(xnys.between(day("2012-01-01"), day("2012-12-31"))) == 250
    assert xnys.library.startswith("exchange_calendars ")
    for first, last in (("1989-12-31", "1990-01-05"), ("2020-01-01", "2199-01-01")):
        with pytest.raises(UnknownTime):
            xnys.between(day(first), day(last))


def test_the_whole_of_the_packaged_prices(sessions: Mapping[str, Sessions]) -> None:
    tape = cut(sessions)
    assert len(tape) == 12_154 + 3 + 2 * 3_270
    assert tape.digest() == cut(sessions).digest()
    assert len(session_ends(tape)) == 3_270
    first = [tape.record(n) for n in range(1, 6)]
    assert [type(each) for each in first] == [Clock, Bar, Bar, Bar, Clock]
    assert first[1] == Bar(
        "AAPL",
        "1d",
        first[0].time,
        first[4].time,
        118.56,
        132.06,
        118.5,
        130.31,
        9_616_100.0,  # type: ignore[union-attr]
    )


def test_rule_20_splits_are_records_after_the_open_of_their_ex_date(sessions: Mapping[str, Sessions]) -> None:
    tape = cut(sessions, "AAPL", "MSFT")
    splits = [n + 1 for n, source in enumerate(tape.source) if tape.sources[source].kind is Kind.SPLIT]
    found = [(tape.record(n), tape.record(n - 1)) for n in splits]
    assert [(each.symbol, each.numerator, each.denominator) for each, _ in found if isinstance(each, Split)] == [
        ("AAPL", 2, 1),
        ("MSFT", 2, 1),
        ("AAPL", 2, 1),
    ]
    dates = [str(np.datetime64(each.time, "ns"))[:10] for each, _ in found if isinstance(each, Split)]
    assert dates == ["2000-06-21", "2003-02-18", "2005-02-28"]
    for split, opening in found:
        assert isinstance(split, Split)
        assert opening == Clock("XNYS", split.time, open=True)


def test_a_range_holds_whole_records_and_the_edges_around_them(sessions: Mapping[str, Sessions]) -> None:
    tape = cut(sessions, "IBM", start=day("2013-02-01") * DAY_NS, end=day("2013-02-06") * DAY_NS)
    kinds = [type(tape.record(n)) for n in range(1, len(tape) + 1)]
    assert kinds == [Clock, Bar, Clock] * 3
    # Cut in mid-session: neither its bar nor its close.
    noon = int(tape.time[0]) + 3 * 3600 * 10**9
    tape = cut(sessions, "IBM", start=day("2013-02-01") * DAY_NS - DAY_NS, end=noon)
    assert [type(tape.record(n)) for n in range(1, len(tape) + 1)] == [Clock, Bar, Clock][: len(tape)]


def test_the_order_of_symbols_changes_nothing(sessions: Mapping[str, Sessions]) -> None:
    assert cut(sessions, "IBM", "AAPL").digest() == cut(sessions, "AAPL", "IBM").digest()


def test_rule_24_records_beyond_what_the_calendar_knows_are_refused(sessions: Mapping[str, Sessions]) -> None:
    whole = sessions["XNYS"]
    (data_set,) = SampleProvider().data_sets(sessions)
    short = Sessions("XNYS", whole.opens[:5000], whole.closes[:5000], whole.known_from, int(whole.closes[4999]))

    class Elsewhere(SampleProvider):
        """Its records are placed by a calendar that knows more."""

        def read(self, data_set_id: str, symbols: frozenset[str], _: Mapping[str, Sessions]) -> list[Records]:
            return super().read(data_set_id, symbols, sessions)

    with pytest.raises(UnknownTime, match="is known from 1990-01-01 to 2009"):
        build(Elsewhere(), Cut(data_set, ("IBM",)), BY_SYMBOL, {"XNYS": short})


def test_a_symbol_without_records_is_told(sessions: Mapping[str, Sessions]) -> None:
    with pytest.raises(NoRecords, match="FB"):
        cut(sessions, "FB", "IBM", end=day("2010-01-01") * DAY_NS)


async def test_tapes_are_kept_by_digest_and_torn_files_are_noticed(
    sessions: Mapping[str, Sessions], tmp_path: Path
) -> None:
    tape = cut(sessions, "IBM", start=day("2013-01-01") * DAY_NS)
    digest = await TapeFiles(tmp_path).save(tape)
    loaded = await TapeFiles(tmp_path).load(digest)
    assert loaded is not None
    assert loaded.digest() == digest == tape.digest()
    assert [path.name for path in tmp_path.iterdir()] == [f"{digest}.npz"]  # noqa: ASYNC240 a small folder
    path = tmp_path / f"{digest}.npz"
    whole = path.read_bytes()
    for torn in (whole[:100], whole.replace(tape.time.tobytes(), tape.time[::-1].tobytes()), b""):
        path.write_bytes(torn)
        assert await TapeFiles(tmp_path).load(digest) is None
    await TapeFiles(tmp_path).save(tape)
    assert await TapeFiles(tmp_path).load(digest) is not None


class Shelf:
    """A store of calendars in memory."""

    def __init__(self) -> None:
        self.kept: dict[str, Calendar] = {}

    async def calendar(self, name: str) -> Calendar | None:
        return self.kept.get(name)

    async def put_calendar(self, calendar: Calendar) -> None:
        self.kept[calendar.sessions.calendar] = calendar


async def test_a_calendar_is_compiled_once(xnys: Calendar) -> None:
    asked: list[str] = []

    async def compiler(name: str) -> Calendar | None:
        asked.append(name)
        return xnys if name == "XNYS" else None

    shelf = Shelf()
    calendars = Calendars(shelf, compiler)
    both = await asyncio.gather(calendars.get("XNYS"), calendars.get("XNYS"))
    assert both[0] is both[1]
    assert (await Calendars(shelf, compiler).get("XNYS")) is xnys
    for _ in range(3):
        for name in ("MARS", "no such/../name"):
            with pytest.raises(ApiError, match="CALENDAR_NOT_FOUND"):
                await calendars.get(name)
    assert asked == ["XNYS", "MARS"]
    # Beyond the last known date it is compiled again, but not again and again.
    far = xnys.sessions.known_until + 1
    await calendars.get("XNYS", far)
    assert asked == ["XNYS", "MARS"]
    always = await calendars.get("24/7")
    assert always.between(0, 1) == [(0, 0, DAY_NS), (1, DAY_NS, 2 * DAY_NS)]


async def test_a_calendar_that_another_library_compiled_is_compiled_again(xnys: Calendar) -> None:
    asked: list[str] = []

    async def compiler(name: str) -> Calendar | None:
        asked.append(name)
        return xnys if name == "XNYS" else None

    shelf = Shelf()
    old = replace(xnys, library="exchange_calendars 1.0", sessions=replace(xnys.sessions, calendar="XNYS"))
    gone = replace(old, sessions=replace(xnys.sessions, calendar="XOLD"))
    for each in (old, gone):
        await shelf.put_calendar(each)
    calendars = Calendars(shelf, compiler)
    assert await calendars.get("XNYS") is await calendars.get("XNYS") is shelf.kept["XNYS"] is xnys
    # One that the library no longer has is still the one that it had.
    assert await calendars.get("XOLD") is await calendars.get("XOLD") is gone
    assert asked == ["XNYS", "XOLD"]
