"""A client with one portfolio, who remembers all that it was told, and asks again what it was not."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import grpc
from tickmesh.order.v1 import order_list_pb2, order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub

from services.chassis.errors import ApiError
from services.domain.orders.order import TERMINAL, OrderState
from tests.e2e.entry import Entry
from tests.e2e.mesh import PASSING, Clients, repeated
from tests.e2e.told import Change, Told, ToldList

# How long a client waits for an answer before it asks again, later.
PATIENCE_SECONDS = 3.0


Call = Callable[..., Awaitable[Any]]


class Way(NamedTuple):
    """How a client's words travel."""

    create: Call
    create_list: Call
    replace: Call
    cancel: Call

    @classmethod
    def of(cls, through: OrderServiceStub | Entry) -> Way:
        """Calls of their own, or a session's."""
        if isinstance(through, Entry):
            return cls(through.create, through.create_list, through.replace, through.cancel)
        return cls(through.CreateOrder, through.CreateOrderList, through.ReplaceOrder, through.CancelOrder)


@dataclass
class Client:
    """One portfolio's client.

    Attributes:
        alone: whether nobody else trades for the portfolio.
        answers: how many it had.
    """

    clients: Clients
    environment_id: str
    portfolio_id: str
    chance: random.Random
    alone: bool = True
    told: dict[str, Told] = field(default_factory=dict)
    answers: int = 0

    async def settle(self) -> None:
        """Asks again for everything that was not answered, until it is; returns when no session has orders to end."""
        for told in self.told.values():
            if not told.known and told.listed is not None:
                await self._heard(told.listed, _until(self.clients.orders.CreateOrderList, told.listed.request))
            elif not told.known:
                await self._heard(told, _until(self.clients.orders.CreateOrder, told.request))
            for change in told.changes.values():
                if not change.known:
                    await self._changed(told, change, _until(self.clients.orders.ReplaceOrder, change.request))
            if told.ending and not (told.canceled or told.ended):
                await self._cancel(told, self.clients.orders.CancelOrder, _until)
        async with asyncio.timeout(30):
            while await self._bound():  # noqa: ASYNC110 another process tells no event
                await asyncio.sleep(0.02)

    async def cancel_all(self) -> None:
        """Cancels whatever is open."""
        for told in self.told.values():
            if told.order is not None and OrderState(told.order.state) not in TERMINAL:
                await self._cancel(told, self.clients.orders.CancelOrder, _until)

    async def _bound(self) -> bool:
        """Whether there are open orders that a session is to end."""
        request = order_service_pb2.ListOrdersRequest(portfolio_id=self.portfolio_id, open_only=True, page_size=1000)
        return any(each.session_id for each in (await _until(self.clients.orders.ListOrders, request)).orders)

    def wants(self, request: order_service_pb2.CreateOrderRequest) -> Told:
        """Remembers an order that is to be created."""
        told = self.told[request.client_order_id] = Told(request)
        return told

    def wants_list(self, request: order_list_pb2.CreateOrderListRequest) -> Told:
        """Remembers orders that are to be created together; gives the first."""
        listed = ToldList(request)
        for leg in request.orders:
            names = {field.name for field in order_service_pb2.CreateOrderRequest.DESCRIPTOR.fields}
            values = {field.name: value for field, value in leg.ListFields() if field.name in names}
            told = self.wants(order_service_pb2.CreateOrderRequest(portfolio_id=request.portfolio_id, **values))
            told.listed = listed
            listed.orders.append(told)
        return listed.orders[0]

    async def create(self, told: Told, way: Way) -> None:
        """Asks for an order, the first time or again, and for those that belong to it."""
        if told.listed is not None:
            await self._heard(told.listed, _once(way.create_list, told.listed.request))
        else:
            await self._heard(told, _once(way.create, told.request))

    async def replace(self, told: Told, way: Way, **terms: str) -> None:
        """Asks for new terms."""
        request = order_service_pb2.ReplaceOrderRequest(**self._named(told), **terms)
        request.request_id = str(uuid.UUID(int=self.chance.getrandbits(128), version=4))
        told.changes[request.request_id] = change = Change(request)
        await self.replace_again(told, way, change)

    async def replace_again(self, told: Told, way: Way, change: Change) -> None:
        """Asks once more for new terms that were asked for before."""
        await self._changed(told, change, _once(way.replace, change.request))

    async def cancel(self, told: Told, way: Way) -> None:
        """Asks for an order's end."""
        await self._cancel(told, way.cancel, _once)

    async def _heard(self, told: Told | ToldList, asking: Awaitable[Any]) -> None:
        try:
            told.hear(await asking)
        except ApiError as error:
            if error.code is grpc.StatusCode.FAILED_PRECONDITION:
                told.hear_refusal(error)
            elif error.code not in PASSING:
                raise AssertionError(f"an order was answered by {error}") from error
            else:
                return
        self.answers += 1

    async def _changed(self, told: Told, change: Change, asking: Awaitable[Any]) -> None:
        try:
            change.order = await asking
            told.hear(change.order)
        except ApiError as error:
            if error.code in PASSING:
                return
            change.hear_refusal(error)
        self.answers += 1

    def _named(self, told: Told) -> dict[str, str]:
        """An order by one of its two names; there is only the client's while it is not answered."""
        if not told.order_id or self.chance.random() < 0.5:
            return {"portfolio_id": self.portfolio_id, "orig_client_order_id": told.request.client_order_id}
        return {"order_id": told.order_id}

    async def _cancel(self, told: Told, cancel: Call, ask: Callable[[Call, Any], Awaitable[Any]]) -> None:
        told.ending = True
        request = order_service_pb2.CancelOrderRequest(**self._named(told))
        try:
            told.hear(await ask(cancel, request))
            told.canceled = True
        except ApiError as error:
            if error.code in PASSING:
                return
            if error.reason != "ORDER_ENDED":
                raise AssertionError(f"a cancel was answered by {error}") from error
            told.ended = error.metadata["state"]
        self.answers += 1


async def _once(call: Call, request: Any) -> Any:
    return await call(request, timeout=PATIENCE_SECONDS)


async def _until(call: Call, request: Any) -> Any:
    return await repeated(call, request)
