"""One environment's cycle (rule 32): grant, fold, fold, decide, store; again whenever somebody comes back.

Nothing here happens in the middle of a step: what participants say is noted, and the loop looks at what is missing to
finish the cycle and sends just that. Every request is repeatable, so a participant on a new stream is asked again,
and the cycle ends when each has answered it on the stream it has now.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from typing import Final

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.timeline import Timeline, Wake
from services.marketdata.environment import (
    Claim,
    Control,
    Enrolment,
    Pace,
    Position,
    State,
    Stored,
    View,
    Writes,
)
from services.marketdata.replay.cycle import Cycle
from services.marketdata.replay.helm import Helm
from services.marketdata.replay.herald import Herald
from services.marketdata.replay.pacing import Pacer
from services.marketdata.replay.participants import TOLD_THE_ROLL, VENUE, Announced, Link, Roll, Welcome
from services.marketdata.replay.roster import Roster
from services.marketdata.replay.schedule import Schedule
from services.marketdata.tapes.cutting import session_ends

# A shorter wait for the pace is not worth telling the participants of.
SHORTEST_IDLE_SECONDS: Final = 0.002

_log = logging.getLogger(__name__)


class Coordinator:
    """One environment. Its methods note what happened; `run` acts on it.

    Args:
        announce: tells the inner participants, and the strategies on some streams.
        publish: shows the tape up to a position, which is stored.
        grant_records: the longest grant.
        silence_seconds: who has not answered for longer is named, and waited for all the same.
    """

    def __init__(
        self,
        stored: Stored,
        timeline: Timeline,
        store: Writes,
        *,
        announce: Callable[[View, list[Link]], None],
        publish: Callable[[Position], None],
        grant_records: int,
        silence_seconds: float,
    ) -> None:
        self.plan = stored.plan
        self.position = self._stored = stored.position
        self.timeline = timeline
        self._store = store
        self._publish = publish
        self._pacer = Pacer(timeline.tape, session_ends(timeline.tape), stored.control.pace)
        self._roster = Roster(stored.enrolments)
        self._cycle = Cycle.recovered(self._id, stored.position)
        self._changed = asyncio.Event()
        self._helm = Helm(stored.plan, stored.control, store, self._pacer, self._changed.set)
        # What is PAUSED was stored after the last grant; what is to go on may have been granted more than is stored.
        self._cycle.latest = not self._helm.wanted
        self._herald = Herald(stored.plan, self._roster, self._helm, announce, silence_seconds)
        self._schedule = Schedule(stored.plan, timeline, self._pacer, grant_records)

    # As it stands

    @property
    def control(self) -> Control:
        """What its owner asks for."""
        return self._helm.control

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self._helm.ended

    def view(self) -> View:
        """As it stands; positions that are not stored yet do not show."""
        return self._herald.view(self._cycle, self._stored)

    # What participants say

    def join(self, link: Link, cycle: int, tape_sequence: int) -> None:
        """The venue or books take part from now on, on this stream; `cycle` is the last one they finished."""
        self._herald.forget(link)
        if link.name == VENUE and cycle > self._cycle.number and not self.ended:
            self._adopt(cycle, tape_sequence)
        self._cycle.latest = self._cycle.latest or link.name == VENUE
        self._roster.sit(link)
        if self.ended:
            link.send(Announced(self.view()))
        elif link.name in TOLD_THE_ROLL:
            link.send(Roll(self._id, self._roster.roll))
        self._changed.set()

    def enrol(self, link: Link, claim: Claim, wake: Wake | None, cycle: int) -> None:
        """A strategy takes part: a new one from the next boundary on, a known one goes on where it was.

        Raises:
            ApiError: PERMISSION_DENIED `SEAT_TOKEN_INVALID`, FAILED_PRECONDITION `DEPLOYMENT_ENDED`.
        """
        known = self._roster.enrolment(claim)
        if known is not None and known.left and not self.ended:
            message = f"{claim.deployment_id} has left {self._id}."
            raise ApiError.failed_precondition("DEPLOYMENT_ENDED", message, subject=claim.deployment_id)
        if known is not None:
            link.send(self._welcome(known))
        if self.ended:
            link.send(Announced(self.view()))
            return
        self._herald.forget(link)
        self._roster.enrol(link, claim, wake, cycle)
        self._changed.set()

    def reached(self, link: Link, cycle: int, tape_sequence: int, order_head: int) -> None:
        """The venue's answer to a grant; one to a request that is not open is passed over."""
        if not self._is_answer(link, cycle):
            return
        before = self.position
        self._cycle.take_reached(before, link, (tape_sequence, order_head))
        if cycle and order_head == before.order_head and self.timeline.next_split(before.tape_sequence) > tape_sequence:
            self._cycle.quiet = before.ledger_head
        self._answered(link, cycle)

    def applied(self, link: Link, cycle: int, ledger_head: int) -> None:
        """The books' answer to a fold."""
        if not self._is_answer(link, cycle):
            return
        self._cycle.take_applied(link, ledger_head)
        self._answered(link, cycle)

    def done(self, link: Link, cycle: int, wakes: Mapping[str, Wake]) -> None:
        """A strategy's answer to a decide."""
        if cycle == self._cycle.number:
            self._roster.done(link, cycle, wakes)
            self._advance()

    def leave(self, claim: Claim) -> None:
        """A strategy takes part no more, from the next boundary on; nobody waits for it any longer.

        Raises:
            ApiError: PERMISSION_DENIED `SEAT_TOKEN_INVALID`.
        """
        self._roster.enrolment(claim)
        self._roster.leave(claim.deployment_id, self._cycle.number)
        self._changed.set()

    def lost(self, link: Link) -> None:
        """A stream has ended."""
        self._roster.lost(link)
        self._herald.forget(link)
        self._changed.set()

    def _is_answer(self, link: Link, cycle: int) -> bool:
        return self._roster.seats[link.name].asked == (link, cycle) and self._cycle.number == cycle

    def _answered(self, link: Link, cycle: int) -> None:
        self._roster.seats[link.name].answered = (link, cycle)
        self._advance()

    def _advance(self) -> None:
        """Asks the next one at once; only a finished cycle is the loop's business (a task switch less a step)."""
        if self._cycle.finished or self._cycle.ask(self._roster, absent=not self.control.stopping):
            self._changed.set()
        elif self._herald.names_silent:
            # It may have been the one who was named.
            self._changed.set()

    async def steer(self, state: State | None = None, *, stopping: bool = False, pace: Pace | None = None) -> View:
        """Changes what is asked of it; returns once that is stored, and time stands where that was asked for.

        While somebody is missing that is at once, and it is BLOCKED: a cycle under way ends when they are back.
        """
        if self._cycle.final and self._cycle.finished:
            # It is being stored as ended, and nothing may be stored after that.
            await self._helm.over()
        else:
            await self._helm.steer(state, stopping=stopping, pace=pace)
        return self.view()

    # The loop

    async def run(self) -> None:
        """Moves time for as long as there is any."""
        watch = self._herald.watch(lambda: self._cycle.number, self._changed.set)
        watching = detach(watch, name=f"silence:{self._id}")
        try:
            await self._run()
        finally:
            watching.cancel()
        self._helm.end()

    async def _run(self) -> None:
        while not self.ended:
            self._changed.clear()
            view = self._show()
            if not self._cycle.ask(self._roster, absent=not self.control.stopping):
                self._herald.stand(view, self._cycle, self.position)
                await self._changed.wait()
                continue
            if not self._cycle.finished:
                reached = self._cycle.reached or (self.position.tape_sequence, 0)
                self.position = self._cycle.finish(self.position, self.timeline.time(reached[0]))
            await self._boundary()

    async def _boundary(self) -> None:
        """Between two cycles: takes in who joins, ends, waits, or grants the next one."""
        if self._cycle.final:
            await self._end()
            return
        enrolments = self._roster.take_roll(self.position)
        granted, wait = self._next()
        position = self.position
        if granted is not None and wait <= SHORTEST_IDLE_SECONDS:
            self._cycle.followed = True
            position = replace(position, granted_through=granted.through, final=granted.final)
        if enrolments or position != self._stored:
            failpoint("marketdata.before_store")
            storing = self._store.put(self.plan, [position, *enrolments], lambda: self._is_stored(position, granted))
            if granted is None or position.granted_through is None or granted.final or enrolments:
                await storing
            else:
                granted.stored = False
        for each in enrolments:
            link = self._roster.stream_of(each.deployment_id)
            if link is not None:
                link.send(self._welcome(each))
        for seat in (self._roster.seats[name] for name in TOLD_THE_ROLL if enrolments):
            if seat.link is not None:
                seat.link.send(Roll(self._id, self._roster.roll))
        if granted is not None and position.granted_through is not None:
            self._pacer.granted(position.tape_sequence, granted.through)
            self._cycle = granted
            self._herald.clear()
            return
        self._herald.stand(self._show(), self._cycle, self.position)
        with suppress(TimeoutError):
            async with asyncio.timeout(None if granted is None else wait):
                await self._changed.wait()

    def _next(self) -> tuple[Cycle | None, float]:
        """The next cycle, and the seconds until it may begin; None while there is none."""
        if not self._helm.wanted or self._herald.missing():
            return None, 0.0
        return self._schedule.next(self.position, self._roster.wakes, stopping=self._helm.control.stopping)

    async def _end(self) -> None:
        state = State.STOPPED if self.control.stopping else State.COMPLETED
        position, control = self.position, replace(self.control, state=state, stopping=False)
        await self._store.put(self.plan, [position, control], lambda: self._is_stored(position, None))
        self._helm.control = control
        self._show()

    def _is_stored(self, position: Position, granted: Cycle | None) -> None:
        failpoint("marketdata.after_store")
        self._stored = position
        if granted is not None:
            granted.stored = True
            if self._cycle is granted:
                self._advance()
        self._publish(position)

    def _adopt(self, cycle: int, tape_sequence: int) -> None:
        """Goes on with a cycle that only the venue knows of: it was granted just before we died, and not yet stored.

        The one before it was finished then, and where it ended is of no more use.
        """
        _log.info("the venue is ahead", extra={"environment_id": self._id, "cycle": cycle, "known": self._cycle.number})
        adopted = self._cycle = Cycle(self._id, cycle, tape_sequence, stored=False)
        position = replace(self.position, cycle=cycle - 1, granted_through=tape_sequence, final=False)
        self.position = replace(position, granted_through=None)
        _storing = self._store.put(self.plan, [position], lambda: self._is_stored(position, adopted))

    def _show(self) -> View:
        return self._herald.show(self._cycle, self._stored)

    @property
    def _id(self) -> str:
        return self.plan.environment_id

    def _welcome(self, enrolment: Enrolment) -> Welcome:
        return Welcome(self._id, enrolment.deployment_id, enrolment.number, enrolment.start_sequence)
