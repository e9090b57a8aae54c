"""Somebody who follows a stream of order events through every kill, by its token alone, and sees each exactly once."""

from __future__ import annotations

import asyncio

from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from tests.e2e.mesh import PASSING, Clients


class Witness:
    """Follows one environment's events, all or one portfolio's.

    Attributes:
        portfolio_id: whose alone; empty for all.
        events: in the order they came.
        after: the sequence after which it began.
        last: the sequence the stream has come to.
    """

    def __init__(self, clients: Clients, environment_id: str, portfolio_id: str = "", *, after: int = 0) -> None:
        self.events: list[order_pb2.OrderEvent] = []
        self.portfolio_id = portfolio_id
        self.after = self.last = after
        self._clients = clients
        self._request = order_service_pb2.StreamOrderEventsRequest(
            environment_id=environment_id, portfolio_id=portfolio_id, after_sequence=after
        )
        self._news = asyncio.Condition()
        self._task = asyncio.create_task(self._follow())

    def fork(self, clients: Clients) -> Witness:
        """Another one, who goes on from this one's token."""
        made = Witness(clients, self._request.environment_id, self.portfolio_id, after=self.last)
        made._request.CopyFrom(self._request)
        return made

    async def come_to(self, sequence: int, seconds: float = 30.0) -> None:
        """Returns when the stream has come so far."""
        async with asyncio.timeout(seconds), self._news:
            while self.last < sequence:
                if self._task.done():
                    self._task.result()
                await self._news.wait()

    async def close(self) -> None:
        """Ends."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _follow(self) -> None:
        while True:
            try:
                async for message in self._clients.orders.StreamOrderEvents(self._request):
                    await self._take(message)
            except ApiError as error:
                if error.code not in PASSING:
                    raise
            await asyncio.sleep(0.05)

    async def _take(self, message: order_service_pb2.StreamOrderEventsResponse) -> None:
        kind = message.WhichOneof("event")
        if kind == "order_events":
            before = self.events[-1].sequence if self.events else self.after
            for event in message.order_events.events:
                assert event.sequence > before, f"{event.sequence} came after {before}"
                before = event.sequence
            # What this message says came before it is what the one before it said that it had come to.
            assert message.previous_sequence == self.last, f"{self.last} is followed by {message.previous_sequence}"
            self.events += message.order_events.events
        elif kind in {"snapshot", "reset"}:
            raise AssertionError(f"a token was answered by a {kind}")
        self._request.ClearField("after_sequence")
        self._request.resume_token = message.resume_token
        self.last = max(self.last, message.sequence)
        async with self._news:
            self._news.notify_all()
