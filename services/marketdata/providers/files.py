"""Data sets that are folders of CSV files.

    <folder>/<data_set_id>/data_set.json     {"display_name": "…", "description": "…", "max_move": 1.5,
                                              "instruments": [{"symbol": "EURUSD", "calendar": "24/7",
                                                               "price_increment": "0.00001"}]}
    <folder>/<data_set_id>/quotes.csv        symbol,time,bid,ask[,bid_size,ask_size[,bid_2,bid_size_2,ask_2,…]]
                           trades.csv        symbol,time,price[,size]
                           bars.<interval>.csv   symbol,start,open,high,low,close,volume[,end]
                           splits.csv        symbol,time,numerator,denominator
                           auctions.csv      symbol,time,auction,price[,size]     auction is open or close
                           halts.csv         symbol,time,state                    state is halt or resume

Times are ISO 8601 in UTC (a `Z` or nothing at the end) or whole ns since the epoch. A bar, a split or an auction may
name a bare date: then it begins with that date's first session; a bar of `1d` ends with its last, at whose close is a
closing auction. An auction's time lies in its session, at whose edges it may be: one that is called before the open, or
told after the close, is given by its date. Where a symbol has auctions of a kind, no bar stands for one of them. The
columns of quotes may go on to any price level; what a quote has less is left empty.
"""

from __future__ import annotations

import csv
import json
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from services.domain.bars import interval_length
from services.domain.calendar import Sessions
from services.domain.instrument import Instrument
from services.domain.money import parse_decimal
from services.domain.tape import NO_LEVELS, VALUES, Kind, Levels, Source, joined
from services.marketdata.providers.base import DataSet, Records
from services.marketdata.providers.cells import numbers_in, times_in
from services.marketdata.providers.depth import levels_named, read_levels

# Rows turned into arrays at a time: as text a row takes 600 bytes, as doubles 56.
CHUNK: Final = 20_000
UNREADABLE: Final = "unreadable"
# As the contract has them.
_ID: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,63}")
_SYMBOL: Final = re.compile(r"[A-Z0-9][A-Z0-9./_&-]{0,31}")
_CURRENCY: Final = re.compile(r"[A-Z]{3}")

_log = logging.getLogger(__name__)
_COLUMNS: Final = {
    Kind.QUOTE: ("bid", "ask", "bid_size", "ask_size"),
    Kind.TRADE: ("price", "size"),
    Kind.BAR: ("open", "high", "low", "close", "volume"),
    Kind.SPLIT: ("numerator", "denominator"),
    Kind.AUCTION: ("price", "size", "auction"),
    Kind.HALT: ("state",),
}
_OPTIONAL: Final = frozenset({"bid_size", "ask_size", "size"})
_WORDS: Final = {"auction": {"open": "1", "close": "0"}, "state": {"halt": "1", "resume": "0"}}
_FILES: Final = {
    "quotes": Kind.QUOTE,
    "trades": Kind.TRADE,
    "splits": Kind.SPLIT,
    "auctions": Kind.AUCTION,
    "halts": Kind.HALT,
}


@dataclass(frozen=True, slots=True)
class _File:
    path: Path
    kind: Kind
    interval: str = ""


@dataclass(slots=True)
class _Columns:
    """One symbol's rows, chunk by chunk."""

    time: list[NDArray[np.int64]] = field(default_factory=list)
    start: list[NDArray[np.int64]] = field(default_factory=list)
    values: list[NDArray[np.float64]] = field(default_factory=list)
    levels: list[Levels] = field(default_factory=list)
    unread: int = 0


class FilesProvider:
    """Every data set of one folder. A folder that is not a data set is passed over, with a warning."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listed: dict[Path, tuple[object, DataSet]] = {}

    def calendars(self) -> Sequence[str]:
        """See `Provider`."""
        names = {each.calendar for made in self._described().values() for each in made.instruments}
        return sorted(names)

    def data_sets(self, sessions: Mapping[str, Sessions]) -> Sequence[DataSet]:
        """See `Provider`. Files are counted, and read only at both ends."""
        return list(self._described().values())

    def read(self, data_set_id: str, symbols: frozenset[str], sessions: Mapping[str, Sessions]) -> list[Records]:
        """See `Provider`."""
        data_set = self._described()[data_set_id]
        calendars = {each.symbol: sessions.get(each.calendar) for each in data_set.instruments}
        records = []
        for file in _files(self._folder / data_set_id):
            columns = {symbol: _Columns() for symbol in sorted(symbols)}
            _read_file(file, columns, calendars)
            records += [_records(file, symbol, found) for symbol, found in columns.items() if found.time]
        return records

    def _described(self) -> dict[str, DataSet]:
        found = {}
        for path in sorted(self._folder.glob("*/data_set.json")):
            try:
                signature = [(each.path.name, each.path.stat().st_mtime_ns) for each in _files(path.parent)]
                signature.append((path.name, path.stat().st_mtime_ns))
                listed = self._listed.get(path)
                if listed is None or listed[0] != signature:
                    listed = self._listed[path] = (signature, _describe(path))
                found[listed[1].data_set_id] = listed[1]
            except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
                _log.warning("no data set", extra={"path": str(path), "error": str(error)})
        return found


def _describe(path: Path) -> DataSet:
    described = json.loads(path.read_text("utf-8"))
    files = _files(path.parent)
    ends = [end for file in files for end in _ends(file.path)]
    if not ends:
        raise ValueError("it has no records")
    if not _ID.fullmatch(path.parent.name):
        raise ValueError("its name is no id")
    return DataSet(
        data_set_id=path.parent.name,
        display_name=str(described.get("display_name", path.parent.name)),
        description=str(described.get("description", "")),
        instruments=tuple(_instrument(each) for each in described["instruments"]),
        kinds=tuple(_label(file) for file in files),
        start_time=min(ends),
        end_time=max(ends),
        record_count=sum(_lines(file.path) - 1 for file in files),
        max_move=float(described.get("max_move", 0)),
    )


def _instrument(described: Mapping[str, Any]) -> Instrument:
    known = {each.name for each in fields(Instrument)}
    values: dict[str, Any] = {key: str(value) for key, value in described.items() if key in known}
    values["name"] = str(described.get("display_name", ""))
    for name in ("price_increment", "quantity_increment", "lot_size", "contract_multiplier"):
        if name in values and (value := parse_decimal(values[name])) > Decimal(0):
            values[name] = value
        elif name in values:
            raise ValueError(f"{name} {values[name]} is not above zero")
    made = Instrument(**values)
    if not (_SYMBOL.fullmatch(made.symbol) and _CURRENCY.fullmatch(made.currency_code)) or "\0" in made.name:
        raise ValueError(f"{made.symbol[:40]!r} is no symbol, or {made.currency_code[:8]!r} no currency")
    return made


def _files(folder: Path) -> list[_File]:
    found = []
    for path in sorted(folder.glob("*.csv")):
        kind = _FILES.get(path.stem)
        if kind is not None:
            found.append(_File(path, kind))
        elif path.stem.startswith("bars."):
            interval = path.stem.removeprefix("bars.")
            interval_length(interval)
            found.append(_File(path, Kind.BAR, interval))
    return found


def _label(file: _File) -> str:
    """Its kind, with a bar's interval, or how many price levels a quote has where they are more than one."""
    more = file.interval
    if file.kind is Kind.QUOTE:
        with file.path.open(encoding="utf-8", errors="replace") as text:
            levels = levels_named(text.readline().strip().split(","))
        more = str(levels) if levels > 1 else ""
    return f"{file.kind.name} {more}".strip()


def _lines(path: Path) -> int:
    with path.open("rb") as data:
        return sum(block.count(b"\n") for block in iter(lambda: data.read(1 << 20), b""))


def _ends(path: Path) -> list[int]:
    """The times of a file's first and last record."""
    with path.open("rb") as data:
        header = data.readline()
        first = data.readline()
        data.seek(max(data.tell(), path.stat().st_size - 4096))
        last = data.read().splitlines()[-1:] or [first]
    names = header.decode().strip().split(",")
    column = names.index("time" if "time" in names else "start")
    rows = [next(csv.reader([line.decode()]), []) for line in (first, last[0])]
    times, good = times_in([row[column] for row in rows if len(row) > column])
    known: list[int] = times[good].tolist()
    return known


def _read_file(file: _File, columns: dict[str, _Columns], calendars: Mapping[str, Sessions | None]) -> None:
    with file.path.open(encoding="utf-8", errors="replace", newline="") as text:
        reader = csv.DictReader(text, restval="")
        for rows in _chunks(reader):
            by_symbol: dict[str, list[dict[str, str]]] = {}
            for row in rows:
                if row.get("symbol") in columns:
                    by_symbol.setdefault(row["symbol"], []).append(row)
            for symbol, own in by_symbol.items():
                _take(file, own, columns[symbol], calendars.get(symbol))


def _chunks(reader: Iterator[dict[str, str]]) -> Iterator[list[dict[str, str]]]:
    while rows := list(islice(reader, CHUNK)):
        yield rows


def _take(file: _File, rows: list[dict[str, str]], columns: _Columns, sessions: Sessions | None) -> None:
    """Turns rows into arrays; what is no number stays a row of NaN, so that it is refused and counted as one."""
    texts = [row.get("time") or row.get("start") or "" for row in rows]
    begin, good = times_in(texts)
    values = np.zeros((len(rows), VALUES))
    for place, name in enumerate(_COLUMNS[file.kind]):
        given = [row.get(name) or "" for row in rows]
        if (words := _WORDS.get(name)) is not None:
            given = [words.get(text, "") for text in given]
        values[:, place] = numbers_in(given, 0.0 if name in _OPTIONAL else np.nan)
    end = begin
    if file.kind is Kind.BAR:
        end = begin + interval_length(file.interval)
        stated, known = times_in([row.get("end") or "" for row in rows])
        end = np.where(known, stated, end)
    if file.kind in {Kind.BAR, Kind.SPLIT, Kind.AUCTION} and sessions is not None:
        bare = np.array([len(text) == 10 and not text.isdigit() for text in texts], np.bool_) & good
        closing = (values[:, 2] == 0.0) & (file.kind is Kind.AUCTION)
        begin, end, known = _in_sessions(file, (begin, end), bare, sessions, closing)
        good &= known
    columns.unread += int(np.count_nonzero(~good))
    columns.time.append(end[good])
    columns.start.append(begin[good])
    columns.values.append(values[good])
    columns.levels.append(read_levels(rows).among(good) if file.kind is Kind.QUOTE else NO_LEVELS)


def _in_sessions(
    file: _File,
    times: tuple[NDArray[np.int64], NDArray[np.int64]],
    bare: NDArray[np.bool_],
    sessions: Sessions,
    closing: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
    """Records of a bare date lie in the sessions that close on that date, UTC; without one they cannot be placed."""
    begin, end = times
    dates = sessions.closes.astype("datetime64[ns]").astype("datetime64[D]")
    asked = begin.astype("datetime64[ns]").astype("datetime64[D]")
    rows = np.minimum(dates.searchsorted(asked), len(dates) - 1)
    opens, closes = sessions.opens[rows], sessions.closes[dates.searchsorted(asked, side="right") - 1]
    # What is no bar happens at an instant: a closing auction at the close, all else at the open.
    opens = np.where(closing, closes, opens)
    stop = closes if file.interval == "1d" else opens + (end - begin)
    placed = np.where(bare, opens, begin), np.where(bare, stop, end)
    return *placed, ~bare | (dates[rows] == asked)


def _records(file: _File, symbol: str, found: _Columns) -> Records:
    source = Source(file.kind, symbol, file.interval)
    unread = {UNREADABLE: found.unread} if found.unread else {}
    columns = np.concatenate(found.time), np.concatenate(found.start), np.concatenate(found.values)
    levels = joined((len(time), own) for time, own in zip(found.time, found.levels, strict=True))
    return Records(source, *columns, unread, levels)
