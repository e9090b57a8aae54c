"""How orders end because somebody says so: by a cancel, by a kill switch (rule 5), or by leaving. None asks risk."""

from __future__ import annotations

import asyncio
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.orders.claim import only_closes
from services.domain.orders.order import CancelReason, Order, OrderState
from services.order.commands.answered import Answered
from services.order.commands.placing import Desk
from services.order.gate.mapping import Kill
from services.order.journal.journal import number_of
from services.order.mapping import decode_event
from services.order.store import Store

# Orders that one call cancels: 1,000 events are encoded in 30 ms, for which others wait.
MOST_AT_ONCE: Final = 1000


@dataclass(slots=True, eq=False)
class Cancel(Answered[bytes]):
    """Somebody asks for an order's end."""

    order_id: str
    principal: str
    answer: asyncio.Future[bytes]


@dataclass(slots=True, eq=False)
class Sweep(Answered["Swept"]):
    """Somebody asks for the end of all open orders that fit; empty fields fit all."""

    portfolio_id: str
    symbol: str
    side: int
    strategy_id: str
    deployment_id: str
    principal: str
    answer: asyncio.Future[Swept]

    def covers(self, order: Order) -> bool:
        """Whether it is one of them."""
        return (
            order.portfolio_id == self.portfolio_id
            and self.symbol in {"", order.symbol}
            and self.side in {0, order.side}
            and self.strategy_id in {"", order.strategy_id}
            and self.deployment_id in {"", order.deployment_id}
        )


class Swept(NamedTuple):
    """The ids of the orders that were canceled, and whether there are more."""

    order_ids: list[str]
    more: bool


class Canceling:
    """Ends open orders of one desk."""

    def __init__(self, desk: Desk, store: Store) -> None:
        self._desk = desk
        self._store = store

    async def cancel(self, cancels: Sequence[Cancel]) -> None:
        """Cancels what is open at the venue; of what is not, says how it ended."""
        desk, row = self._desk, self._desk.row
        ended, writing = [], []
        for cancel in cancels:
            events = desk.venue.cancel(cancel.order_id, row.tape_sequence, row.market_time)
            if events:
                writing.append((cancel, desk.journal.write(events, cause="command", principal=cancel.principal)))
            else:
                ended.append(cancel)
        for cancel, written in writing:
            await written.done
            failpoint("order.after_commit")
            cancel.answer_with(written.orders[cancel.order_id])
        for cancel in ended:
            try:
                payload = await self._store.order(row.environment_id, number_of(cancel.order_id))
            except ApiError as error:
                cancel.fail(error)
            else:
                _answer_ended(cancel, payload)

    async def sweep(self, sweep: Sweep) -> None:
        """Cancels the oldest of the orders that fit, as many as one call may, all in one commit."""
        desk, row = self._desk, self._desk.row
        found = sorted(number_of(each.order_id) for each in desk.venue.open_orders() if sweep.covers(each))
        order_ids = [f"{row.environment_id}-{number}" for number in found[:MOST_AT_ONCE]]
        events = desk.venue.cancel_all(order_ids, row.tape_sequence, row.market_time)
        if events:
            await desk.journal.commit(events, cause="command", principal=sweep.principal)
        sweep.answer_with(Swept([event.order.order_id for event in events], len(found) > MOST_AT_ONCE))

    async def kill(self, kill: Kill) -> None:
        """Cancels the open orders in a kill switch's scope; those that the venue lets only close stay if it says so."""
        desk, row = self._desk, self._desk.row
        going = filter(kill.scope.covers, desk.venue.open_orders())
        order_ids = [order.order_id for order in going if not (kill.allow_reducing and only_closes(order))]
        events = desk.venue.cancel_all(order_ids, row.tape_sequence, row.market_time, CancelReason.KILL_SWITCH)
        if events:
            await desk.journal.commit(events, cause="kill_switch", principal=kill.principal)

    async def disconnect(self, session_ids: Container[str]) -> None:
        """Cancels the open orders of sessions that are over and had asked for it."""
        desk, row = self._desk, self._desk.row
        orders = (order.order_id for order in desk.venue.open_orders())
        leaving = [order_id for order_id in orders if desk.journal.session_of(order_id) in session_ids]
        events = desk.venue.cancel_all(leaving, row.tape_sequence, row.market_time, CancelReason.DISCONNECTED)
        if events:
            await desk.journal.commit(events, cause="disconnect")


def ended_order(order_id: str, payload: bytes | None) -> ApiError:
    """What is told of an order that is not open: `payload` is its last event, if there is such an order."""
    if payload is None:
        return ApiError.not_found("order", order_id, "ORDER_NOT_FOUND")
    state = OrderState(decode_event(payload).order.state).name
    message = f"The order has ended already: it is {state}."
    metadata = {"order_id": order_id, "state": state}
    return ApiError.failed_precondition("ORDER_ENDED", message, subject=order_id, metadata=metadata)


def _answer_ended(cancel: Cancel, payload: bytes | None) -> None:
    order = None if payload is None else decode_event(payload).order
    if order is not None and order.state == OrderState.CANCELED.value:
        cancel.answer_with(order.SerializeToString())
    else:
        cancel.fail(ended_order(cancel.order_id, payload))
