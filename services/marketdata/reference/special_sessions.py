"""Sessions that a calendar library does not know, in the place of what it says of their days (rule 24).

Libraries make sessions of weekdays. The NSE also trades on some Saturdays and Sundays: for an hour or so on the evening
of Diwali (Muhurat), on the day of a budget, and to try its second site. Sources: its circulars and annual reports, and
the press that told of them; all of 2000 to February 2020 is held against the days that its shares were traded on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import date, datetime
from typing import Final, NamedTuple
from zoneinfo import ZoneInfo

NSE: Final = "XNSE"
_BEFORE_2010: Final = "09:55-15:30"
_WHOLE_DAY: Final = "09:15-15:30"
# A session by its civil date and hours in India; two where a day had two.
_NSE: Final = (
    # Weekdays like any other that the library takes for holidays; those next to them were.
    ("2001-03-08", _BEFORE_2010),
    ("2001-03-21", _BEFORE_2010),
    ("2001-06-20", _BEFORE_2010),
    ("2001-08-23", _BEFORE_2010),
    ("2001-09-10", _BEFORE_2010),
    ("2001-11-29", _BEFORE_2010),
    ("2002-01-18", _BEFORE_2010),
    ("2002-01-28", _BEFORE_2010),
    ("2002-08-16", _BEFORE_2010),
    ("2003-04-10", _BEFORE_2010),
    ("2003-10-16", _BEFORE_2010),
    ("2004-10-12", _BEFORE_2010),
    ("2004-10-15", _BEFORE_2010),
    ("2005-07-27", _BEFORE_2010),
    # Diwali. The hours of 2003, 2006, 2009 and 2013 are those of the years around them. Those of 2026 are no
    # circular's, but those of the weekends before it; on the Tuesday of 2025 it was an afternoon.
    ("2003-10-25", "17:30-18:45"),
    ("2006-10-21", "18:00-19:00"),
    ("2009-10-17", "18:15-19:15"),
    ("2013-11-03", "18:15-19:30"),
    ("2016-10-30", "18:30-19:30"),
    ("2019-10-27", "18:15-19:15"),
    ("2020-11-14", "18:15-19:15"),
    ("2023-11-12", "18:15-19:15"),
    ("2026-11-08", "18:15-19:15"),
    # Budgets, and the Saturday before a holiday that was declared two days ahead.
    ("2015-02-28", _WHOLE_DAY),
    ("2020-02-01", _WHOLE_DAY),
    ("2024-01-20", _WHOLE_DAY),
    ("2025-02-01", _WHOLE_DAY),
    ("2026-02-01", _WHOLE_DAY),
    # Trials. The hours of November 2003 to 2010 are those of March 2003, of 2012 and 2013 those of April 2012.
    ("2003-03-22", "11:00-13:00"),
    ("2003-11-15", "11:00-13:00"),
    ("2004-04-17", "11:00-13:00"),
    ("2004-10-09", "11:00-13:00"),
    ("2005-06-04", "11:00-13:00"),
    ("2005-11-26", "11:00-13:00"),
    ("2006-04-29", "11:00-13:00"),
    ("2006-06-25", "11:00-13:00"),
    ("2010-02-06", "11:00-13:00"),
    ("2012-01-07", "11:15-12:45"),
    ("2012-03-03", "11:15-12:45"),
    ("2012-04-28", "11:15-12:45"),
    ("2012-09-08", "11:15-12:45"),
    ("2013-05-11", "11:15-12:45"),
    ("2014-03-22", "11:15-12:45"),
    ("2024-03-02", "09:15-10:00"),
    ("2024-03-02", "11:30-12:30"),
    ("2024-05-18", "09:15-10:00"),
    ("2024-05-18", "11:30-12:30"),
)
_TABLES: Final[Mapping[str, tuple[str, tuple[tuple[str, str], ...]]]] = {NSE: ("Asia/Kolkata", _NSE)}


class Special(NamedTuple):
    """One session: days since 1970-01-01, ns since the epoch twice."""

    day: int
    opens: int
    closes: int


def special_sessions(calendar: str) -> Iterator[Special]:
    """What its library does not know of a calendar; nothing of most."""
    if calendar not in _TABLES:
        return
    zone, rows = _TABLES[calendar]
    for civil, hours in rows:
        opens, closes = (
            int(datetime.fromisoformat(f"{civil} {at}").replace(tzinfo=ZoneInfo(zone)).timestamp()) * 1_000_000_000
            for at in hours.split("-")
        )
        yield Special(date.fromisoformat(civil).toordinal() - 719_163, opens, closes)


def edition(calendar: str) -> str:
    """Which table of a calendar this is; empty where it has none. Another table has another edition."""
    return hashlib.sha256(repr(_TABLES[calendar]).encode()).hexdigest()[:8] if calendar in _TABLES else ""
