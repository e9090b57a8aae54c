"""What the books ask of the order service: its events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence

from tickmesh.order.v1 import order_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub

from services.chassis.calls.channel import Channel
from services.chassis.errors import ApiError
from services.portfolio.mapping import fills_from_proto
from services.portfolio.records import Fill
from services.wire.feeds import follow_orders


class OrderFeed:
    """An environment's order events as they come, of which the fills are held until a fold asks for them.

    Attributes:
        arrived: the last event that has come.
    """

    def __init__(self, channel: Channel, environment_id: str, after: int) -> None:
        self.arrived = after
        self._stub = OrderServiceStub(channel)
        self._environment_id = environment_id
        self._fills: deque[Fill] = deque()
        self._changed = asyncio.Event()

    async def take(self, head: int) -> list[Fill]:
        """The fills up to event `head` that were not taken yet, once everything up to it has come."""
        while self.arrived < head:
            self._changed.clear()
            await self._changed.wait()
        taken: list[Fill] = []
        while self._fills and self._fills[0].sequence <= head:
            taken.append(self._fills.popleft())
        return taken

    @property
    def counted(self) -> int:
        """The last event up to which none is a fill that was not taken: nobody needs those again."""
        return self._fills[0].sequence - 1 if self._fills else self.arrived

    async def run(self, arrived: Callable[[], None]) -> None:
        """Follows them for as long as the environment lives; `arrived` is called whenever some have come."""

        def receive(came: Sequence[order_pb2.OrderEvent]) -> None:
            self._receive(came)
            arrived()

        await follow_orders(self._stub, self._environment_id, lambda: self.arrived, receive)

    def _receive(self, came: Sequence[order_pb2.OrderEvent]) -> None:
        events = [event for event in came if event.sequence > self.arrived]
        if not events:
            return
        if events[0].sequence != self.arrived + 1 or events[-1].sequence != self.arrived + len(events):
            reason = f"Order event {self.arrived + 1} of {self._environment_id} is missing."
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", reason)
        self._fills.extend(fills_from_proto(events))
        self.arrived = events[-1].sequence
        self._changed.set()
