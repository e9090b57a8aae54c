"""One deployment's part in the cycles of its environment (rule 32d): exactly what the backtest does, over RPC.

What the strategy decides depends on nothing but its state, the records and its order events. So a decision that was
cut off is taken again from the stored state and comes to the same commands, which carry the same ids.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Protocol, TypeVar

from services.chassis.failpoints import failpoint
from services.chassis.telemetry import tracing
from services.domain.deployment.commands import Command, NewOrder, NewOrderList, ReplaceOrder
from services.domain.deployment.runner import acknowledgement
from services.domain.orders.order import Order, OrderEvent
from services.domain.timeline import Wake
from services.strategy.host.traces import Traces
from services.strategy.records import Deployment, Moment
from services.strategy.workshop.mind import Decision, Mind, Step, StrategyFailed
from services.strategy.workshop.workbench import Abandoned, Workbench

T = TypeVar("T")

_log = logging.getLogger(__name__)


class Stale(Exception):
    """The environment is elsewhere than where a command was decided: what was decided with it is void."""


class Nonsense(Exception):
    """No order can ever be made of a command."""


class Orders(Protocol):
    """The order service; `clients.Orders`."""

    async def create(self, command: NewOrder, deployment: Deployment) -> Order:
        """The order as it was accepted or refused."""

    async def create_list(self, command: NewOrderList, deployment: Deployment) -> list[Order]:
        """The orders of a list as they were accepted or refused."""

    async def cancel(self, order_id: str) -> list[Order]:
        """The order as it was canceled, and what went with it of its list; none where nothing was left to cancel."""

    async def replace(self, order_id: str, command: ReplaceOrder, deployment: Deployment) -> list[Order]:
        """The order on its new terms; none where it does not get them."""


class Decider:
    """Drives one deployment. Code of users runs on a workbench of its own, and of ours what takes long.

    Args:
        think: makes its mind.
    """

    def __init__(self, deployment: Deployment, think: Callable[[], Mind], orders: Orders) -> None:
        self._deployment = deployment
        self._orders = orders
        self._bench = Workbench(f"strategy:{deployment.deployment_id}")
        self._think = think
        self._known: Mind | None = None

    async def start(self) -> None:
        """Takes the history in, or goes on from the stored state.

        Raises:
            StrategyFailed: the strategy's code raised.
        """
        await self._mind()

    async def wake(self) -> Wake:
        """What the strategy waits for.

        Raises:
            StrategyFailed: the strategy's code raised.
        """
        mind = await self._mind()
        return await self._guarded(mind.wake, here=mind.ours)

    async def decide(self, moment: Moment, events: Iterable[OrderEvent], began: int) -> Decision:
        """Lets it decide on its own order events and the records up to the moment's; carries out what it decides.

        Args:
            began: wall time at which the records were known, ns.

        Raises:
            StrategyFailed: see there.
            Stale: the environment is elsewhere; nothing of this decision counts.
        """
        mind = await self._mind()
        at = moment.tape_sequence
        step = await self._guarded(lambda: mind.step(at, events), here=mind.ours and mind.is_near(at))
        if step.decision is not None and not step.signals:
            return step.decision
        with Traces(self._deployment, began) as traces:
            try:
                while step.decision is None:
                    self._trace(traces, step)
                    answers = await self._carry_out(mind, traces, step.commands)
                    step = await self._guarded(partial(mind.acknowledge, answers), here=mind.ours)
                self._trace(traces, step)
                return step.decision._replace(signals=traces.made())
            except StrategyFailed as error:
                error.made = tuple(traces.made())
                raise

    def close(self) -> None:
        """It decides no more."""
        self._bench.close()

    async def _mind(self) -> Mind:
        if self._known is None:
            self._known = await self._guarded(self._think)
        return self._known

    def _trace(self, traces: Traces, step: Step) -> None:
        self._checked(lambda: traces.add(step.signals, step.commands))

    async def _carry_out(self, mind: Mind, traces: Traces, commands: Sequence[Command]) -> list[OrderEvent]:
        """One after the other, each acknowledged before the next."""
        answers: list[OrderEvent] = []
        placed: dict[str, str] = {}
        for command in commands:
            tracing.adopt(traces.traceparent(command))
            failpoint("strategy.before_command")
            try:
                orders = await self._send(mind, command, placed)
            except Nonsense as error:
                raise StrategyFailed(str(error)) from error
            failpoint("strategy.after_command")
            placed |= {order.client_order_id: order.order_id for order in orders}
            replaced = isinstance(command, ReplaceOrder)
            at, decided = command.basis_sequence, command.basis_time
            answers += [acknowledgement(order, decided, at, replaced) for order in orders]
        return answers

    async def _send(self, mind: Mind, command: Command, placed: Mapping[str, str]) -> list[Order]:
        if isinstance(command, NewOrder):
            return [await self._orders.create(command, self._deployment)]
        if isinstance(command, NewOrderList):
            return await self._orders.create_list(command, self._deployment)
        order_id = placed.get(command.client_order_id) or mind.order_id(command.client_order_id)
        if not order_id:
            return []
        if isinstance(command, ReplaceOrder):
            return await self._orders.replace(order_id, command, self._deployment)
        return await self._orders.cancel(order_id)

    async def _guarded(self, work: Callable[[], T], *, here: bool = False) -> T:
        """Runs the strategy's code: on the bench, or here, where it is known to return soon.

        The way to the bench and back takes 0.1 to 0.2 ms, of some 4 that a cycle takes.
        """
        return self._checked(work) if here else await self._bench.run(lambda: self._checked(work))

    def _checked(self, work: Callable[[], T]) -> T:
        try:
            return work()
        except (StrategyFailed, Abandoned):
            raise
        except BaseException as error:
            _log.warning("a strategy failed", exc_info=error, extra={"deployment_id": self._deployment.deployment_id})
            text = f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
            raise StrategyFailed(text) from error
