"""One cycle's steps: what to ask of whom, and what they answered."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from time import monotonic
from typing import Self

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.marketdata.environment import Position
from services.marketdata.replay.participants import PORTFOLIO, RISK, VENUE, Decide, Grant, Link
from services.marketdata.replay.roster import Roster
from services.wire.cycle import Fold

_log = logging.getLogger(__name__)


@dataclass(slots=True)
class Cycle:
    """The cycle under way, or the last one once it is finished.

    Attributes:
        stored: whether the grant is durable. Until then nobody but the venue hears of the cycle, which alone can tell
            after a crash that it was granted: so storing it costs no time of its own.
        reached: (tape sequence, order head) that the venue answered.
        quiet: the ledger's head, where nothing has happened that could be entered in it: no order event, no split.
            Books then fold side by side.
        ledger_head: what the portfolio service answered.
        followed: whether the next one is granted, if not durably yet: there is no way back from then on.
        latest: whether it is certain that the venue knows of no later one: of a life before this one it may.
    """

    environment_id: str
    number: int
    through: int
    final: bool = False
    reached: tuple[int, int] | None = None
    ledger_head: int | None = None
    finished: bool = False
    stored: bool = True
    quiet: int | None = None
    followed: bool = False
    latest: bool = True

    @classmethod
    def recovered(cls, environment_id: str, position: Position) -> Self:
        """The cycle to go on with: the granted one again, or the finished one for those who come back."""
        if position.granted_through is not None:
            return cls(environment_id, position.cycle + 1, position.granted_through, position.final)
        sequence, heads = position.tape_sequence, (position.order_head, position.ledger_head)
        return cls(environment_id, position.cycle, sequence, False, (sequence, heads[0]), heads[1], True)

    def stands(self, stored: Position) -> bool:
        """Whether positions cannot move as long as no cycle is granted; priming moves none."""
        return (
            self.latest and not self.followed and (self.number == 0 or (self.finished and stored.cycle >= self.number))
        )

    def grant(self) -> Grant:
        """The grant; what was reached once it stands."""
        through = self.through if self.reached is None else self.reached[0]
        return Grant(self.environment_id, self.number, through, self.final)

    def ask(self, roster: Roster, *, absent: bool) -> bool:
        """Sends what is due now; True when all have answered the cycle on the streams they have.

        Args:
            absent: whether strategies without a stream are waited for.
        """
        seats = roster.seats
        if not seats[VENUE].ask(self.number, self.grant()) or self.reached is None or not self.stored:
            return False
        applied = seats[PORTFOLIO].ask(self.number, self._fold(self.reached, 0))
        if not applied and self.quiet is None:
            return False
        ledger_head = (self.quiet or 0) if self.ledger_head is None else self.ledger_head
        if not seats[RISK].ask(self.number, self._fold(self.reached, ledger_head)) or not applied:
            return False
        return self.final or self.number == 0 or self._decided(roster, self.reached, absent=absent)

    def _fold(self, reached: tuple[int, int], ledger_head: int) -> Fold:
        return Fold(self.environment_id, self.number, *reached, ledger_head)

    def _decided(self, roster: Roster, reached: tuple[int, int], *, absent: bool) -> bool:
        late = roster.late(self.number, absent=absent)
        if late is None:
            return True
        link, group = late
        if link is not None and any(each.asked != (link, self.number) for each in group):
            for each in group:
                each.asked, each.since = (link, self.number), monotonic()
            names = tuple(each.enrolment.deployment_id for each in group)
            link.send(Decide(self.environment_id, self.number, *reached, names))
        return False

    def take_reached(self, before: Position, link: Link, reached: tuple[int, int]) -> None:
        """The venue's answer, which must be the same every time.

        Raises:
            ApiError: INVALID_ARGUMENT for a position outside of the grant, or a head that runs backwards.
        """
        if self.reached is None:
            low, high = before.tape_sequence, self.through
            if not low <= reached[0] <= high or reached[1] < before.order_head:
                raise ApiError.invalid_field("reached", f"is not within {low} to {high}, and after what was before")
            self.reached = reached
            failpoint("marketdata.after_reached")
        elif self.reached != reached:
            self._differs(link, self.reached, reached)

    def take_applied(self, link: Link, ledger_head: int) -> None:
        """The books' answer."""
        if link.name == PORTFOLIO:
            if self.ledger_head is None:
                self.ledger_head = ledger_head
            elif self.ledger_head != ledger_head:
                self._differs(link, self.ledger_head, ledger_head)
        elif not self.finished:
            failpoint("marketdata.after_fold")

    def finish(self, before: Position, market_time: int) -> Position:
        """Where the environment stands after it; `market_time` is that of the position reached, ns."""
        self.finished = True
        sequence, order_head = self.reached or (before.tape_sequence, before.order_head)
        return Position(self.number, sequence, order_head, max(self.ledger_head or 0, before.ledger_head), market_time)

    def _differs(self, link: Link, first: object, now: object) -> None:
        extra = {"environment_id": self.environment_id, "participant": link.name, "first": first, "repeated": now}
        _log.error("a repeated answer differs", extra=extra)
