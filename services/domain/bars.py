"""Bars of an interval out of trades, quotes or smaller bars, on the exchange's clock (rule 25).

A bar covers ``[start, end)`` and is labelled by its start. Intervals count from the session's open, and the last bar of
a session ends with it; ``1d`` is the session. Without sessions they count from midnight UTC.
"""

import re
from dataclasses import dataclass
from typing import NamedTuple

from services.domain.calendar import Session, Sessions
from services.domain.market import Bar, Quote, Trade

SECOND = 1_000_000_000
DAY = 86_400 * SECOND
_UNITS = {"s": SECOND, "m": 60 * SECOND, "h": 3_600 * SECOND, "d": DAY}
_INTERVAL = re.compile(r"([1-9][0-9]{0,4})([smhd])")


def interval_length(interval: str) -> int:
    """The ns of an interval's name: ``30s``, ``1m``, ``4h``, ``1d``.

    Raises:
        ValueError: it is no such name.
    """
    match = _INTERVAL.fullmatch(interval)
    if match is None:
        raise ValueError(f"{interval[:20]!r} is no interval: a number and s, m, h or d, as in 5m")
    return int(match[1]) * _UNITS[match[2]]


class TimedBar(NamedTuple):
    """A bar, and whether it will never change any more."""

    bar: Bar
    final: bool


@dataclass(slots=True)
class Counts:
    """What did not get into a bar.

    Attributes:
        late: it came after its bar was final.
        outside: it lies outside of every session.
    """

    late: int = 0
    outside: int = 0


class TimeBars:
    """Makes the bars of one symbol. Records come in their order; what happens is the answer, nothing is timed.

    Args:
        sessions: of the symbol's exchange; None for a market that never closes.

    Raises:
        ValueError: no such interval, or one of several days on an exchange's clock.
    """

    def __init__(self, symbol: str, interval: str, sessions: Sessions | None = None) -> None:
        self.symbol = symbol
        self.interval = interval
        self.counts = Counts()
        self._length = interval_length(interval)
        self._sessions = sessions
        if sessions is not None and self._length > DAY:
            raise ValueError(f"{interval}: on an exchange's clock a day is the longest interval")
        self._open: Bar | None = None
        self._now = 0
        self._last_time = 0

    @property
    def current(self) -> Bar | None:
        """The bar in the making."""
        return self._open

    def update(self, record: Trade | Quote | Bar) -> list[TimedBar]:
        """Take in a record: a trade's price and size, a quote's middle, or a smaller bar.

        Returns:
            The bar that this ended, final, where it did; then the one the record went into. Nothing for what is only
            counted.
        """
        begin = record.start if isinstance(record, Bar) else record.time
        slot = self._slot(begin)
        if slot is None or (isinstance(record, Bar) and record.end > slot.close):
            self.counts.outside += 1
            return []
        if slot.close <= self._now or (self._open is not None and begin < self._open.start):
            self.counts.late += 1
            return []
        made = self.advance(slot.open)
        self._open = self._merged(record, slot, begin)
        if isinstance(record, Bar) and record.end == slot.close:
            return made + self.advance(slot.close)
        return [*made, TimedBar(self._open, final=False)]

    def advance(self, time: int) -> list[TimedBar]:
        """Market time is ``time``: the bar in the making is final if it ends by then."""
        self._now = max(self._now, time)
        bar = self._open
        if bar is None or bar.end > time:
            return []
        self._open = None
        return [TimedBar(bar, final=True)]

    def _slot(self, time: int) -> Session | None:
        """The bar's span that ``time`` lies in; None outside of sessions."""
        if self._sessions is None:
            start = time - time % self._length
            return Session(start, start + self._length)
        session = self._sessions.session_of(time)
        if session is None or self._length == DAY:
            return session
        start = time - (time - session.open) % self._length
        return Session(start, min(start + self._length, session.close))

    def _merged(self, record: Trade | Quote | Bar, slot: Session, begin: int) -> Bar:
        if isinstance(record, Bar):
            first, high, low, last, volume = record[4:9]
        else:
            first = record.price if isinstance(record, Trade) else (record.bid + record.ask) / 2
            high = low = last = first
            volume = record.size if isinstance(record, Trade) else 0.0
        bar = self._open
        if bar is None:
            self._last_time = begin
            return Bar(self.symbol, self.interval, slot.open, slot.close, first, high, low, last, volume)
        # Out of order inside a bar that is not final yet: its extremes count, its close is the later record's.
        close = last if begin >= self._last_time else bar.close
        self._last_time = max(begin, self._last_time)
        return bar._replace(high=max(bar.high, high), low=min(bar.low, low), close=close, volume=bar.volume + volume)
