"""Trading sessions, compiled from a calendar library once and kept as arrays (rule 24).

The NSE's come from one library, all others from another; what neither knows, from a table of our own. The libraries
bring pandas and 90 MB along, so they run in a child process that ends when it has answered.
"""

from __future__ import annotations

import asyncio
import io
import logging
import re
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any, Final, Protocol

import numpy as np
from numpy.typing import NDArray

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.calendar import Sessions, UnknownTime
from services.marketdata.reference.special_sessions import NSE, edition, special_sessions

ALWAYS_OPEN: Final = "24/7"
DAY_NS: Final = 86_400_000_000_000
# The library's own default is 20 years back; the packaged prices begin in 2000, and longer costs nothing.
FIRST_DATE: Final = "1990-01-01"
# What is asked beyond the last known date may be known by now, but not sooner than this after the last try.
RECOMPILE_NS: Final = DAY_NS
_NO_SUCH_CALENDAR: Final = 3
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_/]{0,31}")


_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Calendar:
    """A calendar's sessions with their civil dates.

    Attributes:
        dates: int64 ``[n]``, days since 1970-01-01, of each session. A day may have two.
        library: what compiled it, as ``library_of`` names it.
        compile_time: when, ns of wall time.
    """

    sessions: Sessions
    dates: NDArray[np.int64]
    library: str
    compile_time: int

    def between(self, first: int, last: int) -> list[tuple[int, int, int]]:
        """The sessions of civil dates from ``first`` to ``last`` (days since 1970-01-01): date, open, close.

        Raises:
            UnknownTime: the calendar does not know all of these dates.
        """
        known_from, known_until = self.sessions.known_from // DAY_NS, (self.sessions.known_until - 1) // DAY_NS
        if first < known_from or last > known_until:
            known = " to ".join(str(np.datetime64(int(day), "D")) for day in (known_from, known_until))
            raise UnknownTime(f"{self.sessions.calendar} is known from {known}")
        low, high = self.dates.searchsorted(first), self.dates.searchsorted(last, side="right")
        columns = (self.dates[low:high], self.sessions.opens[low:high], self.sessions.closes[low:high])
        return list(zip(*(column.tolist() for column in columns), strict=True))


class CalendarStore(Protocol):
    """Where compiled calendars are kept."""

    async def calendar(self, name: str) -> Calendar | None:
        """A compiled calendar."""

    async def put_calendar(self, calendar: Calendar) -> None:
        """Stores one."""


class Calendars:
    """Every calendar by name: from memory, from the store, or compiled now."""

    def __init__(
        self, store: CalendarStore, compile_: Callable[[str], Awaitable[Calendar | None]] | None = None
    ) -> None:
        self._store = store
        self._compile = compile_ or compile_in_child
        self._known: dict[str, Calendar] = {ALWAYS_OPEN: _always_open()}
        self._unknown: set[str] = set()
        self._looking_up: dict[str, asyncio.Task[Calendar | None]] = {}
        self._compiling = asyncio.Lock()

    async def get(self, name: str, until: int = 0) -> Calendar:
        """The calendar, knowing times up to ``until`` (ns) if the library does.

        Raises:
            ApiError: NOT_FOUND `CALENDAR_NOT_FOUND`.
        """
        found = self._known.get(name)
        if found is None or until > found.sessions.known_until:
            # A caller who has no time to wait must not end what the next one would begin anew.
            task = self._looking_up.get(name)
            if task is None:
                task = self._looking_up[name] = detach(self._look_up(name, until), name=f"calendar:{name}")
                task.add_done_callback(lambda _: self._looking_up.pop(name, None))
            found = await asyncio.shield(task)
        if found is None:
            raise ApiError.not_found("calendar", name, "CALENDAR_NOT_FOUND")
        return found

    async def prepare(self, name: str) -> None:
        """Makes a calendar ready before somebody asks."""
        try:
            await self.get(name)
        except Exception:  # noqa: BLE001 whoever asks for it later gets the error
            _log.exception("a calendar could not be compiled", extra={"calendar": name})

    async def _look_up(self, name: str, until: int) -> Calendar | None:
        if name in self._unknown or not _NAME.fullmatch(name):
            return None
        known = self._known.get(name)
        found = known or await self._store.calendar(name)
        # What a library or a table got wrong before may be right in its next edition.
        renewed = known is None and found is not None and found.library != library_of(name)
        if found is None or renewed or _may_tell_more(found, until):
            async with self._compiling:
                compiled = await self._compile(name)
            if compiled is not None:
                await self._store.put_calendar(compiled)
                found = compiled
        if found is None:
            # Bounded: a caller who tries names must not fill memory.
            self._unknown = {name} if len(self._unknown) > 1000 else {*self._unknown, name}
        else:
            self._known[name] = found
        return found


def _may_tell_more(found: Calendar, until: int) -> bool:
    """Whether a time up to which it is asked for is beyond it, and it was compiled long enough ago."""
    return until > found.sessions.known_until and time.time_ns() > found.compile_time + RECOMPILE_NS


async def compile_in_child(name: str) -> Calendar | None:
    """Compiles in a process of its own (2 to 4 s); None where the library has no such calendar."""
    arguments = (sys.executable, "-m", "services.marketdata.reference.sessions", name)
    child = await asyncio.create_subprocess_exec(
        *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    try:
        output, trouble = await child.communicate()
    except asyncio.CancelledError:
        child.kill()
        raise
    if child.returncode == _NO_SUCH_CALENDAR:
        return None
    if child.returncode != 0:
        raise RuntimeError(f"compiling the calendar {name} failed: {trouble.decode(errors='replace')[-500:]}")
    return _read(output)


def library_of(name: str) -> str:
    """What compiles a calendar, with its version and that of our own table; imports no library."""
    library = "pandas_market_calendars" if name == NSE else "exchange_calendars"
    return f"{library} {version(library)} {edition(name)}".rstrip()


def compile_calendar(name: str) -> Calendar | None:
    """Compiles here: imports a library, and pandas with it. None where it has no such calendar."""
    if name == ALWAYS_OPEN:
        return _always_open()
    found = _of_nse() if name == NSE else _of_exchange(name)
    if found is None:
        return None
    schedule, begin, until = found
    dates = schedule.index.to_numpy().astype("datetime64[D]").astype(np.int64)
    edges = [schedule[edge].astype("datetime64[ns, UTC]").astype("int64").to_numpy() for edge in schedule.columns]
    rows = np.column_stack((dates, *edges))
    special = np.array([*special_sessions(name)], np.int64).reshape(-1, 3)
    rows = np.concatenate((rows[~np.isin(dates, special[:, 0])], special))
    dates, opens, closes = rows[np.argsort(rows[:, 1])].T.copy()
    until = max(until or (int(dates[-1]) + 1) * DAY_NS, int(closes[-1]))
    sessions = Sessions(name, opens, closes, min(begin, int(opens[0])), until)
    return Calendar(sessions, dates, library_of(name), time.time_ns())


def _of_exchange(name: str) -> tuple[Any, int, int] | None:
    """Opens and closes by date, a data frame, and from when until when (ns) they are known; 0 for the last close."""
    import exchange_calendars

    if name not in exchange_calendars.get_calendar_names(include_aliases=False):
        return None
    bound = exchange_calendars.get_calendar(name).bound_min()
    first = FIRST_DATE if bound is None else max(FIRST_DATE, str(bound.date()))
    schedule = exchange_calendars.get_calendar(name, start=first).schedule
    return schedule[["open", "close"]], _midnight(first), 0


def _of_nse() -> tuple[Any, int, int]:
    """The same. Its holidays are a list, and the library takes every weekday of other years for a session."""
    import pandas_market_calendars

    calendar = pandas_market_calendars.get_calendar(NSE)
    years = [holiday.year for holiday in calendar.adhoc_holidays]
    first, last = f"{min(years)}-01-01", f"{max(years)}-12-31"
    schedule = calendar.schedule(first, last)
    return schedule[["market_open", "market_close"]], _midnight(first), _midnight(last) + DAY_NS


def _midnight(civil: str) -> int:
    return int(np.datetime64(civil, "ns").astype(np.int64))


def _always_open() -> Calendar:
    """A market that never closes: its sessions are UTC's days."""
    dates = np.arange(0, 47_482, dtype=np.int64)  # 1970 to 2099
    opens, closes = dates * DAY_NS, (dates + 1) * DAY_NS
    return Calendar(Sessions(ALWAYS_OPEN, opens, closes, 0, int(closes[-1])), dates, "", 0)


def _write(calendar: Calendar) -> bytes:
    out = io.BytesIO()
    sessions = calendar.sessions
    known = np.array([sessions.known_from, sessions.known_until, calendar.compile_time], np.int64)
    text = np.array([sessions.calendar, calendar.library])
    np.savez(out, opens=sessions.opens, closes=sessions.closes, dates=calendar.dates, known=known, text=text)
    return out.getvalue()


def _read(data: bytes) -> Calendar:
    with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
        begin, until, compile_time = arrays["known"].tolist()
        name, library = arrays["text"].tolist()
        sessions = Sessions(name, arrays["opens"], arrays["closes"], begin, until)
        return Calendar(sessions, arrays["dates"], library, compile_time)


def _main(name: str) -> int:
    compiled = compile_calendar(name)
    if compiled is None:
        return _NO_SUCH_CALENDAR
    sys.stdout.buffer.write(_write(compiled))
    return 0


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1]))
