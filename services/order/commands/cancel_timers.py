"""Dead man's switches: timers in wall time that cancel open orders unless they are armed again (rule 23)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Protocol

from services.chassis.errors import ApiError
from services.domain.orders.order import CancelReason, Order
from services.domain.venue.matching import Venue
from services.order.commands.answered import Answered
from services.order.commands.canceling import MOST_AT_ONCE
from services.order.journal.journal import Journal
from services.order.records import EnvironmentRow, RequestRow, TimerRow
from services.order.store import Store

_SECOND: Final = 1_000_000_000
# Wall clocks are set now and then, and who waits for one looks at it again.
_LOOK_SECONDS: Final = 60.0


@dataclass(slots=True, eq=False)
class Arm(Answered[TimerRow]):
    """Somebody arms a timer, or disarms it.

    Attributes:
        portfolio_id: empty for all of the principal's.
        owner: the portfolio's, or the principal.
        timeout: ns; 0 disarms.
        request_id: of the request, where the client gave one.
    """

    portfolio_id: str
    principal: str
    owner: str
    timeout: int
    request_id: str
    answer: asyncio.Future[TimerRow]

    @property
    def asked(self) -> str:
        """What a repeat of the request must ask for."""
        return f"cancel_timer|{self.portfolio_id}|{self.principal}|{self.timeout}"


class Desk(Protocol):
    """What timers need of their desk."""

    row: EnvironmentRow
    venue: Venue
    journal: Journal

    @property
    def ending(self) -> bool:
        """Whether no order will meet another record."""
        ...


class CancelTimers:
    """The timers of one desk, which calls `serve` when they are `urgent`."""

    def __init__(
        self, desk: Desk, store: Store, wake: Callable[[], None], clock: Callable[[], int] = time.time_ns
    ) -> None:
        """None yet.

        Args:
            wake: called when there is something to serve.
            clock: wall time, ns.
        """
        self._desk = desk
        self._store = store
        self._wake = wake
        self._clock = clock
        self._armed: dict[tuple[str, str], TimerRow] = {}
        self._arming: list[tuple[int, Arm]] = []
        self._look: asyncio.TimerHandle | None = None
        self._due = False

    @property
    def urgent(self) -> bool:
        """Whether there is something to serve."""
        return self._due or bool(self._arming)

    async def restore(self) -> None:
        """Takes the timers back from the store: one that should have gone off meanwhile is due now."""
        for row in await self._store.timers(self._desk.row.environment_id):
            self._armed[row.portfolio_id, row.principal] = row
        self._wait()

    def arm(self, arm: Arm) -> None:
        """Arms a timer; its `answer` tells when it goes off."""
        self._arming.append((self._clock(), arm))
        self._wake()

    async def serve(self) -> None:
        """Arms those that are to be, and lets those go off that were not armed again in time."""
        self._due = False
        arming, self._arming = self._arming, []
        for came, arm in arming:
            await self._go_off_until(came)
            await self._arm(arm, came)
        await self._go_off_until(self._clock())
        self._wait()

    async def _arm(self, arm: Arm, came: int) -> None:
        key, row, request = (arm.portfolio_id, arm.principal), self._desk.row, None
        if arm.request_id:
            try:
                known = (await self._store.requests(row.environment_id, [arm.request_id])).get(arm.request_id)
            except ApiError as away:
                arm.fail(away)
                return
            if known is not None:
                _answer_known(arm, known, self._armed.get(key) or _disarmed(row.environment_id, arm))
                return
            request = RequestRow(row.environment_id, arm.request_id, arm.asked, arm.principal, arm.owner)
        if self._desk.ending:
            message = f"{row.environment_id} has ended."
            error = ApiError.failed_precondition("ENVIRONMENT_COMPLETED", message, subject=row.environment_id)
            arm.fail(error)
            return
        timer = _disarmed(row.environment_id, arm)
        if arm.timeout:
            timer = timer._replace(trigger_time=came + arm.timeout)
            self._armed[key] = timer
        else:
            self._armed.pop(key, None)
        await self._store.writer.commit(self._store.unit(row, timer=timer, request=request))
        arm.answer_with(timer)

    async def _go_off_until(self, now: int) -> None:
        for timer in [each for each in self._armed.values() if each.trigger_time <= now]:
            await self._go_off(timer)

    async def _go_off(self, timer: TimerRow) -> None:
        """Cancels what is open in a timer's scope, and then disarms it: a kill in between repeats it."""
        desk, row = self._desk, self._desk.row
        covered = [order.order_id for order in desk.venue.open_orders() if self._covers(timer, order)]
        for start in range(0, len(covered), MOST_AT_ONCE):
            some, why = covered[start : start + MOST_AT_ONCE], CancelReason.CANCEL_TIMER
            events = desk.venue.cancel_all(some, row.tape_sequence, row.market_time, why)
            await desk.journal.commit(events, cause="cancel_timer", principal=timer.principal)
        del self._armed[timer.portfolio_id, timer.principal]
        await self._store.writer.commit(self._store.unit(row, timer=timer._replace(trigger_time=0)))

    def _covers(self, timer: TimerRow, order: Order) -> bool:
        if timer.portfolio_id:
            return order.portfolio_id == timer.portfolio_id
        return self._desk.journal.origin_of(order).owner == timer.principal

    def _wait(self) -> None:
        """Has `serve` called when the next one is due."""
        if self._look is not None:
            self._look.cancel()
            self._look = None
        if self._armed:
            soonest = min(each.trigger_time for each in self._armed.values())
            seconds = max(0.0, (soonest - self._clock()) / _SECOND)
            self._look = asyncio.get_running_loop().call_later(min(seconds, _LOOK_SECONDS), self._call)

    def _call(self) -> None:
        self._due = True
        self._wake()


def _disarmed(environment_id: str, arm: Arm) -> TimerRow:
    return TimerRow(environment_id, arm.portfolio_id, arm.principal, 0, arm.owner)


def _answer_known(arm: Arm, known: RequestRow, timer: TimerRow) -> None:
    if known.asked != arm.asked:
        arm.fail(ApiError.already_exists("request", arm.request_id, "REQUEST_ID_REUSED"))
    else:
        arm.answer_with(timer)
