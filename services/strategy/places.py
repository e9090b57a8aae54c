"""Where each deployment stands, and what it stands on."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.order import OrderEvent
from services.domain.timeline import Timeline, Wake
from services.strategy.records import Deployment, Progress, Seat
from services.strategy.runner import Decider


@dataclass(slots=True, eq=False)
class Place:
    """One deployment.

    Attributes:
        deployment, progress: as stored.
        latest: the deployment as it is about to be stored.
        cycle, tape_sequence: the last cycle it has answered, and its position.
        wake: what it answered then; None where that is not known any more.
        decider: its strategy at work; None where that is to be made from what is stored.
        ending: it has ended, though that may not be stored yet.
        settled, over: set once it is no longer PENDING, and once it has ended.
        scope: around the decision under way, which ends with it.
    """

    deployment: Deployment
    progress: Progress = field(default_factory=Progress)
    cycle: int = 0
    tape_sequence: int = 0
    wake: Wake | None = None
    decider: Decider | None = None
    ending: bool = False
    settled: asyncio.Event = field(default_factory=asyncio.Event)
    over: asyncio.Event = field(default_factory=asyncio.Event)
    scope: asyncio.Timeout | None = None
    latest: Deployment = field(init=False)

    def __post_init__(self) -> None:
        self.latest = self.deployment

    @property
    def seat(self) -> Seat:
        """Where it stands, as the coordinator is told."""
        deployment = self.deployment
        return Seat(deployment.environment_id, deployment.deployment_id, self.cycle, self.tape_sequence, self.wake)

    def shown(self) -> tuple[Deployment, Progress]:
        """As clients see it."""
        return self.deployment, replace(self.progress, tape_sequence=self.tape_sequence)


class OwnEvents:
    """Order events of an environment, of which each deployment's own are held until it has decided on them.

    Attributes:
        arrived: the last event that has come, whoever's it is.
    """

    def __init__(self, after: int) -> None:
        self.arrived = after
        self._own: dict[str, deque[tuple[int, OrderEvent]]] = {}
        self._changed = asyncio.Event()

    def add(self, sequence: int, deployment_id: str, event: OrderEvent | None) -> None:
        """Takes the next event in; one that came before changes nothing. Only a deployment's own are held.

        Raises:
            ApiError: UNAVAILABLE, when one in between is missing.
        """
        if sequence <= self.arrived:
            return
        if sequence != self.arrived + 1:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", f"Order event {self.arrived + 1} is missing.")
        if event is not None:
            self._own.setdefault(deployment_id, deque()).append((sequence, event))
        self.arrived = sequence
        self._changed.set()

    async def own(self, deployment_id: str, head: int) -> list[OrderEvent]:
        """A deployment's events up to `head` that it has not decided on, once everything up to there has come."""
        while self.arrived < head:
            self._changed.clear()
            await self._changed.wait()
        return [event for sequence, event in self._own.get(deployment_id, ()) if sequence <= head]

    def decided(self, deployment_id: str, head: int) -> None:
        """A deployment needs its events up to `head` no more."""
        own = self._own.get(deployment_id)
        while own and own[0][0] <= head:
            own.popleft()

    def forget(self, deployment_id: str) -> None:
        """A deployment decides no more."""
        self._own.pop(deployment_id, None)


@dataclass(slots=True)
class Site:
    """One environment that strategies take part in."""

    timeline: Timeline
    instruments: Mapping[str, Instrument]
    events: OwnEvents
    feeding: asyncio.Task[None]
