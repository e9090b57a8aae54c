"""Tapes cut from data sets, checked record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from services.domain.calendar import Sessions, UnknownTime
from services.domain.instrument import Instrument
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.timeline import PRICED
from services.marketdata.providers import DataSet, Provider
from services.marketdata.providers.checks import accept
from services.marketdata.reference.sessions import ALWAYS_OPEN, DAY_NS


class NoRecords(ValueError):
    """Nothing of the data set is left of what was asked for."""


@dataclass(frozen=True, slots=True)
class Cut:
    """What to make a tape of. Records lie whole in `[start_time, end_time]` (ns); None for the data set's own."""

    data_set: DataSet
    symbols: tuple[str, ...]
    start_time: int | None = None
    end_time: int | None = None


def build(
    provider: Provider, cut: Cut, instruments: Mapping[str, Instrument], sessions: Mapping[str, Sessions]
) -> tuple[Tape, Counter[str]]:
    """A tape, and how many records were refused for which reason. Same arguments, same tape.

    Raises:
        NoRecords: of some symbol there is nothing.
        UnknownTime: there are records of times that their calendar says nothing of.
    """
    refused: Counter[str] = Counter()
    series: list[Series] = []
    for records in provider.read(cut.data_set.data_set_id, frozenset(cut.symbols), sessions):
        instrument = instruments[records.source.symbol]
        # Whole sources are checked: what is a spike must not depend on where the tape is cut.
        good, bad = accept(records, instrument, cut.data_set.max_move)
        refused += bad
        if good.source.kind is Kind.AUCTION and (own := sessions.get(instrument.calendar)) is not None:
            good, outside = _called(good, own)
            refused += outside
        series.append(_between(good, cut.start_time, cut.end_time))
    for symbol in cut.symbols:
        if not any(len(each.time) and each.source.kind in PRICED for each in _of(series, symbol)):
            raise NoRecords(f"{symbol} has no records in this range")
    data = [each for each in series if len(each.time)]
    calendars = {instruments[symbol].calendar for symbol in cut.symbols} - {ALWAYS_OPEN}
    clocks = [_clock(sessions[name], data, instruments, cut) for name in sorted(calendars)]
    return merge([*clocks, *sorted(data, key=_rank)]), refused


def _called(auctions: Series, sessions: Sessions) -> tuple[Series, Counter[str]]:
    """The auctions that lie in a session or at its edges, and how many do not: nobody could trade in those."""
    last = sessions.opens.searchsorted(auctions.time, side="right") - 1
    inside = (last >= 0) & (auctions.time <= sessions.closes[last])
    kept = Series(auctions.source, auctions.time[inside], auctions.start[inside], auctions.values[inside])
    return kept, +Counter(auction_outside_session=int(np.count_nonzero(~inside)))


def _rank(series: Series) -> tuple[int, str, str]:
    return series.source.kind.value, series.source.symbol, series.source.interval


def _of(series: Iterable[Series], symbol: str) -> list[Series]:
    return [each for each in series if each.source.symbol == symbol]


def _between(series: Series, start_time: int | None, end_time: int | None) -> Series:
    inside = np.ones(len(series.time), np.bool_)
    if start_time is not None:
        inside &= series.start >= start_time
    if end_time is not None:
        inside &= series.time <= end_time
    columns = series.time[inside], series.start[inside], series.values[inside]
    return Series(series.source, *columns, series.levels.among(inside))


def _clock(sessions: Sessions, data: Sequence[Series], instruments: Mapping[str, Instrument], cut: Cut) -> Series:
    """The edges of the sessions that the calendar's own records lie in, and of those between."""
    own = [each for each in data if instruments[each.source.symbol].calendar == sessions.calendar]
    begin, end = min(int(each.start.min()) for each in own), max(int(each.time.max()) for each in own)
    if begin < sessions.known_from or end > sessions.known_until:
        known = (
            np.datetime64(edge, "ns").astype("datetime64[D]") for edge in (sessions.known_from, sessions.known_until)
        )
        raise UnknownTime(f"{sessions.calendar} is known from {' to '.join(map(str, known))}")
    whole = Series(Source(Kind.CLOCK, sessions.calendar), *_edges(sessions, begin, end))
    return _between(whole, cut.start_time, cut.end_time)


def _edges(sessions: Sessions, begin: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    first, last = sessions.closes.searchsorted(begin, side="left"), sessions.opens.searchsorted(end, side="right")
    opens, closes = sessions.opens[first:last], sessions.closes[first:last]
    clock = Sessions(sessions.calendar, opens, closes, sessions.known_from, sessions.known_until).clock()
    return clock.time, clock.start, clock.values


def session_ends(tape: Tape) -> np.ndarray:
    """The sequence after which each session of the tape is over, rising: its closes, or days where it has no clock."""
    clocks = np.array([source.kind is Kind.CLOCK for source in tape.sources], np.bool_)[tape.source]
    times = np.unique(tape.time[clocks & (tape.values[:, 0] == 0.0)])
    if not clocks.any() and len(tape):
        days = np.arange(tape.time[0] // DAY_NS + 1, tape.time[-1] // DAY_NS + 1)
        times = days * DAY_NS
    ends = np.unique(tape.time.searchsorted(times, side="right"))
    return ends[ends > 0]
