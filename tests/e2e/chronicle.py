"""An environment's order events, each read once: what must hold of every order's life, and what the fills come to."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from decimal import Decimal

from tickmesh.order.v1 import order_pb2

from services.console.trial.trial import Market
from services.domain.accounting.books import Books
from services.domain.accounting.ledger import Ledger
from services.domain.orders.lifecycle import check_transition
from services.domain.orders.lists import paired
from services.domain.orders.order import (
    TERMINAL,
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
)
from services.domain.timeline import Timeline
from services.wire.orders import event_from_proto

IDENTITY = ("client_order_id", "portfolio_id", "symbol", "side", "order_type", "time_in_force")
IDENTITY += ("strategy_id", "deployment_id", "label", "post_only", "reduce_only")
IDENTITY += ("order_list_id", "contingency_type", "parent_order_id")
TERMS = (
    "quantity",
    "cash_quantity",
    "limit_price",
    "stop_price",
    "trailing_amount",
    "trailing_percent",
    "display_quantity",
)
TERMS += ("expire_time", "basis_sequence")
# They alone put an order on other terms; a trailing stop gets its price when it is triggered.
RESTATING = {ExecType.REPLACED, ExecType.RESTATED}


class Chronicle:
    """Reads events in order.

    Attributes:
        lives: each order after each of its events, by order id.
        books: the ledgers that the fills make.
    """

    def __init__(self, market: Market, cash: dict[str, Decimal]) -> None:
        self.lives: dict[str, list[order_pb2.Order]] = defaultdict(list)
        self.replaced: dict[str, int] = defaultdict(int)
        self.books = Books(Timeline(market.tape), market.instruments, market.start_sequence)
        for portfolio_id, amount in cash.items():
            self.books.ledgers[portfolio_id] = ledger = Ledger(portfolio_id)
            ledger.deposit(amount, 0, market.start_sequence, "deposit")
        self._instruments = market.instruments
        self._last: dict[str, Order] = {}
        self._lists: dict[str, set[str]] = defaultdict(set)
        self._sequence = 0

    def read(self, events: Iterable[order_pb2.OrderEvent]) -> None:
        """Takes in those that were not read before.

        Raises:
            AssertionError: one is missing, or is not what may follow.
        """
        for message in events:
            if message.sequence <= self._sequence:
                continue
            assert message.sequence == self._sequence + 1, f"{message.sequence} came after {self._sequence}"
            self._sequence = message.sequence
            event, life = event_from_proto(message), self.lives[message.order.order_id]
            try:
                self._check(event, self._last.get(event.order.order_id))
            except (AssertionError, ValueError) as error:
                raise AssertionError(f"after {life[-1:]} came {message}") from error
            self._last[event.order.order_id] = event.order
            self._lists[event.order.order_list_id].add(event.order.order_id)
            life.append(message.order)
            self.replaced[event.order.order_id] += event.exec_type is ExecType.REPLACED
            assert event.tape_sequence >= self.books.position, "time ran backwards"
            self.books.fold(event.tape_sequence, [event])

    def come_to(self, tape_sequence: int) -> None:
        """Takes in what the tape itself does to positions up to there."""
        self.books.fold(tape_sequence)

    def check_heard(self, order: order_pb2.Order) -> None:
        """An answer tells of an order as it was after one of its events."""
        assert self.lives[order.order_id][order.event_count - 1] == order, f"nobody else was told of {order}"

    def _check(self, event: OrderEvent, before: Order | None) -> None:
        """Rules 6 and 7: an event fits the one before it; no order gets more than it asked for, or at a worse price."""
        after, exec_type = event.order, event.exec_type
        check_transition(OrderState.PENDING_NEW if before is None else before.state, exec_type, after.state)
        assert after.event_count == (1 if before is None else before.event_count + 1)
        assert event.exec_id == f"{after.order_id}-{after.event_count}"
        assert after.cum_quantity <= after.quantity
        working = after.state not in TERMINAL
        assert after.leaves_quantity == (after.quantity - after.cum_quantity if working else 0)
        assert (after.state is OrderState.CANCELED) <= (after.cancel_reason is not CancelReason.NONE)
        if after.state is OrderState.FILLED:
            assert after.cum_quantity == after.quantity
        if before is None:
            return
        assert [getattr(after, name) for name in IDENTITY] == [getattr(before, name) for name in IDENTITY]
        if exec_type is ExecType.TRADE:
            self._check_fill(event, before)
        elif exec_type is not ExecType.RESTATED:
            assert (after.cum_quantity, after.gross_amount) == (before.cum_quantity, before.gross_amount)
        if exec_type is ExecType.REPLACED:
            assert after.quantity > after.cum_quantity or after.cash_quantity is not None
        elif exec_type is not ExecType.RESTATED:
            changed = {name for name in TERMS if getattr(after, name) != getattr(before, name)}
            sized = {"quantity"} if after.cash_quantity is not None else set()
            trailed = {"stop_price"} if after.order_type is OrderType.TRAILING_STOP else set()
            # A child comes to life for what its parent has filled, with the record after.
            released = {"quantity", "basis_sequence"} if exec_type is ExecType.NEW and after.parent_order_id else set()
            assert changed <= sized | trailed | released

    def _check_fill(self, event: OrderEvent, before: Order) -> None:
        order = event.order
        assert event.last_quantity > 0
        assert order.cum_quantity == before.cum_quantity + event.last_quantity
        multiplier = self._instruments[order.symbol].contract_multiplier
        assert order.gross_amount == before.gross_amount + event.last_quantity * event.last_price * multiplier
        # In its parent's own bar a child may be stopped (rule 13).
        live = event.tape_sequence + bool(order.parent_order_id) > order.basis_sequence
        assert live, "a fill from before the order was live"
        self._check_twin(order)
        if order.limit_price is not None:
            sign = 1 if order.side is Side.BUY else -1
            assert sign * event.last_price <= sign * order.limit_price

    def _check_twin(self, order: Order) -> None:
        """Rule 13: of two orders of which only one can fill, what one has filled the other no longer asks for."""
        if not paired(order):
            return
        others = [self._last[each] for each in self._lists[order.order_list_id] - {order.order_id}]
        for twin in others:
            if paired(twin) and twin.state not in TERMINAL:
                assert order.state is not OrderState.FILLED, f"{twin.order_id} could fill too"
                assert twin.leaves_quantity <= order.leaves_quantity, f"{twin.order_id} asks for what was filled"
