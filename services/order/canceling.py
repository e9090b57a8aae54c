"""How orders end because somebody says so: by a cancel, or by a kill switch (rule 5). Neither asks risk."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.money import ZERO
from services.domain.order import CancelReason, Order, OrderEvent, OrderState, Side
from services.order.clients import Peers
from services.order.gate_mapping import Kill
from services.order.journal import number_of
from services.order.mapping import decode_event
from services.order.placing import Desk
from services.order.store import Store


@dataclass(slots=True, eq=False)
class Cancel:
    """Somebody asks for an order's end."""

    order_id: str
    principal: str
    answer: asyncio.Future[bytes]


class Canceling:
    """Ends open orders of one desk."""

    def __init__(self, desk: Desk, store: Store, peers: Peers) -> None:
        self._desk = desk
        self._store = store
        self._peers = peers

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
            if not cancel.answer.done():
                cancel.answer.set_result(written.orders[cancel.order_id])
        for cancel in ended:
            payload = await self._store.order(row.environment_id, number_of(cancel.order_id))
            if not cancel.answer.done():
                _answer_ended(cancel, payload)

    async def kill(self, kill: Kill) -> None:
        """Cancels the open orders in a kill switch's scope; those that only reduce a position stay if it says so."""
        desk, row, events = self._desk, self._desk.row, list[OrderEvent]()
        held: dict[str, dict[str, Decimal]] = {}
        for order in desk.venue.open_orders():
            if kill.scope.covers(order) and not (kill.allow_reducing and await self._reduces(order, held)):
                reason = CancelReason.KILL_SWITCH
                events += desk.venue.cancel(order.order_id, row.tape_sequence, row.market_time, reason)
        if events:
            await desk.journal.commit(events, cause="kill_switch", principal=kill.principal)

    async def _reduces(self, order: Order, held: dict[str, dict[str, Decimal]]) -> bool:
        """Whether all of an order closes what is held. Where nobody can say what is held, it does not."""
        if order.side is Side.SELL:
            # Only a sale that opens a short has cash set aside for it.
            return not order.reservation.cash
        if order.portfolio_id not in held:
            try:
                held[order.portfolio_id] = await self._peers.held(order.portfolio_id)
            except ApiError:
                held[order.portfolio_id] = {}
        return -held[order.portfolio_id].get(order.symbol, ZERO) >= order.reservation.quantity


def _answer_ended(cancel: Cancel, payload: bytes | None) -> None:
    if payload is None:
        cancel.answer.set_exception(ApiError.not_found("order", cancel.order_id, "ORDER_NOT_FOUND"))
        return
    order = decode_event(payload).order
    state = OrderState(order.state)
    if state is OrderState.CANCELED:
        cancel.answer.set_result(order.SerializeToString())
        return
    message = f"The order has ended already: it is {state.name}."
    metadata = {"order_id": cancel.order_id, "state": state.name}
    cancel.answer.set_exception(
        ApiError.failed_precondition("ORDER_ENDED", message, subject=cancel.order_id, metadata=metadata)
    )
