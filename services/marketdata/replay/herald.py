"""What is told of an environment: how it stands, and whom it waits for."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from time import monotonic

from services.marketdata.environment import Plan, Position, State, View
from services.marketdata.replay.cycle import Cycle
from services.marketdata.replay.helm import Helm
from services.marketdata.replay.participants import VENUE, Idle, Link
from services.marketdata.replay.roster import Roster

_log = logging.getLogger(__name__)


class Herald:
    """Knows how an environment looks from outside, and tells participants each thing once.

    Who is there but has not answered for long is named. Wall time measures this and decides nothing: it never makes an
    environment BLOCKED, which refuses orders.

    Args:
        announce: tells the inner participants, and the strategies on some streams.
        silence_seconds: how long is long.
    """

    def __init__(
        self,
        plan: Plan,
        roster: Roster,
        helm: Helm,
        announce: Callable[[View, list[Link]], None],
        silence_seconds: float,
    ) -> None:
        self._plan, self._roster, self._helm = plan, roster, helm
        self._announce = announce
        self._silence_seconds = silence_seconds
        self._shown: View | None = None
        # The cycle that was looked at last, and since when.
        self._cycle, self._since = -1, 0.0
        self._idled: dict[Link, Idle] = {}

    def missing(self) -> tuple[str, ...]:
        """Who has no stream, and is needed."""
        return () if self._helm.ended else self._roster.missing(strategies=not self._helm.control.stopping)

    def view(self, cycle: Cycle, stored: Position) -> View:
        """As it stands; positions that are not stored yet do not show."""
        missing, state, stands = self.missing(), self._helm.control.state, cycle.stands(stored)
        # A replay that nobody has started waits for its participants without being blocked.
        if missing and (self._helm.wanted or not stands):
            state, blocked_on = State.BLOCKED, missing
        else:
            # PAUSED is a long Idle (rule 33): whoever sees it may rely on it that the cycle under way has ended.
            state = State.RUNNING if state is State.PAUSED and not stands else state
            blocked_on = self._silent(cycle.number)
        pace, number, time = self._helm.control.pace, max(stored.cycle, 0), stored.market_time or None
        return View(self._plan, state, blocked_on, pace, stored.tape_sequence, time, number)

    def show(self, cycle: Cycle, stored: Position) -> View:
        """Announces the environment when it looks different."""
        view, shown = self.view(cycle, stored), self._shown
        self._shown = view
        if shown and (shown.state, shown.blocked_on, shown.pace) == (view.state, view.blocked_on, view.pace):
            return view
        extra = {"environment_id": self._plan.environment_id, "state": view.state, "blocked_on": view.blocked_on}
        if self.names_silent:
            _log.warning("a participant does not answer", extra=extra)
        else:
            _log.info("the environment changed", extra=extra)
        self._announce(view, self._roster.strategies)
        if shown is not None and shown.state is State.BLOCKED and view.state is not State.BLOCKED:
            self.clear()
            self._helm.move()
            # In mid-cycle a venue that was told to stand serves strategies again once it is granted what it reached.
            seat = self._roster.seats[VENUE]
            if not cycle.finished and cycle.reached is not None and seat.link and seat.caught_up(cycle.number):
                seat.link.send(cycle.grant())
        return view

    def stand(self, view: View, cycle: Cycle, position: Position) -> None:
        """Where time stands still: tells everybody who has not been told, and those who wait for that."""
        if view.state is not State.BLOCKED and not cycle.finished:
            if self.missing():
                # Held before anybody came to prime it.
                self._helm.stand()
            return
        if view.state is State.BLOCKED or not self._helm.control.stopping:
            self._helm.stand()
        idle = Idle(self._plan.environment_id, position.cycle, view.state, position.tape_sequence)
        for link in self._roster.links:
            if self._idled.get(link) != idle:
                self._idled[link] = idle
                link.send(idle)

    @property
    def names_silent(self) -> bool:
        """Whether somebody was named last who is there but silent."""
        return self._shown is not None and self._shown.state is not State.BLOCKED and bool(self._shown.blocked_on)

    async def watch(self, cycle: Callable[[], int], changed: Callable[[], None]) -> None:
        """Says for ever when somebody has to be named: one timer for all cycles, as a cycle takes a few ms."""
        while True:
            await asyncio.sleep(self._due(cycle()))
            shown = self._shown
            if shown and shown.state is not State.BLOCKED and shown.blocked_on != self._silent(cycle()):
                changed()

    def _due(self, cycle: int) -> float:
        """Seconds until somebody may have to be named; whoever is asked meanwhile has longer than that."""
        now = monotonic()
        left = (since + self._silence_seconds - now for _, since in self._roster.asked(cycle))
        return min((each for each in left if each > 0), default=self._silence_seconds)

    def forget(self, link: Link) -> None:
        """A stream has ended, or begins anew."""
        self._idled.pop(link, None)

    def clear(self) -> None:
        """Time moves."""
        self._idled.clear()

    def _silent(self, cycle: int) -> tuple[str, ...]:
        now = monotonic()
        if cycle != self._cycle:
            self._cycle, self._since = cycle, now
        # Most cycles end long before: then nobody need be looked through.
        if now - self._since < self._silence_seconds:
            return ()
        return tuple(name for name, since in self._roster.asked(cycle) if since + self._silence_seconds <= now)
