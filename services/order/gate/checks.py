"""How risk is asked about orders, while what must not wait for it is served (rules 3 to 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from types import TracebackType
from typing import Any, Final, Protocol

from services.chassis.errors import ApiError
from services.chassis.telemetry import tracing
from services.domain.backtest.trading import NO_PRICE
from services.domain.orders.order import Refusal
from services.domain.risk.gate import Verdict
from services.domain.risk.preview import Preview
from services.order.gate.mapping import Check, check_batch
from services.order.gate.risk_gate import Checked, RiskGate
from services.order.journal.journal import Journal

# A check takes 1 to 3 ms. One that takes this long is waiting for risk, and a cancel must not wait with it.
PATIENCE_SECONDS: Final = 0.05
# However long an order queued behind others, risk gets this long to answer it.
LEAST_SECONDS: Final = 0.1


class Urgent(Protocol):
    """What must not wait for risk."""

    @property
    def waits(self) -> bool:
        """Whether there is any."""
        ...

    async def serve(self) -> None:
        """Serves it."""
        ...


class _Patience:
    """Ends its block by a TimeoutError once it has lasted for a while and something urgent waits."""

    def __init__(self, urgent: Urgent) -> None:
        self._urgent = urgent
        self._loop = asyncio.get_running_loop()
        self._timeout = asyncio.timeout(None)

    async def __aenter__(self) -> None:
        await self._timeout.__aenter__()
        self._look_later()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._looking.cancel()
        await self._timeout.__aexit__(kind, error, trace)

    def _look_later(self) -> None:
        self._looking = self._loop.call_later(PATIENCE_SECONDS, self._look)

    def _look(self) -> None:
        if self._urgent.waits:
            self._timeout.reschedule(self._loop.time())
        else:
            self._look_later()


class Checks:
    """Asks for one batch of verdicts at a time."""

    def __init__(self, journal: Journal, gate: RiskGate, urgent: Urgent) -> None:
        self._journal = journal
        self._gate = gate
        self._urgent = urgent
        self._answered = 0
        self._standing: dict[int, asyncio.Future[None]] = {}

    def taken(self, durable: asyncio.Future[None]) -> None:
        """The verdicts that came last led to orders that are being made durable: they stand, whatever is asked next.

        Only of orders that are what was checked: what risk set aside for them is all that it need know until then.
        """
        if (number := self._answered) and not durable.done():
            self._standing[number] = durable
            durable.add_done_callback(lambda _: self._standing.pop(number))

    async def verdicts(self, checks: Callable[[], Sequence[Check]], deadline: float) -> dict[str, Verdict]:
        """What risk says, by order id.

        While it does not answer, what is urgent is served, and the question asked anew after it.

        Args:
            checks: what to ask, anew at each try; where that is nothing, nobody is asked.
            deadline: monotonic seconds.

        Raises:
            RiskUnavailable: it did not answer in time.
        """
        self._answered = 0
        while asked := checks():
            answer = await self._ask(partial(self._batch, checks=asked), asked, deadline)
            if answer is not None:
                self._answered = answer.batch_id
                return {verdict.order_id: verdict for verdict in answer.verdicts}
        return {}

    async def previews(self, asked: Sequence[Check], deadline: float) -> dict[str, Preview]:
        """As `verdicts`, of orders that are only thought of."""
        while asked:
            answer = await self._ask(partial(self._batch, previews=asked), asked, deadline)
            if answer is not None:
                return {preview.verdict.order_id: preview for preview in answer.previews}
        return {}

    async def _ask(self, batch: Callable[..., Any], asked: Sequence[Check], deadline: float) -> Checked | None:
        """One try; None where it was given up for what is urgent, or is void."""
        seconds = max(LEAST_SECONDS, deadline - time.monotonic())
        decided = max(self._journal.row.market_time, *(check.order.basis_time for check in asked))
        try:
            # Not in a task of its own: that took a fifth longer, and two turns of the loop from the verdict to here.
            async with _Patience(self._urgent):
                answer = await self._gate.check(partial(batch, decided), seconds)
            if answer.generation == self._gate.generation:
                return answer
        except TimeoutError:
            # Something urgent has come.
            pass
        await self._urgent.serve()
        return None

    def _batch(self, decided: int, number: int, told: int, **orders: Sequence[Check]) -> Any:
        journal, tape_sequence = self._journal, self._journal.row.tape_sequence
        events, head = journal.events_since(told), journal.committed_head
        return check_batch(number, head, tape_sequence, decided, order_events=events, standing=self._standing, **orders)


def refusal_of(verdict: Verdict | None) -> Refusal:
    """Why an order was refused; where nothing was asked of risk, its symbol has no price."""
    return NO_PRICE if verdict is None else verdict.refusal or NO_PRICE


def risk_unavailable() -> ApiError:
    """Nothing was decided."""
    return ApiError.unavailable("RISK_UNAVAILABLE", "Risk did not answer in time; nothing was decided.")


def asking(traceparent: str, spans: ExitStack) -> str:
    """Begins the question to risk as a span of the order's trace: the call is shared, so its own would tell nobody."""
    if not tracing.sampled(traceparent):
        return traceparent
    name = "tickmesh.risk.v1.RiskGateService/CheckOrders"
    spans.enter_context(tracing.span_from(traceparent, name, kind="CLIENT"))
    begun = tracing.current_traceparent()
    # What is done until the answer comes is done for the whole batch, and belongs to no single order's trace.
    tracing.adopt("")
    return begun
