"""What the order service and a gate say to each other, and one connection of theirs."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import AbstractContextManager, nullcontext
from decimal import Decimal
from typing import Any, NamedTuple

from services.chassis.telemetry import tracing
from services.domain.costs import NO_SLIP, Slip
from services.domain.orders.order import Order
from services.domain.risk.gate import Verdict
from services.domain.risk.preview import Preview
from services.risk.gate.folding import NumberedEvent
from services.risk.records import KillRecord, LimitRecord


class Check(NamedTuple):
    """One order to check, at the venue's last price, with what that can say of the prices to come."""

    order: Order
    reference_price: Decimal
    traceparent: str = ""
    slip: Slip = NO_SLIP

    def span(self) -> AbstractContextManager[Any]:
        """The check's own span in its order's trace; the stream itself belongs to no trace."""
        if not self.traceparent or not tracing.sampled(self.traceparent):
            return nullcontext()
        order, name = self.order, "tickmesh.risk.v1.RiskGateService/CheckOrders"
        attributes = {"order_id": order.order_id, "portfolio_id": order.portfolio_id, "symbol": order.symbol}
        return tracing.span_from(self.traceparent, name, attributes, kind="SERVER")


class Batch(NamedTuple):
    """Orders to check, in order, as of a market time (ns).

    Attributes:
        order_head: the last order event that the verdicts must know, and the last that they may know.
        ledger_sequence: the ledger entry that they must know.
        previews: orders that are only thought of.
        order_events: those before the head that had not arrived.
        standing: older batches whose verdicts stand though the head is before their orders' events.
    """

    batch_id: int
    order_head: int
    ledger_sequence: int
    tape_sequence: int
    time: int
    checks: list[Check]
    previews: list[Check]
    order_events: Sequence[NumberedEvent] = ()
    standing: Collection[int] = ()


class Ready(NamedTuple):
    """The gate answers from here on; these kill switches are engaged, and these runaway guards set."""

    epoch: int
    kill_switches: list[KillRecord]
    guards: list[LimitRecord]


class Verdicts(NamedTuple):
    """The answers of one batch, in its order."""

    batch_id: int
    verdicts: list[Verdict]
    previews: Sequence[Preview] = ()


Told = Ready | Verdicts | KillRecord | LimitRecord
"""What the order service is told; of limits, its runaway guards."""


class Session:
    """One connection of the order service: what it is told, in the order in which it was decided."""

    def __init__(self, epoch: int) -> None:
        self.epoch = epoch
        self._outbox: asyncio.Queue[Told | BaseException | None] = asyncio.Queue()

    def put(self, message: Told) -> None:
        """Tell it next."""
        self._outbox.put_nowait(message)

    def end(self, error: BaseException | None = None) -> None:
        """Tell nothing more; with an error, that is what the caller gets."""
        self._outbox.put_nowait(error)

    async def next(self) -> Told | None:
        """What to tell next; None at the end. Raises what ended it."""
        message = await self._outbox.get()
        if isinstance(message, BaseException):
            raise message
        return message
