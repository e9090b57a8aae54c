"""Which cycle comes next, and when. What happens in a replay never depends on when."""

from __future__ import annotations

from collections.abc import Sequence

from services.domain.timeline import Timeline, Wake, next_through
from services.marketdata.environment import Plan, Position
from services.marketdata.replay.cycle import Cycle
from services.marketdata.replay.pacing import Pacer


class Schedule:
    """One environment's.

    Args:
        grant_records: the longest grant.
    """

    def __init__(self, plan: Plan, timeline: Timeline, pacer: Pacer, grant_records: int) -> None:
        self._plan, self._timeline, self._pacer, self._grant_records = plan, timeline, pacer, grant_records

    def next(self, position: Position, wakes: Sequence[Wake | None], *, stopping: bool) -> tuple[Cycle, float]:
        """The cycle after a position, and the seconds until it may begin.

        Args:
            wakes: what each strategy waits for; None where it has not said.
            stopping: the environment is to end here.
        """
        name, number, here = self._plan.environment_id, position.cycle + 1, position.tape_sequence
        if stopping or here >= self._plan.end_sequence:
            return Cycle(name, number, here, final=True), 0.0
        known = [wake for wake in wakes if wake is not None]
        if len(known) < len(wakes):
            # Somebody came without saying what it waits for: a cycle without a record asks it.
            return Cycle(name, number, here), 0.0
        through = min(next_through(self._timeline, here, known), here + self._grant_records)
        through, wait = self._pacer.leave(here, through)
        return Cycle(name, number, through), wait
