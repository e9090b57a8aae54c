"""Order events and ledger entries, followed by their number."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from typing import Final

from google.protobuf.duration_pb2 import Duration
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

from services.chassis.errors import ApiError
from services.wire.streams import messages

FIRST_BACKOFF_SECONDS: Final = 0.01
LAST_BACKOFF_SECONDS: Final = 0.5
# A message for each event costs 150 us at each end, in the way of the next order. No fold waits for that long: what it
# names is sent when the venue tells how far it has come.
ORDER_DELAY: Final = Duration(nanos=20_000_000)

_log = logging.getLogger(__name__)


async def order_events(
    stub: OrderServiceStub, environment_id: str, after: int
) -> AsyncGenerator[Sequence[order_pb2.OrderEvent]]:
    """Order events after a number, in order; an empty list says that there are no more for now."""
    request = order_service_pb2.StreamOrderEventsRequest(
        environment_id=environment_id, after_sequence=after, max_delay=ORDER_DELAY
    )
    async with aclosing(messages(stub.StreamOrderEvents(request))) as stream:
        async for message in stream:
            yield message.order_events.events


async def ledger_entries(
    stub: PortfolioServiceStub, environment_id: str, after: int
) -> AsyncGenerator[Sequence[portfolio_pb2.LedgerEntry]]:
    """Ledger entries after a number, in order; an empty list says that there are no more for now."""
    request = portfolio_service_pb2.StreamLedgerEntriesRequest(environment_id=environment_id, after_sequence=after)
    async with aclosing(messages(stub.StreamLedgerEntries(request))) as stream:
        async for message in stream:
            yield message.ledger_entries.entries


async def follow_orders(
    stub: OrderServiceStub,
    environment_id: str,
    arrived: Callable[[], int],
    take: Callable[[Sequence[order_pb2.OrderEvent]], None],
) -> None:
    """Hands over an environment's order events after `arrived()`, and subscribes again after every break, for ever."""
    backoff, lost = FIRST_BACKOFF_SECONDS, False
    while True:
        before = arrived()
        try:
            async with aclosing(order_events(stub, environment_id, before)) as stream:
                async for events in stream:
                    take(events)
        except ApiError as error:
            # Said once, not at every attempt while the order service is away.
            if not lost or arrived() > before:
                _log.info("lost the order events", extra={"environment_id": environment_id, "error": str(error)})
            lost = True
        except Exception:  # noqa: BLE001 somebody waits for these events: trying again is all there is
            _log.exception("an order event could not be read", extra={"environment_id": environment_id})
        backoff = FIRST_BACKOFF_SECONDS if arrived() > before else min(2 * backoff, LAST_BACKOFF_SECONDS)
        await asyncio.sleep(backoff)
