"""Bars of any interval that a tape's records make: its own, or made of smaller ones, of trades or of quotes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, replace

from services.chassis.errors import ApiError
from services.domain.bars import DAY, TimeBars, interval_length
from services.domain.instrument import Instrument
from services.domain.market import Bar, Quote, Trade
from services.domain.tape import Kind
from services.domain.tape_index import NEVER
from services.domain.timeline import Timeline
from services.marketdata.feed.feed import Feeds
from services.marketdata.reference.sessions import ALWAYS_OPEN, Calendars

# What a derived bar is made of where there are several: prints tell more than quotes do.
_DERIVED_FROM = (Kind.TRADE, Kind.QUOTE)


@dataclass(frozen=True, slots=True)
class BarPage:
    """What is asked for: times in ns, None for no bound."""

    symbol: str
    interval: str
    start_time: int | None
    end_time: int | None
    size: int


class Bars:
    """Reads bars at the stored position."""

    def __init__(self, feeds: Feeds, calendars: Calendars) -> None:
        self._feeds = feeds
        self._calendars = calendars

    async def page(
        self, environment_id: str, instrument: Instrument, wanted: BarPage, after: int | None
    ) -> tuple[list[tuple[Bar, int]], bool]:
        """Final bars by time with their sequences (0 for derived ones), and whether there are more.

        Args:
            after: bars that start after this, ns; from a page token.

        Raises:
            ApiError: NOT_FOUND; INVALID_ARGUMENT for an interval that the tape's records do not make.
        """
        feed = self._feeds.get(environment_id)
        timeline = await feed.loaded()
        wanted = replace(wanted, start_time=max(wanted.start_time or 0, 0 if after is None else after + 1))
        source = _source(timeline, wanted)
        sessions = None
        if instrument.calendar != ALWAYS_OPEN:
            sessions = (await self._calendars.get(instrument.calendar)).sessions
        head, begin = feed.head, wanted.start_time or 0
        if timeline.tape.sources[source].interval == wanted.interval:
            found = _own(timeline, source, head, begin, wanted)
        else:
            maker = TimeBars(wanted.symbol, wanted.interval, sessions)
            made = await asyncio.to_thread(
                _derived, maker, _records(timeline, source, head, begin), wanted, timeline.time(head)
            )
            found = [(bar, 0) for bar in made]
        return found[: wanted.size], len(found) > wanted.size


def _source(timeline: Timeline, wanted: BarPage) -> int:
    """The source that the bars are, or are made of: the interval itself, the largest that divides it, or ticks."""
    sources, length = timeline.tape.sources, interval_length(wanted.interval)
    own = timeline.index.data_sources(wanted.symbol)
    bars = {sources[i].interval: i for i in own if sources[i].kind is Kind.BAR}
    if wanted.interval in bars:
        return bars[wanted.interval]
    smaller = [name for name in bars if interval_length(name) < length and length % interval_length(name) == 0]
    if smaller and length <= DAY:
        return bars[max(smaller, key=interval_length)]
    for kind in _DERIVED_FROM:
        for i in own:
            if sources[i].kind is kind and length <= DAY:
                return i
    if not own:
        raise ApiError.not_found("instrument", wanted.symbol, "INSTRUMENT_NOT_FOUND", "It is not in this environment.")
    there = f"bars of {', '.join(bars)}" if bars else "ticks, which make none of more than a day"
    raise ApiError.invalid_field("interval", f"cannot be made of what the tape has of {wanted.symbol}: {there}")


def _own(timeline: Timeline, source: int, head: int, begin: int, wanted: BarPage) -> list[tuple[Bar, int]]:
    tape, rows = timeline.tape, timeline.index.rows(source)
    rows = rows[: int(rows.searchsorted(head))]
    rows = rows[int(tape.start[rows].searchsorted(begin)) :]
    if wanted.end_time is not None:
        rows = rows[: int(tape.time[rows].searchsorted(wanted.end_time, side="right"))]
    found = []
    for row in rows[: wanted.size + 1].tolist():
        record = tape.record(row + 1)
        if isinstance(record, Bar):
            found.append((record, row + 1))
    return found


def _derived(maker: TimeBars, records: Iterator[Bar | Trade | Quote], wanted: BarPage, now: int) -> list[Bar]:
    """Final bars made of records up to ``now`` (ns); one more than asked for where there are more."""
    made: list[Bar] = []
    for record in records:
        made += [each.bar for each in maker.update(record) if each.final]
        if len(made) > wanted.size:
            break
    else:
        made += [each.bar for each in maker.advance(now)]
    # What the first records made may have begun before them.
    begin, end = wanted.start_time or 0, NEVER if wanted.end_time is None else wanted.end_time
    return [bar for bar in made if bar.start >= begin and bar.end <= end]


def _records(timeline: Timeline, source: int, head: int, begin: int) -> Iterator[Bar | Trade | Quote]:
    """The records that bars starting at or after ``begin`` (ns) are made of."""
    tape, rows = timeline.tape, timeline.index.rows(source)
    rows = rows[: int(rows.searchsorted(head))]
    for row in rows[int(tape.start[rows].searchsorted(begin)) :].tolist():
        record = tape.record(row + 1)
        if isinstance(record, Bar | Trade | Quote):
            yield record
