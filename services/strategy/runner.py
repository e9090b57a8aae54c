"""One deployment's part in the cycles of its environment (rule 32d): exactly what the backtest does, over RPC.

What the strategy decides depends on nothing but its state, the records and its order events. So a decision that was
cut off is taken again from the stored state and comes to the same commands, which carry the same ids.
"""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import Final, NamedTuple, Protocol, TypeVar

from services.chassis import telemetry
from services.chassis.failpoints import failpoint
from services.domain.context import CancelOrder, Command, NewOrder, Signal
from services.domain.instrument import Instrument
from services.domain.order import Order, OrderEvent
from services.domain.runner import StrategyRunner, acknowledgement
from services.domain.strategy import Strategy
from services.domain.timeline import Timeline, Wake
from services.strategy.mapping import encode_signal
from services.strategy.records import Deployment, Made, Moment, Progress, SignalKey

T = TypeVar("T")

# A decision that came to nothing can be worked out again from the tape, some 20 µs each, where storing it costs an
# fsync; so many may have to be worked out again after a kill.
MOST_UNSTORED: Final = 256
# Above this a step would hold the event loop up for some 20 ms.
LONG_STEP: Final = 5_000

_log = logging.getLogger(__name__)


class StrategyFailed(Exception):
    """The strategy's code raised, or asks for what cannot be; `made` are the signals it gave before."""

    def __init__(self, message: str, made: Sequence[Made] = ()) -> None:
        super().__init__(message)
        self.made = tuple(made)


class Stale(Exception):
    """The environment is elsewhere than where a command was decided: what was decided with it is void."""


class Nonsense(Exception):
    """No order can ever be made of a command."""


class Orders(Protocol):
    """The order service; `clients.Orders`."""

    async def create(self, command: NewOrder, deployment: Deployment) -> Order:
        """The order as it was accepted or refused."""

    async def cancel(self, order_id: str) -> Order | None:
        """The order as it was canceled; None where there was nothing left to cancel."""


class Decision(NamedTuple):
    """What a cycle came to.

    Attributes:
        wake: what the strategy waits for now.
        state: its runner's, as JSON; None where it need not be stored.
    """

    wake: Wake
    signals: Sequence[Made] = ()
    state: str | None = None


class Decider:
    """Drives one deployment.

    Args:
        progress: how far it had decided when that was last stored.
        make: makes the strategy anew.
        scanning: skip records that the strategy says it would not act on.
    """

    def __init__(
        self,
        deployment: Deployment,
        progress: Progress,
        make: Callable[[], Strategy],
        *,
        timeline: Timeline,
        instruments: Mapping[str, Instrument],
        orders: Orders,
        scanning: bool,
    ) -> None:
        self._deployment = deployment
        self._timeline = timeline
        self._orders = orders
        self._progress = progress
        self._unstored = 0
        number, start = deployment.deployment_number, deployment.start_sequence
        self._runner = self._guarded(lambda: StrategyRunner(number, make(), instruments, start, scanning))

    async def start(self) -> None:
        """Takes the history in, or goes on from the stored state.

        Raises:
            StrategyFailed: the strategy's code raised.
        """
        runner, stored = self._runner, self._progress.runner
        if stored:
            self._guarded(lambda: runner.restore(json.loads(stored)))
        else:
            history = self._deployment.start_sequence - runner.position
            await self._guarded_at_length(history, lambda: runner.warm_up(self._timeline))

    def wake(self) -> Wake:
        """What the strategy waits for.

        Raises:
            StrategyFailed: the strategy's code raised.
        """
        return self._guarded(lambda: self._runner.next_wake(self._timeline))

    async def decide(self, moment: Moment, events: Iterable[OrderEvent], began: int) -> Decision:
        """Lets it decide on its own order events and the records up to the moment's; carries out what it decides.

        Args:
            began: wall time at which the records were known, ns.

        Raises:
            StrategyFailed: see there.
            Stale: the environment is elsewhere; nothing of this decision counts.
        """
        at = moment.tape_sequence
        await self._catch_up(at)
        runner, timeline = self._runner, self._timeline
        news = [event for event in events if self._is_news(event)]
        if not news and not self._guarded(lambda: runner.due(timeline, at)):
            return Decision(self.wake())
        timed = self._timed()
        commands = await self._guarded_at_length(at - runner.position, lambda: runner.step(timeline, at, news))
        with Signals(self._deployment, began) as signals:
            try:
                quiet = not commands
                while self._note(signals, commands):
                    answers = await self._carry_out(signals, commands)
                    commands = self._guarded(lambda: runner.acknowledge(answers))  # noqa: B023 called at once
                made = signals.made()
            except StrategyFailed as error:
                error.made = tuple(signals.made())
                raise
        wake = self.wake()
        self._unstored += 1
        if quiet and not (news or made or timed or self._timed()) and self._unstored < MOST_UNSTORED:
            return Decision(wake)
        state = self._guarded(lambda: json.dumps(runner.state(), separators=(",", ":")))
        self._unstored = 0
        return Decision(wake, made, state)

    async def _catch_up(self, at: int) -> None:
        """Takes again what was decided before `at` and came to nothing, where it was not stored."""
        runner, timeline = self._runner, self._timeline
        while (again := self._guarded(lambda: runner.next_sequence(timeline))) < at:
            commands = self._guarded(lambda: runner.step(timeline, again))
            if commands or runner.take_signals():
                raise StrategyFailed(f"at position {again} it decides otherwise when it decides again")
            await asyncio.sleep(0)

    def _is_news(self, event: OrderEvent) -> bool:
        """Whether the strategy has yet to hear of it: what answered its commands it knows."""
        working = self._runner.holdings.working.get(event.order.client_order_id)
        return working is not None and event.order.event_count > working.events

    def _timed(self) -> bool:
        """Whether it waits for a time: such decisions are no function of the records alone."""
        return self.wake().time is not None

    def _note(self, signals: Signals, commands: Sequence[Command]) -> bool:
        """Takes the signals of the commands in; whether there are commands."""
        taken = self._runner.take_signals()
        self._guarded(lambda: signals.add(taken, commands))
        return bool(commands)

    async def _carry_out(self, signals: Signals, commands: Sequence[Command]) -> list[OrderEvent]:
        """One after the other, each acknowledged before the next."""
        answers: list[OrderEvent] = []
        placed: dict[str, str] = {}
        for command in commands:
            telemetry.adopt(signals.traceparent(command))
            failpoint("strategy.before_command")
            try:
                order = await self._send(command, placed)
            except Nonsense as error:
                raise StrategyFailed(str(error)) from error
            failpoint("strategy.after_command")
            if order is not None:
                placed[order.client_order_id] = order.order_id
                answers.append(acknowledgement(order, command.basis_time, command.basis_sequence))
        return answers

    async def _send(self, command: Command, placed: Mapping[str, str]) -> Order | None:
        if isinstance(command, NewOrder):
            return await self._orders.create(command, self._deployment)
        working = self._runner.holdings.working.get(command.client_order_id)
        order_id = placed.get(command.client_order_id) or (working.order_id if working is not None else "")
        return await self._orders.cancel(order_id) if order_id else None

    async def _guarded_at_length(self, records: int, work: Callable[[], T]) -> T:
        """In a thread where it takes long: others are served meanwhile."""
        return await asyncio.to_thread(self._guarded, work) if records > LONG_STEP else self._guarded(work)

    def _guarded(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except StrategyFailed:
            raise
        except (Exception, SystemExit) as error:
            _log.warning("a strategy failed", exc_info=error, extra={"deployment_id": self._deployment.deployment_id})
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise StrategyFailed(text) from error


class _Open(NamedTuple):
    signal: Signal
    traceparent: str
    client_order_ids: list[str]


class Signals:
    """The signals of one decision, each a trace of its own: the tick that caused it, and the signal, until it is done.

    Args:
        began: wall time at which the tick was known, ns.
    """

    def __init__(self, deployment: Deployment, began: int) -> None:
        self._deployment = deployment
        self._began = began
        self._open: dict[str, _Open] = {}
        self._spans = ExitStack()

    def __enter__(self) -> Signals:
        return self

    def __exit__(self, *error: object) -> None:
        self._spans.close()

    def add(self, signals: Iterable[Signal], commands: Iterable[Command]) -> None:
        """Takes in signals, and the commands that name them.

        Raises:
            TypeError, ValueError, AttributeError, LookupError: a signal is made of something else than it should.
        """
        for signal in signals:
            encode_signal(signal, self._deployment, (), 0, "")
            self._open[signal.signal_id] = _Open(signal, self._trace(signal), [])
        for command in commands:
            if isinstance(command, NewOrder) and command.signal_id in self._open:
                self._open[command.signal_id].client_order_ids.append(command.client_order_id)

    def traceparent(self, command: Command) -> str:
        """The trace that a command belongs to; a cancel to that of the first signal."""
        if isinstance(command, CancelOrder):
            return next((each.traceparent for each in self._open.values()), "")
        found = self._open.get(command.signal_id)
        return found.traceparent if found is not None else ""

    def made(self) -> list[Made]:
        """The signals, encoded."""
        now, deployment = time.time_ns(), self._deployment
        return [
            Made(
                SignalKey(deployment.deployment_id, each.signal.symbol),
                encode_signal(each.signal, deployment, each.client_order_ids, now, each.traceparent),
            )
            for each in self._open.values()
        ]

    def _trace(self, signal: Signal) -> str:
        attributes: dict[str, str | int] = {
            "tickmesh.environment_id": self._deployment.environment_id,
            "tickmesh.symbol": signal.symbol,
            "tickmesh.tape_sequence": signal.tape_sequence,
        }
        with telemetry.span_from("", "tick", attributes, start_time_ns=self._began):
            tick = telemetry.current_traceparent()
        more: dict[str, str | int] = {
            "tickmesh.signal_id": signal.signal_id,
            "tickmesh.deployment_id": self._deployment.deployment_id,
        }
        self._spans.enter_context(telemetry.span_from(tick, "signal", attributes | more))
        return telemetry.current_traceparent()
