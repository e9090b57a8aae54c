"""What a client was told of its orders, to be held against what there is."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from tickmesh.order.v1 import order_list_pb2, order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from tests.e2e.chronicle import Chronicle

# What a replacement may be refused for that goes with its order's type: the order's state, and risk.
STATE = {"ORDER_ENDED", "QUANTITY_BELOW_FILLED", "ORDER_TRIGGERED", "LIST_QUANTITY_FIXED", "BRACKET_INVERTED"}
REFUSALS = STATE | {"INSUFFICIENT_BUYING_POWER", "SHORT_NOT_ALLOWED", "KILL_SWITCH_ENGAGED"}


@dataclass
class Change:
    """New terms that a client asked for.

    Attributes:
        order: as it was answered last; None while it was not, or was refused.
        refusal: the error that it was refused with.
    """

    request: order_service_pb2.ReplaceOrderRequest
    order: order_pb2.Order | None = None
    refusal: ApiError | None = None

    @property
    def known(self) -> bool:
        """Whether there was any answer."""
        return self.order is not None or self.refusal is not None

    def hear_refusal(self, error: ApiError) -> None:
        """Takes a refusal: none of what was done once."""
        assert self.order is None, f"terms that were taken were refused when they were asked for again: {error}"
        assert error.reason in REFUSALS, f"new terms were answered by {error}"
        self.refusal = error

    def check(self, life: list[order_pb2.Order]) -> None:
        """The order was on these terms when it was said so; refused, that it had been filled so far, or ended."""
        if self.order is not None:
            assert any(self._fulfilled(each) for each in life[: self.order.event_count]), self.request
        elif self.refusal is not None and self.refusal.reason == "ORDER_ENDED":
            assert order_pb2.OrderState.Name(life[-1].state).endswith(self.refusal.metadata["state"])
        elif self.refusal is not None and self.refusal.reason == "QUANTITY_BELOW_FILLED":
            wanted, filled = "quantity", "cum_quantity"
            if self.request.cash_quantity:
                wanted, filled = "cash_quantity", "gross_amount"
            cum = Decimal(self.refusal.metadata[filled])
            assert Decimal(getattr(self.request, wanted)) <= cum
            assert cum in {Decimal(getattr(each, filled)) for each in life}

    def _fulfilled(self, order: order_pb2.Order) -> bool:
        terms = ("quantity", "cash_quantity", "limit_price", "stop_price")
        names = [name for name in terms if getattr(self.request, name)]
        return all(Decimal(getattr(order, name)) == Decimal(getattr(self.request, name)) for name in names)


@dataclass
class Told:
    """What a client knows of one of its orders.

    Attributes:
        order: the latest that was answered; None while nothing was.
        heard: all that was answered.
        refusal: the error that a refused one was answered with.
        listed: what it was asked for with, where it is one of a list.
        changes: what was asked to change, by request id.
        ending: whether a cancel was sent.
        canceled: whether one was acknowledged.
        ended: how the order had ended, where a cancel was answered with that.
    """

    request: order_service_pb2.CreateOrderRequest
    order: order_pb2.Order | None = None
    heard: list[order_pb2.Order] = field(default_factory=list)
    refusal: ApiError | None = None
    listed: ToldList | None = None
    changes: dict[str, Change] = field(default_factory=dict)
    ending: bool = False
    canceled: bool = False
    ended: str = ""

    @property
    def known(self) -> bool:
        """Whether there was any answer."""
        return self.order is not None or self.refusal is not None

    @property
    def order_id(self) -> str:
        """The order's id; empty while unknown."""
        if self.order is not None:
            return self.order.order_id
        return self.refusal.metadata.get("order_id", "") if self.refusal is not None else ""

    def hear(self, order: order_pb2.Order) -> None:
        """Takes an answer, which must be of this order. Answers may overtake each other."""
        assert order.client_order_id == self.request.client_order_id
        assert self.refusal is None, "a refused order was accepted when it was asked for again"
        assert self.order_id in {"", order.order_id}, f"{self.order_id} became {order.order_id}"
        self.heard.append(order)
        if self.order is None or order.event_count > self.order.event_count:
            self.order = order

    def hear_refusal(self, error: ApiError) -> None:
        """Takes a refusal, which must be the one that was said before."""
        assert self.order is None, f"an accepted order was refused when it was asked for again: {error}"
        assert error.metadata.get("order_id"), f"a refusal is an order too: {error} {error.metadata}"
        if self.refusal is not None:
            assert (error.reason, error.metadata) == (self.refusal.reason, self.refusal.metadata)
        self.refusal = error

    def check(self, order: order_pb2.Order, chronicle: Chronicle) -> None:
        """Every word that was said holds of the order as it now is, and of its events."""
        assert self.known
        assert order.order_id == self.order_id
        life = chronicle.lives[order.order_id]
        for each in self.heard:
            chronicle.check_heard(each)
        for change in self.changes.values():
            change.check(life)
        assert chronicle.replaced[order.order_id] <= len(self.changes), f"{order.order_id} was replaced twice by one"
        if self.refusal is not None:
            assert order.state == order_pb2.ORDER_STATE_REJECTED
            assert order.refusal.reason == self.refusal.reason
            bounds = self.refusal.metadata
            assert (order.refusal.limit, order.refusal.bound) == (bounds.get("limit", ""), bounds.get("bound", ""))
        if self.canceled:
            assert order.state == order_pb2.ORDER_STATE_CANCELED
        assert order_pb2.OrderState.Name(order.state).endswith(self.ended)
        # A session's end is a reason only for what carries the session's id.
        disconnected = order.cancel_reason == order_pb2.CANCEL_REASON_DISCONNECTED
        assert disconnected <= bool(order.session_id)


@dataclass
class ToldList:
    """What a client knows of orders that it asked for together."""

    request: order_list_pb2.CreateOrderListRequest
    orders: list[Told] = field(default_factory=list)

    def hear(self, found: order_list_pb2.OrderList) -> None:
        """Takes an answer: each of its orders, in the order in which they were asked for."""
        assert found.order_list_id == found.orders[0].order_id
        for told, order in zip(self.orders, found.orders, strict=True):
            assert order.order_list_id == found.order_list_id
            told.hear(order)

    def hear_refusal(self, error: ApiError) -> None:
        """Takes a refusal, which names the first: all of them are refused for the same, and are numbered in a row."""
        environment_id, _, number = error.metadata["order_id"].rpartition("-")
        for place, told in enumerate(self.orders):
            own = {**error.metadata, "order_id": f"{environment_id}-{int(number) + place}"}
            told.hear_refusal(ApiError(error.code, error.reason, error.message, metadata=own))
