"""Where requests become the desk's work, whether they come in calls of their own or by a session."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Any

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.chassis.telemetry.tracing import current_traceparent
from services.domain.instrument import Instrument
from services.order.clients import Peers
from services.order.commands.cancel_timers import Arm
from services.order.commands.canceling import Sweep, Swept
from services.order.commands.create import Create
from services.order.commands.increments import check_increments
from services.order.commands.order_lists import CreateList
from services.order.commands.previewing import Outlook, Trial
from services.order.commands.replacing import Replace
from services.order.desk.desk import Desk
from services.order.desk.replay import Desks
from services.order.entry.mapping import (
    asked_of,
    closing_ticket,
    decision_of,
    list_tickets,
    replacement_from_proto,
    ticket_from_proto,
)
from services.order.mapping import decode_event
from services.order.records import PortfolioRow, TimerRow
from services.order.ticket import Ticket, client_key


class Intake:
    """Finds whose an order is and what it trades, and hands it to the desk of its environment."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks
        self._leaving: set[asyncio.Task[None]] = set()

    def knows(self, request: Any) -> bool:
        """Whether nobody must be asked about what a CreateOrderRequest names: then `create` does not wait."""
        peers, portfolio = self._desks.peers, self._desks.peers.known(request.portfolio_id)
        if portfolio is None or request.symbol not in peers.instruments:
            return False
        return self._desks.existing(portfolio.environment_id) is not None

    async def create(
        self,
        request: Any,
        principal: str,
        *,
        seat_token: str = "",
        session_id: str = "",
        turn: asyncio.Future[None] | None = None,
    ) -> asyncio.Future[bytes]:
        """Submits an order; the future tells what became of it, as soon as that is durable.

        Args:
            request: a validated CreateOrderRequest.
            principal: who sends it.
            seat_token: what shows that a strategy's command is its deployment's own.
            session_id: the session that the order shall not outlive.
            turn: what the order is to come after.

        Raises:
            ApiError: as `OrderService.CreateOrder` says.
        """
        return await self._create(ticket_from_proto(request), principal, seat_token, session_id, turn)

    async def close(self, request: Any, principal: str) -> asyncio.Future[bytes]:
        """Submits an order that closes a position, as `create` does an order.

        Raises:
            ApiError: as `OrderService.ClosePosition` says.
        """
        return await self._create(closing_ticket(request), principal)

    async def _create(
        self,
        ticket: Ticket,
        principal: str,
        seat_token: str = "",
        session_id: str = "",
        turn: asyncio.Future[None] | None = None,
    ) -> asyncio.Future[bytes]:
        portfolio, desk, instrument = await self._found(ticket)
        if turn is not None:
            await asyncio.wait({turn})
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        token = seat_token if ticket.of_strategy else ""
        desk.submit(Create(ticket, portfolio, instrument, principal, current_traceparent(), answer, token, session_id))
        return answer

    async def create_list(
        self,
        request: Any,
        principal: str,
        *,
        seat_token: str = "",
        session_id: str = "",
        turn: asyncio.Future[None] | None = None,
    ) -> asyncio.Future[bytes]:
        """Submits a list, as `create` does an order; the future gives all of it.

        Raises:
            ApiError: as `OrderService.CreateOrderList` says.
        """
        kind, tickets = list_tickets(request)
        _, desk, _ = await self._found(tickets[0], "orders[0].")
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        orders = []
        for place, ticket in enumerate(tickets):
            portfolio, _, instrument = await self._found(ticket, f"orders[{place}].")
            token = seat_token if ticket.of_strategy else ""
            asked = (ticket, portfolio, instrument, principal, current_traceparent(), answer, token, session_id)
            orders.append(Create(*asked))
        if turn is not None:
            await asyncio.wait({turn})
        desk.submit(CreateList(kind, orders))
        return answer

    async def preview(self, ticket: Ticket) -> tuple[Outlook, str, Instrument]:
        """What would become of an order, in which environment, and what it would trade.

        Raises:
            ApiError: as `OrderService.PreviewOrder` says.
        """
        portfolio, desk, instrument = await self._found(ticket)
        answer: asyncio.Future[Outlook] = asyncio.get_running_loop().create_future()
        desk.submit(Trial(ticket, portfolio, instrument, answer))
        return await answer, portfolio.environment_id, instrument

    async def _found(self, ticket: Ticket, path: str = "") -> tuple[PortfolioRow, Desk, Instrument]:
        """Whose an order is, at which desk, and what it trades; `path` is where its fields are in the request."""
        portfolio = await self._desks.peers.portfolio(ticket.portfolio_id)
        desk = self._desks.existing(portfolio.environment_id) or await self._desks.get(portfolio.environment_id)
        instrument = await traded(self._desks.peers, desk, ticket.symbol)
        check_increments(ticket.fields, instrument, path)
        return portfolio, desk, instrument

    async def cancel(self, request: Any, principal: str) -> bytes:
        """Cancels the order that a validated CancelOrderRequest names; returns it as it then is, encoded.

        Raises:
            ApiError: as `OrderService.CancelOrder` says.
        """
        desk, order_id = await self._named(request)
        return await desk.urgent.cancel(order_id, principal)

    async def replace(self, request: Any, principal: str, seat_token: str = "") -> bytes:
        """Puts the order that a validated ReplaceOrderRequest names on new terms; returns it as it then is, encoded.

        Raises:
            ApiError: as `OrderService.ReplaceOrder` says.
        """
        terms = replacement_from_proto(request)
        desk, order_id = await self._named(request)
        answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        asked, decision = asked_of(order_id, terms), decision_of(request, seat_token)
        trace, request_id = current_traceparent(), request.request_id
        desk.submit(Replace(order_id, terms, principal, trace, answer, request_id, asked, decision))
        return await answer

    async def cancel_all(self, request: Any, principal: str) -> Swept:
        """Cancels the open orders that fit a validated BatchCancelOrdersRequest.

        Raises:
            ApiError: as `OrderService.BatchCancelOrders` says.
        """
        portfolio = await self._desks.peers.portfolio(request.portfolio_id)
        desk = await self._desks.traded(portfolio.environment_id)
        if desk is None:
            return Swept([], more=False)
        if request.symbol and desk.symbols is not None and request.symbol not in desk.symbols:
            # Whoever mistypes what is to be canceled must not take it for done.
            await traded(self._desks.peers, desk, request.symbol)
        answer: asyncio.Future[Swept] = asyncio.get_running_loop().create_future()
        of = (request.symbol, request.side, request.strategy_id, request.deployment_id)
        desk.urgent.sweep(Sweep(portfolio.portfolio_id, *of, principal, answer))
        return await answer

    async def arm(self, request: Any, principal: str) -> TimerRow:
        """Arms the cancel timer that a validated ArmCancelTimerRequest names.

        Raises:
            ApiError: as `OrderService.ArmCancelTimer` says.
        """
        environment_id, owner = request.environment_id, principal
        if request.portfolio_id:
            portfolio = await self._desks.peers.portfolio(request.portfolio_id)
            environment_id, owner = portfolio.environment_id, portfolio.owner
        desk = await self._desks.get(environment_id)
        answer: asyncio.Future[TimerRow] = asyncio.get_running_loop().create_future()
        timeout = request.timeout.seconds * 1_000_000_000 + request.timeout.nanos
        desk.timers.arm(Arm(request.portfolio_id, principal, owner, timeout, request.request_id, answer))
        return await answer

    def leave(self, session_id: str, working: Collection[asyncio.Future[Any]]) -> None:
        """Has the open orders of a session canceled, once all that it is still working on is done."""
        # The session's call has ended, and its end must not end this too.
        leaving = detach(self._disconnect(session_id, working), name=f"leave:{session_id}")
        self._leaving.add(leaving)
        leaving.add_done_callback(self._leaving.discard)

    async def _disconnect(self, session_id: str, working: Collection[asyncio.Future[Any]]) -> None:
        if working:
            await asyncio.wait(working)
        for desk in self._desks.all():
            desk.urgent.disconnect(session_id)

    async def _named(self, request: Any) -> tuple[Desk, str]:
        """The order that a request names by one of its ids, and its desk."""
        order_id = request.order_id
        if not order_id:
            order_id = await self._order_id(request.portfolio_id, request.orig_client_order_id)
        environment_id, number = parse_order_id(order_id)
        desk = await self._desks.traded(environment_id) if number else None
        if desk is None:
            raise no_order(order_id)
        return desk, order_id

    async def _order_id(self, portfolio_id: str, client_order_id: str) -> str:
        key = client_key(portfolio_id, client_order_id)
        found = (await self._desks.store.orders_by_key([key])).get(key)
        if found is None:
            raise no_order(client_order_id)
        return decode_event(found.payload).order.order_id


async def traded(peers: Peers, desk: Desk, symbol: str) -> Instrument:
    """An instrument that trades in a desk's environment.

    Raises:
        ApiError: NOT_FOUND `INSTRUMENT_NOT_FOUND`, FAILED_PRECONDITION `INSTRUMENT_NOT_IN_ENVIRONMENT`; UNAVAILABLE.
    """
    instrument = peers.instruments.get(symbol) or await peers.instrument(symbol)
    if desk.symbols is not None and symbol not in desk.symbols:
        environment_id = desk.row.environment_id
        message = f"{symbol} does not trade in {environment_id}."
        metadata = {"symbol": symbol, "environment_id": environment_id}
        raise ApiError.failed_precondition("INSTRUMENT_NOT_IN_ENVIRONMENT", message, subject=symbol, metadata=metadata)
    return instrument


def parse_order_id(order_id: str) -> tuple[str, int | None]:
    """The environment and number that an order id names; None as number where no order can have it."""
    environment_id, _, digits = order_id.rpartition("-")
    return environment_id, int(digits) if _is_number(digits) else None


def no_order(name: str) -> ApiError:
    """There is no such order."""
    return ApiError.not_found("order", name, "ORDER_NOT_FOUND")


def _is_number(digits: str) -> bool:
    """Whether it is a number from 1 as it is written, and one that a database can hold."""
    return digits.isascii() and digits.isdigit() and digits[0] != "0" and len(digits) <= 18
