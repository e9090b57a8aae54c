"""Tapes, which travel in stretches of columns."""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray
from tickmesh.marketdata.v1 import tape_service_pb2

from services.domain.tape import VALUES, Kind, Source, Tape
from services.wire.columns import packed, packed_varints

_Columns = tuple[NDArray[np.int32], NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]
STRETCH: Final = 4096
"""Records a message: about 230 kB; few enough messages, and none that holds the loop for long."""
_NOTHING: _Columns = (np.empty(0, np.int32), np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0))


class TapeReader:
    """Joins the stretches of one tape. Each is arrays as soon as it has come, so its message need not be kept."""

    def __init__(self) -> None:
        self.parts = 0
        self._sources: tuple[Source, ...] = ()
        self._columns: list[_Columns] = [_NOTHING]

    def add(self, part: tape_service_pb2.ReadTapeResponse) -> None:
        """Takes the next stretch; the first one names the sources."""
        self.parts += 1
        if part.sources:
            self._sources = tuple(Source(Kind(each.kind), each.symbol, each.interval) for each in part.sources)
        times = np.array(part.time, np.int64), np.array(part.start, np.int64)
        self._columns.append((np.array(part.source, np.int32), *times, np.array(part.values, np.float64)))

    def tape(self) -> Tape:
        """All that came."""
        source, time, start, values = (np.concatenate(column) for column in zip(*self._columns, strict=True))
        return Tape(self._sources, source, time, start, values.reshape(-1, VALUES))


def stretch_to_proto(tape: Tape, first: int, stop: int | None = None, *, with_sources: bool) -> bytes:
    """The bytes of the message with the records after position `first` up to `stop`, as many as it holds."""
    rows = slice(first, min(first + STRETCH, len(tape) if stop is None else stop))
    made = tape_service_pb2.ReadTapeResponse(first_sequence=first + 1, end_sequence=len(tape))
    if with_sources:
        for source in tape.sources:
            made.sources.add(kind=source.kind.value, symbol=source.symbol, interval=source.interval)
    columns = [
        packed_varints(3, tape.source[rows]),
        packed(4, tape.time[rows]),
        packed(5, tape.start[rows]),
        packed(6, np.ravel(tape.values[rows])),
    ]
    return made.SerializeToString() + b"".join(columns)
