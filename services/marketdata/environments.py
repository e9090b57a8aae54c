"""Every environment: how one is made, found, and moved."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import partial
from typing import Any, Final, Protocol

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.tape import Tape
from services.domain.timeline import Timeline
from services.marketdata.environment import (
    ENDED,
    OURSELVES,
    Control,
    Pace,
    Plan,
    Position,
    Request,
    State,
    Stored,
    View,
    Writes,
    tape_lost,
)
from services.marketdata.feed.feed import Feed, Feeds
from services.marketdata.reference.instruments import Instruments
from services.marketdata.replay.coordinator import Coordinator
from services.marketdata.replay.participants import Ended, Lost, Participants, Seats
from services.marketdata.tapes.archive import Archive
from services.marketdata.tapes.cutting import session_ends

PREFIX: Final = "replay-"
MOVING: Final = frozenset({State.RUNNING, State.BLOCKED})

_log = logging.getLogger(__name__)


class EnvironmentStore(Writes, Protocol):
    """Where environments are kept."""

    async def environments(self) -> list[Stored]:
        """Every one, oldest first."""

    async def add_environment(self, stored: Stored) -> None:
        """Stores a new one."""


class Environments:
    """Makes, finds and moves environments."""

    def __init__(
        self,
        *,
        store: EnvironmentStore,
        archive: Archive,
        instruments: Instruments,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        grant_records: int,
        silence_seconds: float,
    ) -> None:
        self._store = store
        self._archive = archive
        self.instruments = instruments
        self.feeds = Feeds()
        self._spawn = spawn
        self._grant_records = grant_records
        self._silence_seconds = silence_seconds
        self._all: dict[str, Coordinator | Ended] = {}
        self._by_request: dict[str, str] = {}
        self._creating = asyncio.Lock()
        seats: Mapping[str, Seats] = self._all
        self.participants = Participants(seats)

    async def recover(self) -> None:
        """Takes up every stored environment where it stood."""
        for stored in await self._store.environments():
            if stored.control.state in ENDED:
                self._show(stored, Ended(stored.standing(stored.control.state)))
                continue
            try:
                tape = await self._archive.tape(stored.plan)
            except ApiError as error:
                _log.error(
                    "a replay is blocked", extra={"environment_id": stored.plan.environment_id, "error": str(error)}
                )
                self._show(stored, Lost(stored.standing(State.BLOCKED, OURSELVES)))
                continue
            self._begin(stored, tape)

    def get(self, environment_id: str) -> View:
        """One environment.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`.
        """
        return self._find(environment_id).view()

    def default(self) -> View:
        """The one that is meant by who names none: the newest that moves; where none does, the newest.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND` while there is none.
        """
        views = [each.view() for each in self._all.values()]
        if not views:
            raise ApiError.not_found("environment", "", "ENVIRONMENT_NOT_FOUND", "There is no environment yet.")
        moving = [view for view in views if view.state in MOVING and OURSELVES not in view.blocked_on]
        return max(moving or views, key=lambda view: view.plan.number)

    def page(self, before: int | None, size: int) -> list[View]:
        """Newest first, of those numbered before ``before``."""
        views = sorted((each.view() for each in self._all.values()), key=lambda view: -view.plan.number)
        return [view for view in views if before is None or view.plan.number < before][:size]

    async def create(self, request: Request, owner: str) -> View:
        """A new replay, or the one that the same request made before.

        Raises:
            ApiError: as `EnvironmentService.CreateReplay` says.
        """
        # A caller who has no time to wait finds it when it asks again.
        return await asyncio.shield(detach(self._create(request, owner), name="create replay"))

    async def _create(self, request: Request, owner: str) -> View:
        async with self._creating:
            known = self._repeated(request)
            if known is not None:
                return known
            tape = await self._archive.cut(request.wanted, owner)
            start = _start_sequence(tape, request.warm_up_sessions)
            plan = self._plan(request, tape, await self._archive.keep(tape), start, owner)
            first = Position(-1, start, granted_through=start, market_time=int(tape.time[start - 1]) if start else 0)
            stored = Stored(plan, Control(pace=request.pace), first)
            await self._store.add_environment(stored)
            self._begin(stored, tape)
            _log.info("made", extra={"environment_id": plan.environment_id, "records": len(tape)})
            return self.get(plan.environment_id)

    async def start(self, environment_id: str) -> View:
        """Lets time go on.

        Raises:
            ApiError: NOT_FOUND; FAILED_PRECONDITION `ENVIRONMENT_COMPLETED`; UNAVAILABLE `ENVIRONMENT_BLOCKED` where
                its tape is lost.
        """
        return await self._living(environment_id).steer(State.RUNNING)

    async def pause(self, environment_id: str) -> View:
        """Holds time; returns when it stands, or BLOCKED while it waits for somebody. Raises as `start`."""
        return await self._living(environment_id).steer(State.PAUSED)

    async def set_pace(self, environment_id: str, pace: Pace) -> View:
        """Changes the pace. Raises as `start`."""
        return await self._living(environment_id).steer(pace=pace)

    async def stop(self, environment_id: str) -> View:
        """Ends it.

        Raises:
            ApiError: NOT_FOUND; UNAVAILABLE `ENVIRONMENT_BLOCKED` where its tape is lost.
        """
        found = self._find(environment_id)
        if isinstance(found, Lost):
            raise tape_lost(found.plan)
        return found.view() if isinstance(found, Ended) else await found.steer(stopping=True)

    async def tape(self, environment_id: str) -> Tape:
        """Its whole tape, future included.

        Raises:
            ApiError: NOT_FOUND; UNAVAILABLE `ENVIRONMENT_BLOCKED` where it is lost.
        """
        found = self._find(environment_id)
        return found.timeline.tape if isinstance(found, Coordinator) else await self._archive.tape(found.plan)

    def _find(self, environment_id: str) -> Coordinator | Ended:
        found = self._all.get(environment_id)
        if found is None:
            raise ApiError.not_found("environment", environment_id, "ENVIRONMENT_NOT_FOUND")
        return found

    def _living(self, environment_id: str) -> Coordinator:
        found = self._find(environment_id)
        if isinstance(found, Lost):
            raise tape_lost(found.plan)
        if isinstance(found, Ended) or found.ended or found.control.stopping:
            state = found.view().state
            message = f"The environment is {state.value}."
            metadata = {"state": state.value}
            reason = "ENVIRONMENT_COMPLETED"
            raise ApiError.failed_precondition(reason, message, subject=environment_id, metadata=metadata)
        return found

    def _repeated(self, request: Request) -> View | None:
        named = self._all.get(request.environment_id) if request.environment_id else None
        before = self._by_request.get(request.request_id) if request.request_id else None
        if before is not None:
            found = self._all[before]
            if found.plan.request_digest != request.digest() or (request.environment_id or before) != before:
                raise ApiError.already_exists("request", request.request_id, "REQUEST_ID_REUSED")
            return found.view()
        if named is None:
            return None
        if named.plan.request_digest != request.digest() or request.request_id != named.plan.request_id:
            raise ApiError.already_exists("environment", request.environment_id, "ALREADY_EXISTS")
        return named.view()

    def _plan(self, request: Request, tape: Tape, digest: str, start: int, owner: str) -> Plan:
        number = 1 + max((each.plan.number for each in self._all.values()), default=0)
        free = (f"{PREFIX}{n}" for n in range(number, number + len(self._all) + 1) if f"{PREFIX}{n}" not in self._all)
        environment_id = request.environment_id or next(free)
        symbols = {source.symbol for source in tape.sources} & self.instruments.all.keys()
        return Plan(
            environment_id=environment_id,
            number=number,
            display_name=request.display_name or environment_id,
            data_set_id=request.wanted.data_set_id,
            symbols=tuple(sorted(symbols)),
            start_time=request.wanted.start_time,
            end_time=request.wanted.end_time,
            tape_digest=digest,
            start_sequence=start,
            end_sequence=len(tape),
            seed=request.seed,
            request_id=request.request_id,
            request_digest=request.digest(),
            owner=owner,
            create_time=time.time_ns(),
        )

    def _begin(self, stored: Stored, tape: Tape) -> None:
        timeline = Timeline(tape)
        load = partial(self._archive.tape, stored.plan)
        feed = self.feeds.add(stored.plan, stored.position.tape_sequence, timeline, load)
        coordinator = Coordinator(
            stored,
            timeline,
            self._store,
            announce=self.participants.announce,
            publish=lambda position: feed.publish(position.tape_sequence),
            grant_records=self._grant_records,
            silence_seconds=self._silence_seconds,
        )
        self._remember(coordinator)
        self._spawn(self._run(coordinator, feed), f"environment:{stored.plan.environment_id}")

    async def _run(self, coordinator: Coordinator, feed: Feed) -> None:
        await coordinator.run()
        self._remember(Ended(coordinator.view()))
        feed.release()

    def _show(self, stored: Stored, still: Ended) -> None:
        self._remember(still)
        self.feeds.add(stored.plan, stored.position.tape_sequence, None, partial(self._archive.tape, stored.plan))

    def _remember(self, found: Coordinator | Ended) -> None:
        plan = found.plan
        self._all[plan.environment_id] = found
        if plan.request_id:
            self._by_request[plan.request_id] = plan.environment_id


def _start_sequence(tape: Tape, warm_up_sessions: int) -> int:
    """Where history ends."""
    ends = session_ends(tape)
    start = int(ends[min(warm_up_sessions, len(ends)) - 1]) if warm_up_sessions and len(ends) else 0
    if start >= len(tape) or warm_up_sessions > len(ends):
        description = f"leaves nothing to replay of {len(ends)} sessions"
        raise ApiError.invalid_field("warm_up_sessions", description)
    return start
