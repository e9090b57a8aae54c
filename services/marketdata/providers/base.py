"""What every provider gives."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from services.domain.calendar import Sessions
from services.domain.instrument import Instrument
from services.domain.tape import NO_LEVELS, Levels, Source


@dataclass(frozen=True, slots=True)
class DataSet:
    """A data set as it is listed.

    Attributes:
        instruments: its symbols, with increments that its prices are written in.
        kinds: `BAR 1d`, `QUOTE`, `QUOTE 10` for one with ten price levels, `TRADE`, `SPLIT`.
        start_time, end_time: of its records, ns.
        max_move: the factor within which a price must lie of the one before it; further is a spike. 0 for any.
    """

    data_set_id: str
    display_name: str
    description: str
    instruments: tuple[Instrument, ...]
    kinds: tuple[str, ...]
    start_time: int
    end_time: int
    record_count: int
    max_move: float = 0.0

    @property
    def symbols(self) -> tuple[str, ...]:
        """Sorted."""
        return tuple(sorted(instrument.symbol for instrument in self.instruments))


@dataclass(slots=True)
class Records:
    """One source's records as they were read, bad ones included; the columns are those of `tape.Series`.

    Attributes:
        unread: lines that could not be read, by reason.
        levels: price levels behind the best ones of quotes, as `tape.Levels` has them.
    """

    source: Source
    time: NDArray[np.int64]
    start: NDArray[np.int64]
    values: NDArray[np.float64]
    unread: dict[str, int] = field(default_factory=dict)
    levels: Levels = NO_LEVELS


class Provider(Protocol):
    """Knows data sets. Called in a thread; `sessions` are those of the calendars it said it needs."""

    def calendars(self) -> Sequence[str]:
        """The calendars that it places records by."""

    def data_sets(self, sessions: Mapping[str, Sessions]) -> Sequence[DataSet]:
        """What there is."""

    def read(self, data_set_id: str, symbols: frozenset[str], sessions: Mapping[str, Sessions]) -> list[Records]:
        """The records of some symbols, source by source.

        Raises:
            KeyError: no such data set.
        """
