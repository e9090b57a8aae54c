"""How orders end because somebody says so: by a cancel, by a kill switch (rule 5), or by leaving. None asks risk."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Container, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Final, NamedTuple

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.money import ZERO
from services.domain.orders.order import CancelReason, Order, OrderState, Side
from services.order.clients import Peers
from services.order.commands.answered import Answered
from services.order.commands.placing import Desk
from services.order.gate.mapping import Kill
from services.order.journal.journal import number_of
from services.order.mapping import decode_event
from services.order.store import Store

# An engaged kill switch has a second for everything (rule 5).
HELD_SECONDS: Final = 0.5
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


class Judged(NamedTuple):
    """What a portfolio holds, by symbol: it decides which of these buys a kill switch leaves."""

    kill: Kill
    order_ids: Sequence[str]
    held: Mapping[str, Decimal]


class Canceling:
    """Ends open orders of one desk. `wake` is called when there is something to `judge`."""

    def __init__(self, desk: Desk, store: Store, peers: Peers, wake: Callable[[], None]) -> None:
        self._desk = desk
        self._store = store
        self._peers = peers
        self._wake = wake
        self._asking: set[asyncio.Task[None]] = set()
        self.judged: list[Judged] = []

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
        """Cancels the open orders in a kill switch's scope; those that only reduce a position stay if it says so.

        A buy may close a short, and only the books know what is held. They are asked aside, so that whoever needs no
        question ends at once and the desk goes on; `judge` follows with what they said.
        """
        doubtful: dict[str, list[str]] = {}
        ending = []
        for order in self._desk.venue.open_orders():
            if not kill.scope.covers(order):
                continue
            if not kill.allow_reducing or (order.side is Side.SELL and order.reservation.cash):
                # Only a sale that opens a short has cash set aside for it.
                ending.append(order.order_id)
            elif order.side is Side.BUY:
                doubtful.setdefault(order.portfolio_id, []).append(order.order_id)
        if doubtful:
            asking = detach(self._ask(kill, doubtful), name="what is held")
            self._asking.add(asking)
            asking.add_done_callback(self._asking.discard)
        await self._end(kill, ending)

    async def disconnect(self, session_ids: Container[str]) -> None:
        """Cancels the open orders of sessions that are over and had asked for it."""
        desk, row = self._desk, self._desk.row
        orders = (order.order_id for order in desk.venue.open_orders())
        leaving = [order_id for order_id in orders if desk.journal.session_of(order_id) in session_ids]
        events = desk.venue.cancel_all(leaving, row.tape_sequence, row.market_time, CancelReason.DISCONNECTED)
        if events:
            await desk.journal.commit(events, cause="disconnect")

    async def judge(self) -> None:
        """Cancels the buys that do not close a short, as far as the books have told."""
        judged, self.judged = self.judged, []
        for each in judged:
            orders = [self._desk.venue.order(order_id) for order_id in each.order_ids]
            ending = [order.order_id for order in orders if order is not None and not _closes(order, each.held)]
            await self._end(each.kill, ending)

    async def _ask(self, kill: Kill, doubtful: Mapping[str, Sequence[str]]) -> None:
        """Asks what all these portfolios hold, side by side and for one time; whoever is silent is taken to be flat."""
        held = await asyncio.gather(*map(self._held, doubtful))
        self.judged += [Judged(kill, *each) for each in zip(doubtful.values(), held, strict=True)]
        self._wake()

    async def _held(self, portfolio_id: str) -> dict[str, Decimal]:
        try:
            async with asyncio.timeout(HELD_SECONDS):
                return await self._peers.held(portfolio_id)
        except (ApiError, TimeoutError):
            return {}

    async def _end(self, kill: Kill, order_ids: Sequence[str]) -> None:
        desk, row = self._desk, self._desk.row
        events = desk.venue.cancel_all(order_ids, row.tape_sequence, row.market_time, CancelReason.KILL_SWITCH)
        if events:
            await desk.journal.commit(events, cause="kill_switch", principal=kill.principal)


def _closes(order: Order, held: Mapping[str, Decimal]) -> bool:
    """Whether all of a buy closes a short: who knows of one that the fill sizes?"""
    return order.cash_quantity is None and -held.get(order.symbol, ZERO) >= order.reservation.quantity


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
