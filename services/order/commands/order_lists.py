"""How orders that belong together come in: checked by risk in one batch, all accepted or none, committed at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import NamedTuple

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.orders.lists import inverted, listed
from services.domain.orders.order import ContingencyType, Order, OrderEvent, OrderState
from services.domain.risk.gate import Verdict
from services.order.commands.create import Create, id_reused
from services.order.commands.placing import Desk, Placing
from services.order.gate.checks import Checks, refusal_of, risk_unavailable
from services.order.gate.risk_gate import RiskUnavailable
from services.order.mapping import decode_event, decode_order, encode_list, refusal_error
from services.order.records import OrderRow
from services.order.store import Store
from services.order.ticket import Provenance


@dataclass(slots=True, eq=False)
class CreateList:
    """Somebody asks for orders that belong together.

    Attributes:
        orders: what is asked for, in the list's order; they share one answer, which is the list, encoded.
        deadline: monotonic seconds; set once nothing but risk is waited for.
    """

    kind: ContingencyType
    orders: Sequence[Create]
    deadline: float = 0.0

    @property
    def keys(self) -> list[str]:
        """The clients' keys of its orders."""
        return [each.ticket.client_key for each in self.orders]

    @property
    def answer(self) -> asyncio.Future[bytes]:
        """What tells what became of it."""
        return self.orders[0].answer

    def fail(self, error: ApiError) -> None:
        """Answers with an error."""
        self.orders[0].fail(error)

    def answer_with(self, orders: Sequence[bytes]) -> None:
        """Answers with the list; a refused one is answered by its refusal."""
        first = decode_order(orders[0])
        if first.state == OrderState.REJECTED.value:
            self.fail(refusal_error(first.order_id, first.refusal))
        elif not self.answer.done():
            self.answer.set_result(encode_list(first.order_id, self.kind.value, orders))


class Asked(NamedTuple):
    """A list and the orders it would be, with where each comes from."""

    create: CreateList
    orders: list[Order]
    origins: list[Provenance]


class OrderLists:
    """Takes batches of lists, one at a time; each of their orders is made and asked about as `placing` does one."""

    def __init__(self, desk: Desk, store: Store, placing: Placing, checks: Checks) -> None:
        self._desk = desk
        self._store = store
        self._placing = placing
        self._asking = checks

    async def place(self, batch: Iterable[CreateList]) -> list[CreateList]:
        """Decides on lists and answers them.

        Returns:
            Those that must be looked at again: another list with one of their ids comes first.
        """
        first, again, taken = list[CreateList](), list[CreateList](), set[str]()
        for each in batch:
            if not each.answer.done():
                (first if taken.isdisjoint(each.keys) else again).append(each)
                taken.update(each.keys)
        coming = [each for each in await self._unknown(first) if await self._may_come_in(each)]
        if coming:
            await self._decide(coming)
        return again

    async def _unknown(self, batch: Sequence[CreateList]) -> list[CreateList]:
        """Answers those whose clients' ids are known; gives the others."""
        known = await self._store.orders_by_key([key for each in batch for key in each.keys]) if batch else {}
        unknown = []
        for each in batch:
            stored = {key: known[key] for key in each.keys if key in known}
            if stored:
                _answer_known(each, stored)
            else:
                unknown.append(each)
        return unknown

    async def _may_come_in(self, create: CreateList) -> bool:
        """Whether all orders of a list can come in now; where one cannot, the list is answered."""
        for each in create.orders:
            if not await self._placing.may_come_in(each):
                return False
        return True

    async def _decide(self, batch: Sequence[CreateList]) -> None:
        desk, asked = self._desk, self._made(batch)
        try:
            with ExitStack() as spans:
                checks = [
                    check for each in asked for check in self._placing.checks(each.create.orders, *each[1:], spans)
                ]
                verdicts = await self._asking.verdicts(lambda: checks, min(each.deadline for each in batch))
        except RiskUnavailable:
            for create in batch:
                create.fail(risk_unavailable())
            return
        failpoint("order.after_reserve")
        events: list[OrderEvent] = []
        for create, orders, origins in asked:
            for each, order, origin in zip(create.orders, orders, origins, strict=True):
                desk.journal.introduce(order.order_id, origin, each.portfolio)
                desk.journal.checked(order.order_id, verdicts.get(order.order_id))
            events += self._take(orders, verdicts)
            desk.row.order_count += len(orders)
        placed = await desk.journal.commit(events, cause="command")
        for create, orders, _ in asked:
            create.answer_with([placed[order.order_id] for order in orders])

    def _made(self, batch: Sequence[CreateList]) -> list[Asked]:
        asked, number = [], self._desk.row.order_count
        for create in batch:
            orders = [self._placing.order(each, number + n) for n, each in enumerate(create.orders, start=1)]
            asked.append(Asked(create, listed(create.kind, orders), [*map(self._placing.origin, create.orders)]))
            number += len(orders)
        return asked

    def _take(self, orders: Sequence[Order], verdicts: Mapping[str, Verdict]) -> list[OrderEvent]:
        """All of a list, or none of it: what its refusal leaves reserved for the others, their events release."""
        venue, at, decided = self._desk.venue, orders[0].basis_sequence, orders[0].basis_time
        accepted = []
        for order in orders:
            verdict = verdicts.get(order.order_id)
            if verdict is None or verdict.reservation is None:
                refusal = refusal_of(verdict)._replace(order_id=order.order_id)
                return [event for each in orders for event in venue.refuse(each, refusal, at, decided)]
            accepted.append(order._replace(reservation=verdict.reservation))
        if clash := inverted(orders, venue.reference_price(orders[0].symbol, orders[0].side)):
            return [event for each in orders for event in venue.refuse(each, clash, at, decided)]
        return venue.accept_list(accepted, at, decided)


def _answer_known(create: CreateList, stored: Mapping[str, OrderRow]) -> None:
    asked = {each.ticket.client_key: each.ticket.asked for each in create.orders}
    other = next((row for key, row in stored.items() if row.asked != asked[key]), None)
    if other is None and len(stored) == len(asked):
        create.answer_with([decode_event(stored[key].payload).order.SerializeToString() for key in create.keys])
    else:
        create.fail(id_reused(other or next(iter(stored.values()))))
