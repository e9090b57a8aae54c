"""How far a grant may go, and how long to wait before it. What happens in a replay never depends on this."""

from __future__ import annotations

from collections.abc import Callable
from time import monotonic
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from services.domain.tape import Tape
from services.marketdata.environment import Pace

# A pace that was held up (by a slow cycle, not by a pause) catches up no more than this.
SLACK_SECONDS = 0.5


class Leave(NamedTuple):
    """A grant may go to `through`, in `wait` seconds."""

    through: int
    wait: float


class Pacer:
    """The wall-clock side of one replay."""

    def __init__(
        self, tape: Tape, session_ends: NDArray[np.int64], pace: Pace, clock: Callable[[], float] = monotonic
    ) -> None:
        self._tape = tape
        self._ends = session_ends
        self._clock = clock
        self._pace = pace
        self._due = 0.0
        self._anchor: tuple[float, int] | None = None

    def change(self, pace: Pace) -> None:
        """Another pace from now on."""
        if pace != self._pace:
            self._pace = pace
            self.restart()

    def restart(self) -> None:
        """Time stood still for a reason other than the pace: it goes on from here."""
        self._anchor = None
        self._due = 0.0

    def leave(self, position: int, through: int) -> Leave:
        """How far towards ``through`` the pace lets a replay go that stands at ``position``."""
        if through <= position:
            return Leave(through, 0.0)
        if self._pace.sessions_per_second is not None:
            return self._to_session_end(position, through)
        if self._pace.multiple is not None:
            return self._in_market_time(position, through, self._pace.multiple)
        return Leave(through, 0.0)

    def granted(self, position: int, through: int) -> None:
        """A grant went out."""
        rate = self._pace.sessions_per_second
        if rate is not None and self._end_after(position) <= through:
            self._due = max(self._due, self._clock() - SLACK_SECONDS) + 1.0 / rate

    def _end_after(self, position: int) -> int:
        row = int(self._ends.searchsorted(position, side="right"))
        return int(self._ends[row]) if row < len(self._ends) else len(self._tape)

    def _to_session_end(self, position: int, through: int) -> Leave:
        """Inside a session at full speed; its end comes when it is due."""
        end = self._end_after(position)
        if through < end:
            return Leave(through, 0.0)
        if end - 1 > position:
            return Leave(end - 1, 0.0)
        now = self._clock()
        if not self._due:
            self._due = now + 1.0 / (self._pace.sessions_per_second or 1.0)
        return Leave(end, max(0.0, self._due - now))

    def _in_market_time(self, position: int, through: int, multiple: float) -> Leave:
        time = self._tape.time
        now = self._clock()
        if self._anchor is None:
            self._anchor = (now, int(time[max(position - 1, 0)]))
        wall, market = self._anchor
        reached = market + int((now - wall) * multiple * 1e9)
        possible = int(time.searchsorted(reached, side="right"))
        if possible > position:
            return Leave(min(through, possible), 0.0)
        first = int(time[position])
        soonest = int(time.searchsorted(first, side="right"))
        return Leave(min(through, soonest), (first - market) / (multiple * 1e9) - (now - wall))
