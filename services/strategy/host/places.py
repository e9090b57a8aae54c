"""Where each deployment stands."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field, replace

from services.domain.timeline import Wake
from services.strategy.host.runner import Decider
from services.strategy.records import Deployment, Progress, Seat


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
        return Seat(
            deployment.environment_id,
            deployment.deployment_id,
            self.cycle,
            self.tape_sequence,
            self.wake,
            deployment.seat_token,
            deployment.strategy_id,
            deployment.portfolio_id,
        )

    def rest(self) -> None:
        """Its strategy is put away; what is stored makes it again."""
        if self.decider is not None:
            self.decider.close()
            self.decider = None

    def shown(self) -> tuple[Deployment, Progress]:
        """As clients see it."""
        return self.deployment, replace(self.progress, tape_sequence=self.tape_sequence)
