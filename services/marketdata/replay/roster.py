"""Who takes part in one environment, on which stream, and what they have been told."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from time import monotonic

from services.chassis.errors import ApiError
from services.domain.timeline import Wake
from services.marketdata.environment import Claim, Enrolment, Position
from services.marketdata.replay.participants import PORTFOLIO, RISK, VENUE, Link, Message

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Seat:
    """The venue's or a book's place.

    Attributes:
        asked: the stream and cycle of the last request.
        answered: the stream and cycle of the last answer: on another stream the cycle is asked for again.
        since: when that request was sent, on the monotonic clock, s.
    """

    link: Link | None = None
    asked: tuple[Link, int] | None = None
    answered: tuple[Link, int] | None = None
    since: float = 0.0

    def caught_up(self, cycle: int) -> bool:
        """Whether it has answered the cycle on the stream it has now."""
        return self.link is not None and self.answered == (self.link, cycle)

    def ask(self, cycle: int, message: Message) -> bool:
        """Sends the message unless that is done; True when the answer is there."""
        if self.caught_up(cycle):
            return True
        if self.link is not None and self.asked != (self.link, cycle):
            self.asked, self.since = (self.link, cycle), monotonic()
            self.link.send(message)
        return False


@dataclass(slots=True)
class Deployment:
    """A strategy's place.

    Attributes:
        wake: what it waits for; None while nobody has said.
        done: the last cycle it has decided in.
        asked: the stream and cycle of the last request.
        since: from when on its answer is waited for, on the monotonic clock, s.
    """

    enrolment: Enrolment
    link: Link | None = None
    wake: Wake | None = None
    done: int = -1
    asked: tuple[Link, int] | None = None
    since: float = 0.0


class Roster:
    """Seats, deployments by number, and who wants to come or go at the next boundary."""

    def __init__(self, enrolments: Iterable[Enrolment]) -> None:
        self.seats = {VENUE: Seat(), PORTFOLIO: Seat(), RISK: Seat()}
        self._enrolled = {each.deployment_id: each for each in enrolments}
        self._deployments = {name: Deployment(each) for name, each in self._enrolled.items() if not each.left}
        self._joining: dict[str, tuple[Link, Claim, Wake | None]] = {}
        self._leaving: set[str] = set()
        self._absent: tuple[tuple[str, ...], tuple[str, ...]] | None = None

    @property
    def wakes(self) -> list[Wake | None]:
        """What each deployment waits for."""
        return [each.wake for each in self._deployments.values()]

    @property
    def strategies(self) -> list[Link]:
        """The streams of deployments."""
        return list(dict.fromkeys(each.link for each in self._deployments.values() if each.link is not None))

    @property
    def links(self) -> list[Link]:
        """Every stream."""
        inner = [seat.link for seat in self.seats.values() if seat.link is not None]
        return list(dict.fromkeys([*inner, *self.strategies]))

    def missing(self, *, strategies: bool) -> tuple[str, ...]:
        """Who has no stream: the venue, the books, and deployments where those count."""
        if self._absent is None:
            inner = tuple(name for name, seat in self.seats.items() if seat.link is None)
            absent = [name for name, each in self._deployments.items() if each.link is None]
            self._absent = (inner, tuple(name for name in absent if name not in self._leaving))
        return self._absent[0] + self._absent[1] if strategies else self._absent[0]

    @property
    def roll(self) -> tuple[Enrolment, ...]:
        """Deployments that take part, by number."""
        return tuple(each.enrolment for each in self._deployments.values())

    def enrolment(self, claim: Claim) -> Enrolment | None:
        """The place a deployment was given, also if it has left.

        Raises:
            ApiError: PERMISSION_DENIED `SEAT_TOKEN_INVALID`, when somebody else came with it first.
        """
        known, joining = self._enrolled.get(claim.deployment_id), self._joining.get(claim.deployment_id)
        holder = known or (joining[1] if joining is not None else claim)
        if not hmac.compare_digest(holder.seat_digest, claim.seat_digest):
            message = f"The seat of {claim.deployment_id} is held with another token."
            raise ApiError.permission_denied("SEAT_TOKEN_INVALID", message)
        return known

    def sit(self, link: Link) -> None:
        """The venue or books are on this stream from now on, and are asked again."""
        self._absent = None
        seat = self.seats[link.name]
        seat.link, seat.asked, seat.answered = link, None, None

    def enrol(self, link: Link, claim: Claim, wake: Wake | None, cycle: int) -> None:
        """A deployment is on this stream from now on; an unknown one from the next boundary."""
        self._absent = None
        known = self._deployments.get(claim.deployment_id)
        if known is None:
            self._joining[claim.deployment_id] = (link, claim, wake)
        else:
            # What it says counts: a host that stores lazily comes back with an older cycle than it had answered.
            known.link, known.wake, known.done, known.asked = link, wake, cycle, None

    def done(self, link: Link, cycle: int, wakes: Mapping[str, Wake]) -> None:
        """Deployments have decided."""
        for deployment_id, wake in wakes.items():
            known = self._deployments.get(deployment_id)
            if known is not None and known.link is link:
                known.done, known.wake = cycle, wake
        # Who was asked together answers one after another: the next one's turn begins now.
        now = monotonic()
        for each in self._deployments.values():
            if each.link is link and each.done < cycle:
                each.since = now

    def leave(self, deployment_id: str, cycle: int) -> None:
        """A deployment goes at the next boundary, and is not waited for in this cycle."""
        self._absent = None
        self._joining.pop(deployment_id, None)
        known = self._deployments.get(deployment_id)
        if known is not None:
            known.done = cycle
            self._leaving.add(deployment_id)

    def lost(self, link: Link) -> None:
        """A stream has ended."""
        self._absent = None
        places: list[Seat | Deployment] = [*self.seats.values(), *self._deployments.values()]
        for place in places:
            if place.link is link:
                place.link = None
        self._joining = {name: each for name, each in self._joining.items() if each[0] is not link}

    def late(self, cycle: int, *, absent: bool) -> tuple[Link | None, list[Deployment]] | None:
        """Whose turn it is to decide: the first by number and those that follow it on one stream; None when all have.

        Args:
            absent: whether those without a stream are waited for.
        """
        late = [each for each in self._deployments.values() if each.done < cycle and (absent or each.link is not None)]
        return next(((link, list(group)) for link, group in groupby(late, lambda each: each.link)), None)

    def asked(self, cycle: int) -> Iterator[tuple[str, float]]:
        """Who has a cycle to answer and has not, and since when; of strategies the one whose turn it is."""
        for name, seat in self.seats.items():
            if seat.link is not None and seat.asked == (seat.link, cycle) and not seat.caught_up(cycle):
                yield name, seat.since
        late = self.late(cycle, absent=False)
        if late is not None and late[1][0].asked == (late[0], cycle):
            yield late[1][0].enrolment.deployment_id, late[1][0].since

    def take_roll(self, position: Position) -> list[Enrolment]:
        """At a boundary: lets go who leaves and gives numbers to who comes; answers what is to be stored."""
        if not self._leaving and not self._joining:
            return []
        self._absent = None
        changed = []
        for deployment_id in sorted(self._leaving):
            left = replace(self._deployments.pop(deployment_id).enrolment, left=True)
            self._enrolled[deployment_id] = left
            changed.append(left)
        for deployment_id, (link, claim, wake) in self._joining.items():
            number, names = len(self._enrolled) + 1, (claim.seat_digest, claim.strategy_id, claim.portfolio_id)
            made = Enrolment(deployment_id, number, position.tape_sequence, *names)
            self._enrolled[deployment_id] = made
            self._deployments[deployment_id] = Deployment(made, link, wake, position.cycle)
            changed.append(made)
        self._leaving, self._joining = set(), {}
        return changed

    def stream_of(self, deployment_id: str) -> Link | None:
        """The stream that a deployment is on."""
        known = self._deployments.get(deployment_id)
        return None if known is None else known.link
