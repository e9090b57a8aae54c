"""A deployed strategy and what it thinks, without any I/O: this is what runs on a workbench."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from services.domain.deployment.commands import Command
from services.domain.deployment.context import Signal
from services.domain.deployment.runner import StrategyRunner
from services.domain.instrument import Instrument
from services.domain.orders.order import OrderEvent
from services.domain.strategies import BUILT_IN
from services.domain.strategy import Strategy
from services.domain.timeline import Timeline, Wake
from services.strategy.records import Deployment, Made, Progress

# A decision that came to nothing can be worked out again from the tape, some 20 µs each, where storing it costs an
# fsync; so many may have to be worked out again after a kill.
MOST_UNSTORED: Final = 256
# Over more records a step takes some 20 ms.
NEAR: Final = 5_000


class StrategyFailed(Exception):
    """The strategy's code raised, or asks for what cannot be; `made` are the signals it gave before."""

    def __init__(self, message: str, made: Sequence[Made] = ()) -> None:
        super().__init__(message)
        self.made = tuple(made)


class Decision(NamedTuple):
    """What a cycle came to.

    Attributes:
        wake: what the strategy waits for now.
        state: its runner's, as JSON; None where it need not be stored.
    """

    wake: Wake
    signals: Sequence[Made] = ()
    state: str | None = None


class Step(NamedTuple):
    """What a step of a decision came to: commands to carry out, or the decision where there are no more."""

    commands: Sequence[Command]
    signals: Sequence[Signal] = ()
    decision: Decision | None = None


class Mind:
    """One deployment's strategy at work. Whatever it calls may raise anything: the code is its user's."""

    def __init__(
        self,
        deployment: Deployment,
        progress: Progress,
        make: Callable[[], Strategy],
        *,
        timeline: Timeline,
        instruments: Mapping[str, Instrument],
        scanning: bool,
    ) -> None:
        """Makes the strategy, which takes its history in or goes on from the stored state.

        Args:
            progress: how far it had decided when that was last stored.
            make: makes the strategy anew.
            scanning: skip records that the strategy says it would not act on.
        """
        number, start = deployment.deployment_number, deployment.start_sequence
        self._timeline = timeline
        self._unstored = 0
        self._runner = StrategyRunner(number, make(), instruments, start, scanning)
        if progress.runner:
            self._runner.restore(json.loads(progress.runner))
        else:
            self._runner.warm_up(timeline)

    @property
    def ours(self) -> bool:
        """Whether its strategy is a built-in one, whose code is known to return."""
        return type(self._runner.strategy) in BUILT_IN

    def is_near(self, at: int) -> bool:
        """Whether a step up to there takes no time to speak of."""
        return at - self._runner.position <= NEAR

    def wake(self) -> Wake:
        """What the strategy waits for."""
        return self._runner.next_wake(self._timeline)

    def order_id(self, client_order_id: str) -> str:
        """The order of a command that was acknowledged before; empty where it is not at work any more."""
        working = self._runner.holdings.working.get(client_order_id)
        return working.order_id if working is not None else ""

    def step(self, at: int, events: Iterable[OrderEvent]) -> Step:
        """The first step of a decision at a position."""
        self._catch_up(at)
        runner, timeline = self._runner, self._timeline
        news = [event for event in events if self._is_news(event)]
        if not news and not runner.due(timeline, at):
            return Step((), (), Decision(self.wake()))
        timed = self._timed()
        commands = runner.step(timeline, at, news)
        return self._came_to(commands, passing=not (news or timed))

    def acknowledge(self, answers: Sequence[OrderEvent]) -> Step:
        """The next step: what it decides on what its commands led to."""
        return self._came_to(self._runner.acknowledge(answers), passing=False)

    def _came_to(self, commands: Sequence[Command], *, passing: bool) -> Step:
        """What a step came to; its decision is the last one's where it gave no commands.

        Args:
            passing: it need not be stored, for all that is known before.
        """
        signals = self._runner.take_signals()
        if commands:
            return Step(commands, signals)
        wake = self.wake()
        self._unstored += 1
        if passing and not signals and wake.time is None and self._unstored < MOST_UNSTORED:
            return Step((), (), Decision(wake))
        state = json.dumps(self._runner.state(), separators=(",", ":"))
        self._unstored = 0
        return Step((), signals, Decision(wake, (), state))

    def _catch_up(self, at: int) -> None:
        """Takes again what was decided before `at` and came to nothing, where it was not stored."""
        runner, timeline = self._runner, self._timeline
        while (again := runner.next_sequence(timeline)) < at:
            if runner.step(timeline, again) or runner.take_signals():
                raise StrategyFailed(f"at position {again} it decides otherwise when it decides again")

    def _is_news(self, event: OrderEvent) -> bool:
        """Whether the strategy has yet to hear of it: what answered its commands it knows."""
        working = self._runner.holdings.working.get(event.order.client_order_id)
        return working is not None and event.order.event_count > working.events

    def _timed(self) -> bool:
        """Whether it waits for a time: such decisions are no function of the records alone."""
        return self.wake().time is not None
