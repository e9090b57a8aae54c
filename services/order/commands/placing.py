"""How orders come in: known ones are answered, new ones checked by risk in one batch, decided on and committed."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from decimal import Decimal
from functools import lru_cache
from typing import Any, Protocol

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.costs import VenueModels
from services.domain.instrument import Instrument
from services.domain.money import MAX_PRICE_DIGITS, format_decimal, is_multiple, significant_digits
from services.domain.orders.order import Order, OrderEvent, OrderState, Side
from services.domain.risk.gate import Verdict
from services.domain.venue.matching import Venue
from services.order.gate.checks import LEAST_SECONDS, Checks, asking, refusal_of, risk_unavailable
from services.order.gate.mapping import Check
from services.order.gate.risk_gate import RiskUnavailable
from services.order.journal.journal import Journal
from services.order.mapping import decode_event, decode_order, refusal_error
from services.order.records import EnvironmentRow, OrderRow, PortfolioRow
from services.order.store import Store
from services.order.ticket import Provenance, Ticket


@dataclass(slots=True, eq=False)
class Create:
    """Somebody asks for an order.

    Attributes:
        seat_token: of a strategy's command, what shows that it is its deployment's own.
        session_id: the session that it shall not outlive, if there is one.
        deadline: monotonic seconds; set once nothing but risk is waited for.
        arrived: when it came, monotonic seconds.
    """

    ticket: Ticket
    portfolio: PortfolioRow
    instrument: Instrument
    principal: str
    traceparent: str
    answer: asyncio.Future[bytes]
    seat_token: str = ""
    session_id: str = ""
    deadline: float = 0.0
    arrived: float = field(default_factory=time.monotonic)
    repeats: list[Create] = field(default_factory=list)

    @property
    def of_strategy(self) -> bool:
        """Whether a deployment decided it."""
        return self.ticket.of_strategy

    def fail(self, error: ApiError) -> None:
        """Answers this and its repeats with an error."""
        for each in (self, *self.repeats):
            if not each.answer.done():
                each.answer.set_exception(error)

    def answer_with(self, order: bytes, state: OrderState) -> None:
        """Answers this and its repeats with the order; a refused one is answered by its refusal."""
        if state is OrderState.REJECTED:
            refused = decode_order(order)
            self.fail(refusal_error(refused.order_id, refused.refusal))
            return
        for each in (self, *self.repeats):
            if not each.answer.done():
                each.answer.set_result(order)


class Desk(Protocol):
    """What placing needs of its desk."""

    row: EnvironmentRow
    venue: Venue
    journal: Journal

    @property
    def models(self) -> VenueModels:
        """What trading costs."""
        ...

    async def objection(self, create: Create) -> ApiError | None:
        """Why a new order cannot come in now."""
        ...


class Placing:
    """Takes batches of orders, one at a time."""

    def __init__(self, desk: Desk, store: Store, checks: Checks) -> None:
        self._desk = desk
        self._store = store
        self._asking = checks

    async def place(self, batch: Iterable[Create], *, alone: bool) -> list[Create]:
        """Decides on orders and answers them.

        Args:
            batch: what has queued.
            alone: nothing else has.

        Returns:
            Those that must be looked at again: another order of the same client's id has just come in.
        """
        creates, again = _leaders([each for each in batch if not each.answer.done()])
        creates = [each for each in await self._unknown(creates) if await self.may_come_in(each)]
        soonest = time.monotonic() + LEAST_SECONDS
        late = [each for each in creates if each.deadline < soonest]
        # Who queued so long that risk may be given up soon is asked about alone: it must not fail those behind it.
        for together in (late, [each for each in creates if each.deadline >= soonest]):
            if together:
                await self._decide(together, alone=alone)
        return again

    async def _unknown(self, creates: Sequence[Create]) -> list[Create]:
        """Answers those whose client's id is known; gives the others."""
        known = await self._store.orders_by_key([each.ticket.client_key for each in creates]) if creates else {}
        unknown = []
        for create in creates:
            stored = known.get(create.ticket.client_key)
            if stored is None:
                unknown.append(create)
            else:
                _answer_known(create, stored)
        return unknown

    async def may_come_in(self, create: Create) -> bool:
        """Whether an order can come in now; who cannot is answered."""
        objection, ticket = await self._desk.objection(create), create.ticket
        if objection is None and ticket.closes and not self._held(ticket):
            position_id = f"{ticket.portfolio_id}~{ticket.symbol}"
            objection = ApiError.not_found("position", position_id, "POSITION_NOT_FOUND", "Nothing is held.")
        if objection is not None:
            create.fail(objection)
        return objection is None

    async def _decide(self, creates: Sequence[Create], *, alone: bool) -> None:
        desk, row = self._desk, self._desk.row
        orders = [self.order(create, row.order_count + n) for n, create in enumerate(creates, start=1)]
        origins = [self.origin(create) for create in creates]
        try:
            with ExitStack() as spans:
                checks = self.checks(creates, orders, origins, spans)
                deadline = min(create.deadline for create in creates)
                verdicts = await self._asking.verdicts(lambda: checks, deadline)
        except RiskUnavailable:
            for create in creates:
                create.fail(risk_unavailable())
            return
        failpoint("order.after_reserve")
        events: list[OrderEvent] = []
        for create, order, origin in zip(creates, orders, origins, strict=True):
            verdict = verdicts.get(order.order_id)
            desk.journal.introduce(order.order_id, origin, create.portfolio)
            desk.journal.checked(order.order_id, verdict)
            events += self._take(order, verdict)
        row.order_count += len(orders)
        placed = await desk.journal.commit(events, cause="command", alone=alone and len(orders) == 1)
        for create, event in zip(creates, events, strict=True):
            create.answer_with(placed[event.order.order_id], event.order.state)

    def checks(
        self, creates: Sequence[Create], orders: Sequence[Order], origins: Sequence[Provenance], spans: ExitStack
    ) -> list[Check]:
        """What risk is asked: nothing of an order whose symbol has no price yet."""
        checks, prices = [], dict[tuple[str, Side], Decimal | None]()
        for create, order, origin in zip(creates, orders, origins, strict=True):
            wanted = (order.symbol, order.side)
            if wanted not in prices:
                prices[wanted] = self._desk.venue.reference_price(*wanted)
            price = prices[wanted]
            if price is not None:
                opening = create.portfolio.opening_ledger_sequence
                trace, slip = asking(origin.traceparent, spans), self._desk.venue.slip(order)
                checks.append(Check(order, origin, create.instrument, price, opening, trace, slip))
        return checks

    def _take(self, order: Order, verdict: Verdict | None) -> list[OrderEvent]:
        venue, at, decided = self._desk.venue, order.basis_sequence, order.basis_time
        if verdict is None or verdict.reservation is None:
            return venue.refuse(order, refusal_of(verdict), at, decided)
        return venue.accept(order._replace(reservation=verdict.reservation), at, decided)

    def order(self, create: Create, number: int) -> Order:
        """The order that is asked for, before it is decided on."""
        row, ticket = self._desk.row, create.ticket
        sized = _closing(self._held(ticket)) if ticket.closes else {}
        terms = self._desk.models.terms(ticket.portfolio_id, create.instrument, ticket.fields["client_order_id"])
        return Order(
            order_id=f"{row.environment_id}-{number}",
            basis_sequence=row.tape_sequence,
            basis_time=max(row.market_time, ticket.basis_time),
            costs=terms.costs,
            latency=terms.latency,
            fill_settings=terms.fill_settings,
            **ticket.fields,
            **sized,
        )

    def _held(self, ticket: Ticket) -> Decimal:
        return self._desk.venue.held(ticket.portfolio_id, ticket.symbol)

    def origin(self, create: Create) -> Provenance:
        """Where it comes from."""
        return Provenance(
            environment_id=self._desk.row.environment_id,
            client_key=create.ticket.client_key,
            asked=create.ticket.asked,
            signal_id=create.ticket.signal_id,
            principal=create.principal,
            owner=create.portfolio.owner,
            create_time=time.time_ns(),
            traceparent=create.traceparent,
            session_id=create.session_id,
        )


def check_increments(fields: Mapping[str, Any], instrument: Instrument, path: str = "") -> None:
    """Refuses prices and quantities off the instrument's increments, and prices that no double stands for.

    Args:
        fields: of an order, by name.
        path: where they are in the request.

    Raises:
        ApiError: INVALID_ARGUMENT `OFF_INCREMENT` with the increment, or `INVALID_ARGUMENT`.
    """
    for name, increment in (
        ("quantity", instrument.quantity_increment),
        ("limit_price", instrument.price_increment),
        ("stop_price", instrument.price_increment),
        ("trailing_amount", instrument.price_increment),
        ("display_quantity", instrument.quantity_increment),
    ):
        value = fields.get(name)
        if value and (fault := _fault(value, increment, not name.endswith("quantity"))):
            reason, message = fault
            off = {"increment": format_decimal(increment), "symbol": instrument.symbol}
            metadata = off if reason == "OFF_INCREMENT" else {}
            raise ApiError.invalid_field(f"{path}{name}", message, reason, metadata=metadata)


@lru_cache(8192)
def _fault(value: Decimal, increment: Decimal, is_price: bool) -> tuple[str, str] | None:
    """What is wrong with a price or quantity, if anything: reason and message. Kept, as the same come again."""
    if is_price and significant_digits(value) > MAX_PRICE_DIGITS:
        return "INVALID_ARGUMENT", f"has more than {MAX_PRICE_DIGITS} significant digits"
    if not is_multiple(value, increment):
        return "OFF_INCREMENT", f"is no multiple of {format_decimal(increment)}"
    return None


def _closing(held: Decimal) -> dict[str, Any]:
    return {"side": Side.SELL if held > 0 else Side.BUY, "quantity": abs(held)}


def _leaders(batch: Iterable[Create]) -> tuple[list[Create], list[Create]]:
    """The first of each client's id, with those that repeat it; and those which reuse an id with other values."""
    first: dict[str, Create] = {}
    others = []
    for create in batch:
        leader = first.setdefault(create.ticket.client_key, create)
        if leader is create:
            continue
        if leader.ticket.asked == create.ticket.asked:
            leader.repeats.append(create)
        else:
            others.append(create)
    return list(first.values()), others


def _answer_known(create: Create, stored: OrderRow) -> None:
    order = decode_event(stored.payload).order
    if stored.asked == create.ticket.asked:
        create.answer_with(order.SerializeToString(), OrderState(order.state))
    else:
        create.fail(id_reused(stored))


def id_reused(stored: OrderRow) -> ApiError:
    """A client's id was used for another order."""
    order = decode_event(stored.payload).order
    client_order_id = order.client_order_id
    message = f"The client order id {client_order_id} was used for order {order.order_id} with other values."
    metadata = {"order_id": order.order_id, "client_order_id": client_order_id}
    return ApiError.already_exists("order", order.order_id, "CLIENT_ORDER_ID_REUSED", message, metadata=metadata)
