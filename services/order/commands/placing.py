"""How orders come in: known ones are answered, new ones checked by risk in one batch, decided on and committed."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from typing import Any, Final, Protocol

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.costs import Costs, VenueModels
from services.domain.instrument import Instrument
from services.domain.orders.order import Order, OrderEvent, OrderState, Side
from services.domain.risk.gate import Verdict
from services.domain.tape import Tape
from services.domain.venue.matching import Venue
from services.order.commands.create import Create, answer_known, leaders
from services.order.gate.checks import LEAST_SECONDS, Checks, asking, refusal_of, risk_unavailable
from services.order.gate.mapping import Check
from services.order.gate.risk_gate import RiskUnavailable
from services.order.journal.journal import Journal
from services.order.records import EnvironmentRow
from services.order.store import Store
from services.order.ticket import Provenance, Ticket

# Batches that are being made durable while another is checked.
MOST_UNSETTLED: Final = 1


class Desk(Protocol):
    """What placing needs of its desk."""

    row: EnvironmentRow
    venue: Venue
    journal: Journal

    @property
    def tape(self) -> Tape | None:
        """The tape, once it is here and as long as it is needed."""
        ...

    @property
    def models(self) -> VenueModels:
        """What trading costs."""
        ...

    async def objection(self, create: Create) -> ApiError | None:
        """Why a new order cannot come in now."""
        ...


class Placing:
    """Takes batches of orders, one at a time; the next is checked while one is being made durable."""

    def __init__(self, desk: Desk, store: Store, checks: Checks) -> None:
        self._desk = desk
        self._store = store
        self._asking = checks
        self._writing: dict[str, Create] = {}
        self._unsettled: deque[asyncio.Future[None]] = deque()

    async def place(self, batch: Iterable[Create]) -> list[Create]:
        """Decides on orders, and answers them once that is durable: `settled` tells when.

        Returns:
            Those that must be looked at again: another order of the same client's id has just come in.
        """
        creates, again = leaders([each for each in batch if not each.answer.done()], self._writing)
        creates = [each for each in await self._unknown(creates) if await self.may_come_in(each)]
        soonest = time.monotonic() + LEAST_SECONDS
        late = [each for each in creates if each.deadline < soonest]
        # Who queued so long that risk may be given up soon is asked about alone: it must not fail those behind it.
        for together in (late, [each for each in creates if each.deadline >= soonest]):
            if together:
                await self._decide(together)
        if again:
            await self.settled()
        return again

    @property
    def unsettled(self) -> bool:
        """Whether something was decided that is not durable yet."""
        return bool(self._unsettled)

    async def settled(self, left: int = 0) -> None:
        """Returns when all but `left` of the batches that were decided are durable."""
        while len(self._unsettled) > left:
            done = self._unsettled.popleft()
            # Who is told to end meanwhile must not end the commit too.
            await asyncio.wait({done})
            done.result()

    async def _unknown(self, creates: Sequence[Create]) -> list[Create]:
        """Answers those whose client's id is known; gives the others."""
        known = await self._store.orders_by_key([each.ticket.client_key for each in creates]) if creates else {}
        unknown = []
        for create in creates:
            stored = known.get(create.ticket.client_key)
            if stored is None:
                unknown.append(create)
            else:
                answer_known(create, stored)
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

    async def _decide(self, creates: Sequence[Create]) -> None:
        await self.settled(left=MOST_UNSETTLED)
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
        written = desk.journal.write(events, cause="command", here=True)
        self._writing |= {create.ticket.client_key: create for create in creates}
        answer = partial(self._answer, creates, events, written.orders)
        if written.done.done():
            answer(written.done)
            return
        written.done.add_done_callback(answer)
        self._unsettled.append(written.done)
        if any(each.order.state is OrderState.REJECTED and _passed(verdicts, each.order) for each in events):
            # What risk set aside for it is free again, which it learns by an event.
            await self.settled()
        self._asking.taken(written.done)

    def _answer(
        self,
        creates: Sequence[Create],
        events: Sequence[OrderEvent],
        orders: Mapping[str, bytes],
        done: asyncio.Future[None],
    ) -> None:
        """What was decided is durable, or never will be: then whoever waits for it hears of the process' end."""
        for create in creates:
            del self._writing[create.ticket.client_key]
        if done.cancelled() or done.exception() is not None:
            return
        failpoint("order.after_commit")
        for create, event in zip(creates, events, strict=True):
            create.answer_with(orders[event.order.order_id], event.order.state)

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
        terms = self._desk.models.terms(ticket.portfolio_id, create.instrument, ticket.fields["client_order_id"])
        sized = _closing(self._held(ticket), create.instrument, terms.costs) if ticket.closes else {}
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


def _closing(held: Decimal, instrument: Instrument, costs: Costs | None) -> dict[str, Any]:
    """What closes a position: of a short so much more as is kept for commission, or some of it would be left."""
    if held > 0:
        return {"side": Side.SELL, "quantity": held}
    units = -held if costs is None else costs.gross(-held, instrument.quantity_increment)
    return {"side": Side.BUY, "quantity": units}


def _passed(verdicts: Mapping[str, Verdict], order: Order) -> bool:
    verdict = verdicts.get(order.order_id)
    return verdict is not None and verdict.reservation is not None
