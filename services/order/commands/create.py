"""What asks for an order, and how it is told apart from what asks for the same one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.orders.order import OrderState
from services.order.mapping import decode_event, decode_order, refusal_error
from services.order.records import OrderRow, PortfolioRow
from services.order.ticket import Ticket


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


def leaders(batch: Iterable[Create], writing: Mapping[str, Create]) -> tuple[list[Create], list[Create]]:
    """The first of each client's id, with those that repeat it; and those which reuse an id with other values.

    Args:
        writing: those that are being made durable, by client's id; what repeats them is no first one.
    """
    first = dict(writing)
    others = []
    for create in batch:
        leader = first.setdefault(create.ticket.client_key, create)
        if leader is create:
            continue
        if leader.ticket.asked == create.ticket.asked:
            leader.repeats.append(create)
        else:
            others.append(create)
    return [each for key, each in first.items() if key not in writing], others


def answer_known(create: Create, stored: OrderRow) -> None:
    """Answers what asks for an order that exists under its client's id."""
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
