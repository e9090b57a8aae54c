"""The kills of a round: of a service, of all at once, or at a point of the code."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from tests.e2e.mesh import NAMES, Mesh

# Each is passed within a round of load and a few cycles; the number says at which passing of it to die, at most.
POINTS = {
    "order.after_reserve": 3,
    "order.before_commit": 4,
    "order.after_commit": 4,
    "order.after_reached_commit": 1,
    "risk.after_verdict": 3,
    "risk.mid_fold": 3,
    "portfolio.mid_fold": 1,
    "portfolio.after_commit": 1,
    "strategy.before_command": 1,
    "strategy.after_command": 1,
    "strategy.before_done": 2,
    "marketdata.after_reached": 2,
    "marketdata.after_fold": 3,
    "marketdata.before_store": 2,
    "marketdata.after_store": 2,
}
KINDS = (*NAMES, "all", *POINTS)
# An armed point is waited for: a strategy may have nothing to do for some sessions. One of 74 was not reached by then;
# more load brings every one, so that a round without a death at its point is a fault.
PASSING_SECONDS = 2.0
LOADS = 5


@dataclass(frozen=True)
class Blow:
    """What a round does to whom.

    Attributes:
        kind: a service, "all" of them, or a point at which to die.
        passing: of the point, at which it dies.
        delay: seconds from the start of the load until the kill.
    """

    kind: str
    passing: int = 0
    delay: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Whom it kills."""
        return NAMES if self.kind == "all" else (self.kind.partition(".")[0],)

    @classmethod
    def draw(cls, kind: str, chance: random.Random) -> Blow:
        """One of that kind."""
        if kind in POINTS:
            return cls(kind, passing=chance.randint(1, POINTS[kind]))
        return cls(kind, delay=chance.uniform(0.0, 0.15))

    async def fall(self, mesh: Mesh) -> bool:
        """Kills; whether all of them ran until then."""
        await asyncio.sleep(self.delay)
        return await asyncio.to_thread(mesh.kill, *self.names) == set(self.names)

    async def fall_at_point(self, mesh: Mesh, load: Callable[[], Awaitable[object]]) -> bool:
        """Loads until the service has died at its point; whether it did."""
        (name,) = self.names
        await asyncio.to_thread(mesh.arm, name, f"{self.kind}=kill-once:{self.passing}")
        await mesh.serving([name])
        for _ in range(LOADS):
            await load()
            if await asyncio.to_thread(mesh.wait_for_hit, self.kind, PASSING_SECONDS):
                return True
        return False


def blows(chance: random.Random, count: int) -> list[Blow]:
    """What each round does to whom: every one of `KINDS` comes up equally often."""
    made: list[Blow] = []
    while len(made) < count:
        made += [Blow.draw(kind, chance) for kind in chance.sample(KINDS, len(KINDS))]
    return made[:count]
