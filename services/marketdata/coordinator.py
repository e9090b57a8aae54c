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
from dataclasses import dataclass, field, replace
from itertools import groupby
from typing import Final, Protocol

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.timeline import Timeline, Wake, next_through
from services.marketdata.environment import ENDED, Control, Enrolment, Pace, Plan, Position, State, Stored, View
from services.marketdata.pacing import Pacer
from services.marketdata.participants import (
    PORTFOLIO,
    RISK,
    VENUE,
    Announced,
    Decide,
    Fold,
    Grant,
    Idle,
    Link,
    Message,
    Welcome,
)
from services.marketdata.tapes import session_ends

# A shorter wait for the pace is not worth telling the participants of.
SHORTEST_IDLE_SECONDS: Final = 0.002

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Seat:
    """The venue's or a book's place.

    Attributes:
        asked: the stream and cycle of the last request.
        answered: the stream and cycle of the last answer: after a rejoin the cycle is asked for again.
    """

    link: Link | None = None
    asked: tuple[Link, int] | None = None
    answered: tuple[Link, int] | None = None

    def caught_up(self, cycle: int) -> bool:
        """Whether it has answered the cycle on the stream it has now."""
        return self.link is not None and self.answered == (self.link, cycle)


@dataclass(slots=True)
class Deployment:
    """A strategy's place. `wake` is None while nobody has said what it waits for."""

    enrolment: Enrolment
    link: Link | None = None
    wake: Wake | None = None
    done: int = -1
    asked: tuple[Link, int] | None = None


@dataclass(slots=True)
class Cycle:
    """The cycle under way, or the last one once it is finished."""

    number: int
    through: int
    final: bool = False
    reached: tuple[int, int] | None = None
    ledger_head: int | None = None
    finished: bool = False


@dataclass(slots=True)
class Roll:
    """Who asked to take part or to leave since the last boundary."""

    joining: dict[str, tuple[Link, Wake | None]] = field(default_factory=dict)
    leaving: set[str] = field(default_factory=set)


class Writes(Protocol):
    """The store's part that a coordinator needs."""

    def put(
        self, plan: Plan, parts: list[Control | Position | Enrolment], then: Callable[[], None] | None = None
    ) -> asyncio.Future[None]:
        """Replaces what changed, in one transaction."""


class Coordinator:
    """One environment. Its methods note what happened; `run` acts on it.

    Args:
        announce: tells participants, and whom besides the inner ones.
        publish: shows the tape up to a position, which is stored.
        grant_records: the longest grant.
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
    ) -> None:
        self.plan = stored.plan
        self.control = stored.control
        self.position = self._stored = stored.position
        self.timeline = timeline
        self._store = store
        self._announce = announce
        self._publish = publish
        self._grant_records = grant_records
        self._pacer = Pacer(timeline.tape, session_ends(timeline.tape), stored.control.pace)
        self._seats = {VENUE: Seat(), PORTFOLIO: Seat(), RISK: Seat()}
        self._enrolled = {each.deployment_id: each for each in stored.enrolments}
        self._deployments = {each.deployment_id: Deployment(each) for each in stored.enrolments if not each.left}
        self._roll = Roll()
        self._cycle = _recovered(stored.position)
        self._changed = asyncio.Event()
        self._standing = asyncio.Event()
        self._shown: View | None = None
        self._idled: dict[Link, Idle] = {}
        self._blocked = False

    # --- as it stands

    @property
    def ended(self) -> bool:
        """Whether it is over."""
        return self.control.state in ENDED

    def view(self) -> View:
        """As it stands; positions that are not stored yet do not show."""
        missing = () if self.ended else self._missing()
        # A replay that nobody has started waits for its participants without being blocked.
        blocked = missing and (self._wanted() or (not self._cycle.finished and self._cycle.number > 0))
        state = State.BLOCKED if blocked else self.control.state
        stored = self._stored
        shown = missing if blocked else ()
        cycle, time = max(stored.cycle, 0), stored.market_time or None
        return View(self.plan, state, shown, self.control.pace, stored.tape_sequence, time, cycle)

    def _wanted(self) -> bool:
        return self.control.state is State.RUNNING or self.control.stopping

    def _missing(self) -> tuple[str, ...]:
        names = [name for name, seat in self._seats.items() if seat.link is None]
        if not self.control.stopping:
            here = [name for name, each in self._deployments.items() if each.link is None]
            names += [name for name in here if name not in self._roll.leaving]
        return tuple(names)

    # --- what participants say

    def join(self, link: Link) -> None:
        """The venue or books take part from now on, on this stream."""
        seat = self._seats[link.name]
        seat.link, seat.asked, seat.answered = link, None, None
        self._idled.pop(link, None)
        if self.ended:
            link.send(Announced(self.view()))
        self._changed.set()

    def enrol(self, link: Link, deployment_id: str, wake: Wake | None, cycle: int) -> None:
        """A strategy takes part: a new one from the next boundary on, a known one goes on where it was."""
        known = self._enrolled.get(deployment_id)
        if known is not None:
            link.send(self._welcome(known))
        if self.ended or (known is not None and known.left):
            link.send(Announced(self.view()))
            return
        self._idled.pop(link, None)
        deployment = self._deployments.get(deployment_id)
        if deployment is None:
            self._roll.joining[deployment_id] = (link, wake)
        else:
            # What it says counts: a host that stores lazily comes back with an older cycle than it had answered.
            deployment.link, deployment.wake, deployment.done, deployment.asked = link, wake, cycle, None
        self._changed.set()

    def reached(self, link: Link, cycle: int, tape_sequence: int, order_head: int) -> None:
        """The venue's answer to a grant; one to a request that is not open is passed over."""
        if not self._is_answer(link, VENUE, cycle):
            return
        now = self._cycle
        if now.reached is None:
            low, high = self.position.tape_sequence, now.through
            if not low <= tape_sequence <= high or order_head < self.position.order_head:
                raise ApiError.invalid_field("reached", f"is not within {low} to {high} and after what was before")
            now.reached = (tape_sequence, order_head)
            failpoint("marketdata.after_reached")
        elif now.reached != (tape_sequence, order_head):
            self._differs(VENUE, now.reached, (tape_sequence, order_head))
        self._seats[VENUE].answered = (link, cycle)
        self._changed.set()

    def applied(self, link: Link, cycle: int, ledger_head: int) -> None:
        """The books' answer to a fold."""
        if not self._is_answer(link, link.name, cycle):
            return
        now = self._cycle
        if link.name == PORTFOLIO:
            if now.ledger_head is None:
                now.ledger_head = ledger_head
            elif now.ledger_head != ledger_head:
                self._differs(PORTFOLIO, now.ledger_head, ledger_head)
        elif not now.finished:
            failpoint("marketdata.after_fold")
        self._seats[link.name].answered = (link, cycle)
        self._changed.set()

    def done(self, link: Link, cycle: int, wakes: Mapping[str, Wake]) -> None:
        """A strategy's answer to a decide."""
        if cycle != self._cycle.number:
            return
        for deployment_id, wake in wakes.items():
            deployment = self._deployments.get(deployment_id)
            if deployment is not None and deployment.link is link:
                deployment.done, deployment.wake = cycle, wake
        self._changed.set()

    def leave(self, deployment_id: str) -> None:
        """A strategy takes part no more, from the next boundary on; nobody waits for it any longer."""
        if self._roll.joining.pop(deployment_id, None) is None and deployment_id in self._deployments:
            self._roll.leaving.add(deployment_id)
            self._deployments[deployment_id].done = self._cycle.number
        self._changed.set()

    def lost(self, link: Link) -> None:
        """A stream has ended."""
        for seat in self._seats.values():
            if seat.link is link:
                seat.link = None
        for deployment in self._deployments.values():
            if deployment.link is link:
                deployment.link = None
        for deployment_id, (joining, _) in list(self._roll.joining.items()):
            if joining is link:
                del self._roll.joining[deployment_id]
        self._idled.pop(link, None)
        self._changed.set()

    # --- what its owner asks for

    async def steer(self, state: State | None = None, *, stopping: bool = False, pace: Pace | None = None) -> View:
        """Changes what is asked of it; returns once that is stored, and time stands where that was asked for.

        A cycle that waits for a missing participant counts as standing: it is finished when that comes back.
        """
        if self.ended:
            return self.view()
        control = self.control
        if stopping:
            control = replace(control, stopping=True)
        if state is not None and not control.stopping:
            control = replace(control, state=state)
        control = replace(control, pace=pace if pace is not None else control.pace)
        if control != self.control:
            if pace is not None:
                self._pacer.change(pace)
            if control.state is not self.control.state:
                self._pacer.restart()
            self.control = control
            await self._store.put(self.plan, [control])
            self._changed.set()
        if stopping or state is State.PAUSED:
            self._standing.clear()
            self._changed.set()
            await self._standing.wait()
        elif state is not None:
            # Whoever still waits for it to stand waits for nothing now.
            self._standing.set()
        return self.view()

    # --- the loop

    async def run(self) -> None:
        """Moves time for as long as there is any."""
        while not self.ended:
            self._changed.clear()
            self._show()
            if not self._ask():
                self._stand(blocked=self.view().state is State.BLOCKED)
                await self._changed.wait()
                continue
            if not self._cycle.finished:
                self._finish()
            await self._boundary()
        self._standing.set()

    def _ask(self) -> bool:
        """Sends what is due now; True when all have answered the cycle on the streams they have."""
        now = self._cycle
        if not self._asked(
            VENUE, Grant(self._id, now.number, now.reached[0] if now.reached else now.through, now.final)
        ):
            return False
        if now.reached is None:
            return False
        if not self._asked(PORTFOLIO, Fold(self._id, now.number, *now.reached, 0)):
            return False
        if not self._asked(RISK, Fold(self._id, now.number, *now.reached, now.ledger_head or 0)):
            return False
        if now.final or now.number == 0:
            return True
        return self._decided(now)

    def _asked(self, name: str, message: Message) -> bool:
        seat, number = self._seats[name], self._cycle.number
        if seat.caught_up(number):
            return True
        if seat.link is not None and seat.asked != (seat.link, number):
            seat.asked = (seat.link, number)
            seat.link.send(message)
        return False

    def _decided(self, now: Cycle) -> bool:
        late = [each for each in self._deployments.values() if each.done < now.number]
        if self.control.stopping:
            late = [each for each in late if each.link is not None]
        if not late:
            return True
        if now.reached is None:
            return False
        # Consecutive ones of one stream together, and nobody before those with lower numbers are done.
        link, group = next((link, list(each)) for link, each in groupby(late, lambda each: each.link))
        if link is not None and any(each.asked != (link, now.number) for each in group):
            for each in group:
                each.asked = (link, now.number)
            names = tuple(each.enrolment.deployment_id for each in group)
            link.send(Decide(self._id, now.number, *now.reached, names))
        return False

    def _finish(self) -> None:
        now = self._cycle
        sequence, order_head = now.reached or (self.position.tape_sequence, self.position.order_head)
        ledger_head = max(now.ledger_head or 0, self.position.ledger_head)
        time = self.timeline.time(sequence)
        self.position = Position(now.number, sequence, order_head, ledger_head, time)
        now.finished = True

    async def _boundary(self) -> None:
        """Between two cycles: takes in who joins, ends, waits, or grants the next one."""
        changed = self._take_roll()
        if self._cycle.final:
            await self._end()
            return
        granted, wait = self._next()
        position = self.position
        if granted is not None and wait <= SHORTEST_IDLE_SECONDS:
            position = replace(position, granted_through=granted.through, final=granted.final)
        if changed or position != self._stored:
            failpoint("marketdata.before_store")
            await self._store.put(self.plan, [position, *changed], lambda: self._is_stored(position))
            failpoint("marketdata.after_store")
        for each in changed:
            self._welcomed(each)
        if position.granted_through is not None and granted is not None:
            self._pacer.granted(position.tape_sequence, granted.through)
            self._cycle = granted
            self._idled.clear()
            return
        await self._wait(wait if granted is not None else None)

    async def _wait(self, seconds: float | None) -> None:
        """Stands until something changes or the pace says so."""
        self._stand(blocked=self.view().state is State.BLOCKED)
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._changed.wait()

    def _next(self) -> tuple[Cycle | None, float]:
        """The next cycle, and the seconds until it may begin; None while there is none."""
        number, here, end = self.position.cycle + 1, self.position.tape_sequence, self.plan.end_sequence
        if not self._wanted() or self._missing():
            return None, 0.0
        if self.control.stopping or here >= end:
            return Cycle(number, here, final=True), 0.0
        wakes = [each.wake for each in self._deployments.values()]
        if None in wakes:
            # Somebody came without saying what it waits for: a cycle without a record asks it.
            return Cycle(number, here), 0.0
        through = next_through(self.timeline, here, [wake for wake in wakes if wake is not None])
        through, wait = self._pacer.leave(here, min(through, here + self._grant_records))
        return Cycle(number, through), wait

    async def _end(self) -> None:
        state = State.STOPPED if self.control.stopping else State.COMPLETED
        control = replace(self.control, state=state, stopping=False)
        position = self.position
        await self._store.put(self.plan, [position, control], lambda: self._is_stored(position))
        self.control = control
        self._show()

    def _is_stored(self, position: Position) -> None:
        self._stored = position
        self._publish(position)

    # --- telling

    def _stand(self, *, blocked: bool) -> None:
        """Time stands still: tells everybody who has not been told, and those who wait for that."""
        self._show()
        standing = self._cycle.finished
        if blocked or standing:
            if not self.control.stopping or self._missing():
                self._standing.set()
            state = State.BLOCKED if blocked else self.control.state
            idle = Idle(self._id, self.position.cycle, state, self.position.tape_sequence)
            for link in self._links():
                if self._idled.get(link) != idle:
                    self._idled[link] = idle
                    link.send(idle)

    def _show(self) -> None:
        """Announces the environment when it looks different."""
        view = self.view()
        shown = self._shown
        if shown is not None and (shown.state, shown.blocked_on, shown.pace) == (
            view.state,
            view.blocked_on,
            view.pace,
        ):
            return
        self._shown = view
        was_blocked, self._blocked = self._blocked, view.state is State.BLOCKED
        _log.info("environment", extra={"environment_id": self._id, "state": view.state, "blocked_on": view.blocked_on})
        self._announce(view, list(dict.fromkeys(each.link for each in self._deployments.values() if each.link)))
        if was_blocked and not self._blocked and not self._cycle.finished:
            self._resume_venue()

    def _resume_venue(self) -> None:
        """In mid-cycle a venue that was told to stand serves strategies again once it is granted what it reached."""
        self._idled.clear()
        now, seat = self._cycle, self._seats[VENUE]
        if now.reached is not None and seat.link is not None and seat.caught_up(now.number):
            seat.link.send(Grant(self._id, now.number, now.reached[0], now.final))

    def _links(self) -> list[Link]:
        inner = [seat.link for seat in self._seats.values()]
        return list(dict.fromkeys(x for x in [*inner, *(each.link for each in self._deployments.values())] if x))

    # --- small things

    @property
    def _id(self) -> str:
        return self.plan.environment_id

    def _take_roll(self) -> list[Enrolment]:
        """Those who left or came since the last boundary, by the order in which they did."""
        changed = []
        for deployment_id in sorted(self._roll.leaving):
            left = replace(self._deployments.pop(deployment_id).enrolment, left=True)
            self._enrolled[deployment_id] = left
            changed.append(left)
        for deployment_id, (link, wake) in self._roll.joining.items():
            number = len(self._enrolled) + 1
            made = Enrolment(deployment_id, number, self.position.tape_sequence)
            self._enrolled[deployment_id] = made
            self._deployments[deployment_id] = Deployment(made, link, wake, self.position.cycle)
            changed.append(made)
        self._roll = Roll()
        return changed

    def _welcomed(self, enrolment: Enrolment) -> None:
        deployment = self._deployments.get(enrolment.deployment_id)
        if deployment is not None and deployment.link is not None:
            deployment.link.send(self._welcome(enrolment))

    def _welcome(self, enrolment: Enrolment) -> Welcome:
        return Welcome(self._id, enrolment.deployment_id, enrolment.number, enrolment.start_sequence)

    def _is_answer(self, link: Link, name: str, cycle: int) -> bool:
        return self._seats[name].asked == (link, cycle) and self._cycle.number == cycle

    def _differs(self, name: str, first: object, now: object) -> None:
        _log.error(
            "a repeated answer differs",
            extra={"environment_id": self._id, "participant": name, "first": first, "repeated": now},
        )


def _recovered(position: Position) -> Cycle:
    """The cycle to go on with: the granted one again, or the finished one for those who come back."""
    if position.granted_through is not None:
        return Cycle(position.cycle + 1, position.granted_through, position.final)
    reached = (position.tape_sequence, position.order_head)
    return Cycle(position.cycle, reached[0], reached=reached, ledger_head=position.ledger_head, finished=True)
