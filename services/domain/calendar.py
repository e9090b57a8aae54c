"""Trading sessions as plain arrays of edges, which is all that the domain sees of an exchange's calendar (rule 24).

Who compiles them from a calendar library says how far it knows them; beyond that nothing is guessed. Times are ns since
the epoch, UTC; a session is ``[open, close)``: at the closing instant it is over (rule 15).
"""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.tape import VALUES, Kind, Series, Source


class UnknownTime(ValueError):
    """A time of which the calendar says nothing: before its first known day or after its last."""


class Session(NamedTuple):
    """One session, ``[open, close)`` in ns."""

    open: int
    close: int


@dataclass(frozen=True, slots=True, eq=False)
class Sessions:
    """The sessions of one calendar.

    Attributes:
        calendar: its name: an exchange's MIC.
        opens, closes: int64 ns ``[n]`` each, rising; no session begins before the last has ended.
        known_from, known_until: the calendar speaks for ``[known_from, known_until)``, ns.

    Raises:
        ValueError: edges out of order, or outside of what is known.
    """

    calendar: str
    opens: NDArray[np.int64]
    closes: NDArray[np.int64]
    known_from: int
    known_until: int

    def __post_init__(self) -> None:
        if len(self.opens) != len(self.closes):
            raise ValueError(f"{self.calendar}: {len(self.opens)} opens and {len(self.closes)} closes")
        edges = np.column_stack((self.opens, self.closes)).ravel()
        steps = np.diff(edges)
        if (steps[::2] <= 0).any() or (steps[1::2] < 0).any():
            raise ValueError(f"{self.calendar}: sessions out of order")
        if len(edges) and not (self.known_from <= edges[0] and edges[-1] <= self.known_until):
            raise ValueError(f"{self.calendar}: sessions outside of the known range")

    def session_of(self, time: int) -> Session | None:
        """The session that ``time`` lies in, if any.

        Raises:
            UnknownTime: the calendar does not know.
        """
        self._check(time)
        place = int(self.opens.searchsorted(time, side="right")) - 1
        if place < 0 or time >= self.closes[place]:
            return None
        return Session(int(self.opens[place]), int(self.closes[place]))

    def between(self, begin: int, end: int) -> "Sessions":
        """The sessions that lie whole in ``[begin, end]``, known for that range only.

        Raises:
            UnknownTime: the calendar does not know all of it.
        """
        if begin < self.known_from or end > self.known_until:
            raise UnknownTime(f"{self.calendar} is known from {self.known_from} to {self.known_until} ns")
        inside = (self.opens >= begin) & (self.closes <= end)
        return Sessions(self.calendar, self.opens[inside], self.closes[inside], begin, end)

    def clock(self) -> Series:
        """The edges as CLOCK records of a tape. Where one session begins as another ends, the open sorts first."""
        edges = np.column_stack((self.opens, self.closes)).ravel()
        values = np.zeros((len(edges), VALUES))
        values[::2, 0] = 1.0
        return Series(Source(Kind.CLOCK, self.calendar), edges, edges, values)

    def _check(self, time: int) -> None:
        if not self.known_from <= time < self.known_until:
            raise UnknownTime(
                f"{self.calendar} is known from {self.known_from} to {self.known_until} ns, not at {time}"
            )
