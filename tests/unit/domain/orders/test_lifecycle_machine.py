"""The lifecycle as a state machine: whatever is said to happen to an order, only what the table holds does (rule 6)."""

from decimal import Decimal

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.events import When
from services.domain.orders.lifecycle import TRANSITIONS, IllegalTransition
from services.domain.orders.order import (
    TERMINAL,
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.venue.waiting.blotter import Blotter

_NOW, _PRICE = When(1, 10), Decimal(10)
_TAKEN = Order(
    *("env-1", "c", "P", "X", Side.BUY, OrderType.LIMIT, TimeInForce.GTC, Decimal(5)),
    limit_price=Decimal(9),
    state=OrderState.PENDING_NEW,
    reservation=Reservation(Decimal(45), Decimal(5), Decimal(10_000)),
)
_ARRIVALS = [(ExecType.NEW, OrderState.NEW), (ExecType.HELD, OrderState.HELD)]
_OPEN = [each for each in OrderState if each not in TERMINAL]


class LifecycleMachine(RuleBasedStateMachine):
    """One order of a venue's and a model of it, and any event at any time, legal or not."""

    @initialize()
    def open(self) -> None:
        self.blotter = Blotter({"X": Instrument("X")}, VenueSettings())
        self.state, self.cum, self.events = OrderState.PENDING_NEW, ZERO, list[OrderEvent]()

    @precondition(lambda self: self.state is OrderState.PENDING_NEW)
    @rule(arrival=st.sampled_from(_ARRIVALS))
    def arrive(self, arrival: tuple[ExecType, OrderState]) -> None:
        self.happened(self.blotter.accept(_TAKEN, *arrival, _NOW))

    @precondition(lambda self: self.state is OrderState.PENDING_NEW)
    @rule(exec_type=st.sampled_from(ExecType), state=st.sampled_from(_OPEN))
    def arrive_otherwise(self, exec_type: ExecType, state: OrderState) -> None:
        if (exec_type, state) not in _ARRIVALS:
            self.attempt(False, lambda: self.blotter.accept(_TAKEN, exec_type, state, _NOW))

    @precondition(lambda self: self.state is not OrderState.PENDING_NEW)
    @rule(exec_type=st.sampled_from(ExecType), state=st.sampled_from(OrderState))
    def change(self, exec_type: ExecType, state: OrderState) -> None:
        legal = state in TRANSITIONS.get((self.state, exec_type), ()) and exec_type is not ExecType.TRADE
        order = self.blotter.order("env-1")
        if order is None:
            assert not legal, "what is finished stays finished"
        elif exec_type is not ExecType.TRADE:
            leaves = ZERO if state in TERMINAL else order.leaves_quantity
            after = order._replace(state=state, leaves_quantity=leaves)
            self.attempt(legal, lambda: self.blotter.change(order.priority, exec_type, after, _NOW))

    @rule(exec_type=st.sampled_from([ExecType.CANCELED, ExecType.EXPIRED]))
    def end(self, exec_type: ExecType) -> None:
        if (order := self.blotter.order("env-1")) is not None:
            self.attempt(True, lambda: self.blotter.end(order.priority, exec_type, CancelReason.REQUESTED, _NOW))

    @rule(units=st.integers(1, 5))
    def fill(self, units: int) -> None:
        if (order := self.blotter.order("env-1")) is None:
            return
        quantity = min(Decimal(units), order.leaves_quantity)
        left = order.leaves_quantity - quantity
        state = OrderState.PARTIALLY_FILLED if left else OrderState.FILLED
        figures = {"cum_quantity": order.cum_quantity + quantity, "leaves_quantity": left}
        after = order._replace(state=state, gross_amount=order.gross_amount + quantity * _PRICE, **figures)
        works = self.state in {OrderState.NEW, OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED}
        if self.attempt(works, lambda: self.blotter.trade(order.priority, after, _PRICE, _NOW)):
            self.cum += quantity

    def attempt(self, legal: bool, event: object) -> bool:
        """Has it happen, or be refused without a trace."""
        assert callable(event)
        before = self.seen()
        if legal:
            self.happened(event())
        else:
            with pytest.raises(IllegalTransition):
                event()
            assert self.seen() == before, "refused, and yet something changed"
        return legal

    def seen(self) -> object:
        blotter = self.blotter
        return dict(blotter.orders), dict(blotter.headroom), blotter.positions.units(("P", "X"), 1)

    def happened(self, event: OrderEvent) -> None:
        assert event.order.state in TRANSITIONS[self.state, event.exec_type]
        self.state = event.order.state
        self.events.append(event)

    @invariant()
    def it_is_what_its_events_say(self) -> None:
        if not hasattr(self, "blotter"):
            return
        order = self.blotter.order("env-1")
        assert (order is not None) == (self.state not in TERMINAL | {OrderState.PENDING_NEW})
        assert [event.order.event_count for event in self.events] == list(range(1, len(self.events) + 1))
        assert self.blotter.positions.units(("P", "X"), 1) == self.cum
        if self.events:
            last = self.events[-1].order
            assert order is None or order == last
            assert last.cum_quantity == self.cum <= last.quantity
            # Rule 7; what has ended leaves nothing.
            assert last.leaves_quantity == (ZERO if self.state in TERMINAL else last.quantity - self.cum)


TestLifecycle = LifecycleMachine.TestCase
