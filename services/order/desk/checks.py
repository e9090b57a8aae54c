"""How risk is asked about orders, while what must not wait for it is served (rules 3 to 5)."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any, Final, Protocol

from services.chassis import telemetry
from services.chassis.errors import ApiError
from services.domain.gate import Verdict
from services.order.desk.gate_mapping import Check, check_batch
from services.order.desk.risk_gate import RiskGate
from services.order.records import EnvironmentRow

# A check takes 1 to 3 ms. One that takes this long is waiting for risk, and a cancel must not wait with it.
PATIENCE_SECONDS: Final = 0.05
# However long an order queued behind others, risk gets this long to answer it.
LEAST_SECONDS: Final = 0.1


class Asker(Protocol):
    """What checks need of their desk."""

    row: EnvironmentRow

    @property
    def urgent(self) -> bool:
        """Whether cancels or kill switches wait."""
        ...

    async def serve_urgent(self) -> None:
        """Serves what is urgent."""
        ...


class Checks:
    """Asks for one batch of verdicts at a time."""

    def __init__(self, desk: Asker, gate: RiskGate) -> None:
        self._desk = desk
        self._gate = gate

    async def verdicts(self, checks: Callable[[], Sequence[Check]], deadline: float) -> dict[str, Verdict]:
        """What risk says, by order id.

        While it does not answer, what is urgent is served, and the question asked anew after it.

        Args:
            checks: what to ask, anew at each try; where that is nothing, nobody is asked.
            deadline: monotonic seconds.

        Raises:
            RiskUnavailable: it did not answer in time.
        """
        desk = self._desk
        while asked := checks():
            seconds = max(LEAST_SECONDS, deadline - time.monotonic())
            asking = asyncio.ensure_future(self._gate.check(partial(self._batch, asked), seconds))
            try:
                await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
                while not asking.done() and not desk.urgent:
                    await asyncio.wait({asking}, timeout=PATIENCE_SECONDS)
                if asking.done():
                    verdicts, generation = asking.result()
                    if generation == self._gate.generation:
                        return {verdict.order_id: verdict for verdict in verdicts}
            finally:
                asking.cancel()
            await desk.serve_urgent()
        return {}

    def _batch(self, checks: Sequence[Check], number: int) -> Any:
        row = self._desk.row
        decided = max(row.market_time, *(check.order.basis_time for check in checks))
        return check_batch(number, row.head, row.tape_sequence, decided, checks)


def risk_unavailable() -> ApiError:
    """Nothing was decided."""
    return ApiError.unavailable("RISK_UNAVAILABLE", "Risk did not answer in time; nothing was decided.")


def asking(traceparent: str, spans: ExitStack) -> str:
    """Begins the question to risk as a span of the order's trace: the call is shared, so its own would tell nobody."""
    if not telemetry.sampled(traceparent):
        return traceparent
    name = "tickmesh.risk.v1.RiskGateService/CheckOrders"
    spans.enter_context(telemetry.span_from(traceparent, name, kind="CLIENT"))
    begun = telemetry.current_traceparent()
    # What is done until the answer comes is done for the whole batch, and belongs to no single order's trace.
    telemetry.adopt("")
    return begun
