"""Tapes, which travel in stretches of columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import numpy as np
from numpy.typing import NDArray
from tickmesh.marketdata.v1 import tape_service_pb2

from services.domain.tape import LEVEL_VALUES, VALUES, Kind, Levels, Source, Tape, joined
from services.wire.columns import packed, packed_varints

_Columns = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
STRETCH: Final = 4096
"""Records a message: about 230 kB; few enough messages, and none that holds the loop for long."""
LEVELS: Final = 16_384
"""Price levels a message, about 560 kB more, unless one quote alone has as many."""
_NOTHING: _Columns = (np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


class TapeReader:
    """Joins the stretches of one tape. Each is arrays as soon as it has come, so its message need not be kept."""

    def __init__(self) -> None:
        self.parts = 0
        self._sources: tuple[Source, ...] = ()
        self._columns: list[_Columns] = [_NOTHING]
        self._levels: list[tuple[int, Levels]] = []

    def add(self, part: tape_service_pb2.ReadTapeResponse) -> None:
        """Takes the next stretch; the first one names the sources."""
        self.parts += 1
        if part.sources:
            self._sources = tuple(Source(Kind(each.kind), each.symbol, each.interval) for each in part.sources)
        times = np.array(part.time, np.int64), np.array(part.start, np.int64)
        self._columns.append((np.array(part.source, np.int32), *times, np.array(part.values, np.float64)))
        values = np.array(part.levels, np.float64).reshape(-1, LEVEL_VALUES)
        self._levels.append((len(part.time), Levels(np.array(part.level_record, np.int64), values)))

    def tape(self) -> Tape:
        """All that came."""
        source, time, start, values = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        return Tape(self._sources, source, time, start, values.reshape(-1, VALUES), joined(self._levels))


def stretches_to_proto(tape: Tape, after: int, stop: int) -> Iterator[bytes]:
    """The bytes of the messages with the records after position `after` up to `stop`; the first names the sources."""
    first = after
    while first < stop or first == after:
        last = min(first + STRETCH, stop)
        levels = tape.levels.between(first, last)
        if len(levels) > LEVELS:
            last = first + max(1, levels.rows.item(LEVELS))
            levels = tape.levels.between(first, last)
        yield _stretch(tape, slice(first, last), levels, with_sources=first == after)
        first = max(last, after + 1)


def _stretch(tape: Tape, rows: slice, levels: Levels, *, with_sources: bool) -> bytes:
    made = tape_service_pb2.ReadTapeResponse(first_sequence=rows.start + 1, end_sequence=len(tape))
    if with_sources:
        for source in tape.sources:
            made.sources.add(kind=source.kind.value, symbol=source.symbol, interval=source.interval)
    columns = [
        packed_varints(3, tape.source[rows]),
        packed(4, tape.time[rows]),
        packed(5, tape.start[rows]),
        packed(6, np.ravel(tape.values[rows])),
    ]
    if len(levels):
        columns += [packed_varints(8, levels.rows.astype(np.int32)), packed(9, np.ravel(levels.values))]
    return made.SerializeToString() + b"".join(columns)
