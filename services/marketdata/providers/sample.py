"""Real daily prices that ship in the package `bokeh_sampledata`: five names, 2000 to 2013, not adjusted for splits."""

from __future__ import annotations

import csv
import gzip
from array import array
from collections.abc import Mapping, Sequence
from decimal import Decimal
from functools import cache
from pathlib import Path
from typing import Final

import numpy as np

from services.domain.calendar import Sessions
from services.domain.instrument import Instrument
from services.domain.tape import VALUES, Kind, Source
from services.marketdata.providers.base import DataSet, Records

DATA_SET_ID: Final = "us-daily"
CALENDAR: Final = "XNYS"
NAMES: Final = {
    "AAPL": "Apple Inc.",
    "FB": "Facebook, Inc.",
    "GOOG": "Google Inc.",
    "IBM": "International Business Machines Corporation",
    "MSFT": "Microsoft Corporation",
}
INSTRUMENTS: Final = tuple(
    Instrument(symbol, name, "USD", CALENDAR, Decimal("0.0001"), Decimal(1), Decimal(1))
    for symbol, name in NAMES.items()
)
# Ex-dates; new units for old ones. The package's prices are as traded, so the tape must say this.
SPLITS: Final = (("AAPL", "2000-06-21", 2, 1), ("AAPL", "2005-02-28", 2, 1), ("MSFT", "2003-02-18", 2, 1))
DESCRIPTION: Final = (
    "Daily bars of five US names, 2000-03-01 to 2013-03-01, prices as traded, with their splits; "
    "from the package bokeh_sampledata (see its licence files)."
)


class SampleProvider:
    """The one data set `us-daily`. A bar is its session: from the open to the close, early closes included."""

    def calendars(self) -> Sequence[str]:
        """See `Provider`."""
        return (CALENDAR,)

    def data_sets(self, sessions: Mapping[str, Sessions]) -> Sequence[DataSet]:
        """See `Provider`."""
        records = self.read(DATA_SET_ID, frozenset(NAMES), sessions)
        bars = [each for each in records if each.source.kind is Kind.BAR]
        return [
            DataSet(
                data_set_id=DATA_SET_ID,
                display_name="US daily prices 2000–2013",
                description=DESCRIPTION,
                instruments=INSTRUMENTS,
                kinds=("BAR 1d", "SPLIT"),
                start_time=min(int(each.start[0]) for each in bars),
                end_time=max(int(each.time[-1]) for each in bars),
                record_count=sum(len(each.time) for each in records),
            )
        ]

    def read(self, data_set_id: str, symbols: frozenset[str], sessions: Mapping[str, Sessions]) -> list[Records]:
        """See `Provider`."""
        if data_set_id != DATA_SET_ID:
            raise KeyError(data_set_id)
        calendar = sessions[CALENDAR]
        chosen = sorted(symbols & NAMES.keys())
        splits = [_splits(symbol, calendar) for symbol in chosen if any(symbol == split[0] for split in SPLITS)]
        return [*splits, *(_bars(symbol, calendar) for symbol in chosen)]


def _bars(symbol: str, sessions: Sessions) -> Records:
    dates, values = _rows()[symbol]
    opens, closes, known = _sessions_of(dates, sessions)
    unread = {"not_a_session": int(np.count_nonzero(~known))} if not known.all() else {}
    return Records(Source(Kind.BAR, symbol, "1d"), closes[known], opens[known], values[known], unread)


def _splits(symbol: str, sessions: Sessions) -> Records:
    chosen = [split for split in SPLITS if split[0] == symbol]
    opens, _, _ = _sessions_of(np.array([split[1] for split in chosen], "datetime64[D]"), sessions)
    values = np.zeros((len(chosen), VALUES))
    values[:, :2] = [split[2:] for split in chosen]
    return Records(Source(Kind.SPLIT, symbol), opens, opens, values)


def _sessions_of(dates: np.ndarray, sessions: Sessions) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Open and close of each date's session, and whether it has one. XNYS opens and closes within a UTC day."""
    open_dates = sessions.opens.astype("datetime64[ns]").astype("datetime64[D]")
    rows = np.minimum(open_dates.searchsorted(dates), len(open_dates) - 1)
    return sessions.opens[rows], sessions.closes[rows], open_dates[rows] == dates


@cache
def _rows() -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Dates and open, high, low, close, volume by symbol; about 0.6 MB, read in 20 ms."""
    # Not by the package's own module, which keeps every row as Python objects (5 MB).
    import bokeh_sampledata

    dates: dict[str, list[str]] = {symbol: [] for symbol in NAMES}
    values: dict[str, array[float]] = {symbol: array("d") for symbol in NAMES}
    with gzip.open(Path(bokeh_sampledata.__file__).parent / "_data" / "stocks.csv.gz", "rt", encoding="utf-8") as lines:
        for symbol, date, *numbers in csv.reader(lines):
            if symbol in dates:
                dates[symbol].append(date)
                values[symbol].extend(map(float, numbers[:5]))
    return {
        symbol: (np.array(dates[symbol], "datetime64[D]"), np.frombuffer(values[symbol]).reshape(-1, 5))
        for symbol in NAMES
    }
