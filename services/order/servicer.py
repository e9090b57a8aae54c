"""The RPCs of OrderService: proto to domain, a call, domain to proto."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final

import grpc
from tickmesh.order.v1 import (
    cancel_timer_pb2,
    order_list_pb2,
    order_preview_pb2,
    order_service_pb2,
    order_service_pb2_grpc,
)

from services.chassis.calls.handlers import principal
from services.chassis.errors import ApiError
from services.chassis.streams.tokens import ResumeTokens
from services.domain.orders.lists import MOST_ORDERS
from services.order.desk.desk import Desk
from services.order.desk.replay import Desks
from services.order.entry.intake import Intake, no_order, parse_order_id
from services.order.entry.session import Session
from services.order.journal.log import Seen
from services.order.listing import Listing
from services.order.mapping import cancel_timer_to_proto, decode_event, execution
from services.order.paging import Paging
from services.order.preview_mapping import preview_to_proto, previewed_ticket
from services.order.ticket import client_key
from services.wire.cycle import SEAT_KEY
from services.wire.streams import Cursor, Envelopes

Context = grpc.aio.ServicerContext[Any, Any]

# 500 orders are about 200 kB.
SNAPSHOT_PART: Final = 500


class OrderServicer(order_service_pb2_grpc.OrderServiceServicer):
    """Orders, from their creation to their end."""

    def __init__(self, desks: Desks, listing: Listing, tokens: ResumeTokens, heartbeat_seconds: float) -> None:
        self._desks = desks
        self._store = desks.store
        self._listing = listing
        self._paging = Paging(desks.peers)
        self._tokens = tokens
        self._intake = Intake(desks)
        self._heartbeat = heartbeat_seconds

    async def CreateOrder(self, request: order_service_pb2.CreateOrderRequest, context: Context) -> Any:
        """Checks an order and sends it to the venue."""
        answer = await self._intake.create(request, principal(), seat_token=_seat_token(context))
        return await answer

    async def CreateOrderList(self, request: order_list_pb2.CreateOrderListRequest, context: Context) -> Any:
        """Checks orders that belong together and sends them to the venue."""
        answer = await self._intake.create_list(request, principal(), seat_token=_seat_token(context))
        return await answer

    async def GetOrderList(self, request: order_list_pb2.GetOrderListRequest, context: Context) -> Any:
        """Returns a list's orders as they are now."""
        list_id = request.order_list_id
        environment_id, number = parse_order_id(list_id)
        payloads = await self._store.orders_from(environment_id, number, MOST_ORDERS) if number else []
        members = [order for each in payloads if (order := decode_event(each).order).order_list_id == list_id]
        if not members:
            raise ApiError.not_found("order_list", list_id, "ORDER_LIST_NOT_FOUND")
        kind = members[0].contingency_type
        return order_list_pb2.OrderList(order_list_id=list_id, contingency_type=kind, orders=members)

    async def GetOrder(self, request: order_service_pb2.GetOrderRequest, context: Context) -> Any:
        """Returns an order as it is now."""
        return decode_event(await self._stored(request.order_id)).order

    async def GetOrderByClientOrderId(
        self, request: order_service_pb2.GetOrderByClientOrderIdRequest, context: Context
    ) -> Any:
        """Returns an order by the client's own id, as it is now."""
        key = client_key(request.portfolio_id, request.client_order_id)
        found = await self._store.orders_by_key([key])
        if key not in found:
            raise no_order(request.client_order_id)
        return decode_event(found[key].payload).order

    async def ListOrders(self, request: order_service_pb2.ListOrdersRequest, context: Context) -> Any:
        """Lists orders, newest first."""
        asked = await self._paging.asked(request)
        only, beyond, limit = request.open_only, asked.beyond, asked.limit
        rows = await self._listing.orders(asked.wanted, open_only=only, beyond=beyond, limit=limit)
        payloads, token = asked.cut(rows)
        orders = [decode_event(payload).order for payload in payloads]
        return order_service_pb2.ListOrdersResponse(orders=orders, next_page_token=token)

    async def CancelOrder(self, request: order_service_pb2.CancelOrderRequest, context: Context) -> Any:
        """Cancels an order."""
        return await self._intake.cancel(request, principal())

    async def ReplaceOrder(self, request: order_service_pb2.ReplaceOrderRequest, context: Context) -> Any:
        """Puts an open order on new terms."""
        return await self._intake.replace(request, principal(), _seat_token(context))

    async def BatchCancelOrders(self, request: order_service_pb2.BatchCancelOrdersRequest, context: Context) -> Any:
        """Cancels the open orders that fit."""
        order_ids, more = await self._intake.cancel_all(request, principal())
        return order_service_pb2.BatchCancelOrdersResponse(order_ids=order_ids, count=len(order_ids), more=more)

    async def ClosePosition(self, request: order_service_pb2.ClosePositionRequest, context: Context) -> Any:
        """Closes a position."""
        return await (await self._intake.close(request, principal()))

    async def PreviewOrder(self, request: order_preview_pb2.PreviewOrderRequest, context: Context) -> Any:
        """Tells what would become of an order."""
        return preview_to_proto(*await self._intake.preview(previewed_ticket(request)))

    async def ArmCancelTimer(self, request: cancel_timer_pb2.ArmCancelTimerRequest, context: Context) -> Any:
        """Arms a dead man's switch."""
        return cancel_timer_to_proto(await self._intake.arm(request, principal()))

    async def ListExecutions(self, request: order_service_pb2.ListExecutionsRequest, context: Context) -> Any:
        """Lists fills, oldest first."""
        events, token = await self._events(request, fills_only=True)
        return order_service_pb2.ListExecutionsResponse(executions=map(execution, events), next_page_token=token)

    async def ListOrderEvents(self, request: order_service_pb2.ListOrderEventsRequest, context: Context) -> Any:
        """Lists events, oldest first."""
        events, token = await self._events(request, fills_only=False)
        return order_service_pb2.ListOrderEventsResponse(order_events=events, next_page_token=token)

    async def StreamOrderEvents(
        self, request: order_service_pb2.StreamOrderEventsRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Streams order events: a snapshot of the open orders, then every event."""
        cursor = Cursor(request, self._tokens, "max_delay")
        environment_id = cursor.partition or await self._desks.peers.home(request.environment_id, request.portfolio_id)
        desk = await self._desks.get(environment_id)
        delay = request.max_delay.ToTimedelta().total_seconds()
        subscription = self._desks.log.subscribe(environment_id, cursor.after, _filter(request), delay=delay)
        envelopes = Envelopes(order_service_pb2.StreamOrderEventsResponse, environment_id, cursor)

        def snapshot() -> Iterable[bytes]:
            subscription.seek(desk.journal.committed_head)
            return _snapshot(envelopes, desk, request.portfolio_id)

        async for message in envelopes.follow(subscription, "order_events", snapshot):
            yield message

    async def EnterOrders(
        self, request_iterator: AsyncIterator[order_service_pb2.EnterOrdersRequest], context: Context
    ) -> AsyncIterator[Any]:
        """Takes commands as they come, and tells what becomes of each."""
        session = Session(self._intake, principal(), _seat_token(context), self._heartbeat)
        async with aclosing(session.run(request_iterator)) as messages:
            async for message in messages:
                yield message

    async def _stored(self, order_id: str) -> bytes:
        """An order's last event."""
        environment_id, number = parse_order_id(order_id)
        payload = await self._store.order(environment_id, number) if number else None
        if payload is None:
            raise no_order(order_id)
        return payload

    async def _events(self, request: Any, *, fills_only: bool) -> tuple[list[Any], str]:
        asked = await self._paging.asked(request)
        rows = await self._listing.events(asked.wanted, fills_only=fills_only, beyond=asked.beyond, limit=asked.limit)
        if request.order_id and not rows and not asked.page.after:
            await self._stored(request.order_id)
        payloads, token = asked.cut(rows)
        return list(map(decode_event, payloads)), token


def _snapshot(envelopes: Envelopes, desk: Desk, portfolio_id: str) -> Iterable[bytes]:
    """The open orders in parts, all as of one moment."""
    at, elements = desk.journal.committed_head, desk.journal.snapshot(portfolio_id)
    starts = range(0, max(1, len(elements)), SNAPSHOT_PART)
    for start in starts:
        head: bytes = order_service_pb2.OrderSnapshot(sequence=at, last=start == starts[-1]).SerializeToString()
        yield envelopes.wrap("snapshot", head + b"".join(elements[start : start + SNAPSHOT_PART]), at)


def _seat_token(context: Context) -> str:
    return next((str(value) for key, value in context.invocation_metadata() or () if key == SEAT_KEY), "")


def _filter(request: order_service_pb2.StreamOrderEventsRequest) -> Callable[[Seen], bool] | None:
    portfolio_id, exec_types = request.portfolio_id, frozenset(request.exec_types)
    if not portfolio_id and not exec_types:
        return None
    return lambda seen: portfolio_id in {"", seen.portfolio_id} and (not exec_types or seen.exec_type in exec_types)
