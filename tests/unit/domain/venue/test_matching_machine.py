"""The paper venue as a state machine: whatever is sent in whatever order, its laws hold. The numbers are the rules."""

from collections import Counter, defaultdict
from decimal import Decimal
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.domain.filling import VenueSettings
from services.domain.market import Bar, Split
from services.domain.orders.events import position_change
from services.domain.orders.lifecycle import TRANSITIONS
from services.domain.orders.lists import paired, sized_by_parent
from services.domain.orders.order import (
    TERMINAL,
    CancelReason,
    ContingencyType,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
)
from services.domain.tape import Tape
from services.domain.venue.matching import CannotReplace, Replacement, Venue
from services.domain.venue.offers.cover import bought
from tests.unit.domain.venue.compare_venues import restored
from tests.unit.domain.venue.laws import in_parents_bar, plain_limit, rank
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, any_list, any_order, any_settings, any_tape

seeds = st.integers(0, 2**32).map(Random)


class VenueMachine(RuleBasedStateMachine):
    """Orders, cancels, replacements, grants and restarts, in any order."""

    @initialize(random=seeds)
    def open(self, random: Random) -> None:
        self.tape: Tape = any_tape(random, 20, 6)
        self.how: VenueSettings = any_settings(random)
        self.venue = Venue(INSTRUMENTS, self.how)
        self.venue.prime(self.tape, 0)
        self.position = self.sent = 0
        self.log: list[OrderEvent] = []
        self.told: dict[str, Order] = {}
        self.held: dict[str, Decimal] = defaultdict(Decimal)
        self.splits = 0

    @property
    def time(self) -> int:
        return int(self.tape.time[self.position - 1]) if self.position else 0

    @rule(random=seeds, count=st.integers(1, 3))
    def send(self, random: Random, count: int) -> None:
        for _ in range(count):
            self.sent += 1
            order = any_order(random, self.sent, 6)._replace(basis_sequence=self.position, basis_time=self.time)
            self.hear(self.venue.accept(order, self.position, self.time))

    @rule(random=seeds)
    def send_list(self, random: Random) -> None:
        orders = any_list(random, self.sent + 1, 6)
        self.sent += len(orders)
        sent = [each._replace(basis_sequence=self.position, basis_time=self.time) for each in orders]
        events = self.venue.accept_list(sent, self.position, self.time)
        assert [event.order.order_id for event in events] == [each.order_id for each in orders]
        refused = {event.exec_type is ExecType.REJECTED for event in events}
        assert len(refused) == 1, "all of them or none"
        self.hear(events)

    @rule(number=st.integers(1, 20))
    def cancel(self, number: int) -> None:
        was_open = self.venue.order(f"env-{number}") is not None
        events = self.venue.cancel(f"env-{number}", self.position, self.time)
        assert [event.order.cancel_reason for event in events[:1]] == [CancelReason.REQUESTED] * was_open
        with_it = {event.order.cancel_reason for event in events[1:]}
        assert with_it <= {CancelReason.TWIN_ENDED, CancelReason.PARENT_ENDED, CancelReason.CHILD_ENDED}
        self.hear(events)

    @rule(number=st.integers(1, 20), quantity=st.integers(1, 40), price=st.integers(188, 212), which=st.integers(0, 3))
    def replace(self, number: int, quantity: int, price: int, which: int) -> None:
        units, level = Decimal(quantity), Decimal(price) / 2
        terms = [
            Replacement(quantity=units),
            Replacement(limit_price=level),
            Replacement(stop_price=level),
            Replacement(quantity=units, trailing_amount=Decimal(3)),
        ][which]
        before = self.venue.order(f"env-{number}")
        try:
            events = self.venue.replace(f"env-{number}", terms, self.position, self.time)
        except CannotReplace:
            assert self.venue.order(f"env-{number}") == before
            return
        for event in events:
            assert before is not None
            sized_later = event.order.cash_quantity is not None or sized_by_parent(event.order)
            assert event.order.quantity > before.cum_quantity or sized_later
            falls = which == 0 and event.order.quantity <= before.quantity
            assert (event.order.priority == before.priority) >= falls
        self.hear(events)

    @precondition(lambda self: self.position < len(self.tape))
    @rule(records=st.integers(1, 30))
    def grant(self, records: int) -> None:
        before = {order.order_id: order for order in self.venue.open_orders()}
        after, through = self.position, min(len(self.tape), self.position + records)
        self.position, events = self.venue.advance(self.tape, after, through)
        assert after <= self.position <= through
        assert events or self.position == through
        self.check_record(before, events)
        self.hear(events)

    @rule()
    def restart(self) -> None:
        """Rule 2: what is stored is enough."""
        fresh = restored(self.tape, self.how)(self.venue, self.position)
        assert isinstance(fresh, Venue)
        assert fresh.open_orders() == self.venue.open_orders()
        self.venue = fresh

    @invariant()
    def the_log_alone_gives_the_same_orders(self) -> None:
        """Rule 1."""
        if not hasattr(self, "log"):
            return
        last = {event.order.order_id: event.order for event in self.log}
        working = sorted((o for o in last.values() if o.state not in TERMINAL), key=lambda order: order.priority)
        # A portfolio's headroom is that of its last event; an order knows the one of its own.
        assert working == self.venue.open_orders()

    @invariant()
    def of_twins_both_are_open_for_the_same_units_or_neither_is(self) -> None:
        """Rule 13: so what both fill together is never more than what one was to fill."""
        if not hasattr(self, "log"):
            return
        twins: dict[tuple[str, str], list[Order]] = defaultdict(list)
        for order in self.venue.open_orders():
            if paired(order):
                twins[order.order_list_id, order.parent_order_id].append(order)
        for first, second in twins.values():
            assert first.leaves_quantity == second.leaves_quantity
            if first.state is OrderState.HELD is second.state:
                continue
            # Units that are still to be entered may not leave yet.
            entry = self.told.get(first.parent_order_id)
            if entry is not None and not self.split_after(entry):
                costs, kept = first.costs, Decimal(0)
                if costs is not None and costs.in_units and first.side is Side.BUY:
                    step = INSTRUMENTS[first.symbol].quantity_increment
                    kept = costs.keep(first.commission_quantity, first.quantity, step)
                assert first.leaves_quantity - kept <= bought(entry)

    @invariant()
    def no_entry_works_without_its_exits(self) -> None:
        """Rule 13: whatever ended them."""
        if not hasattr(self, "log"):
            return
        open_orders = self.venue.open_orders()
        exits = Counter(order.parent_order_id for order in open_orders)
        brackets = [order for order in open_orders if order.contingency_type is ContingencyType.BRACKET]
        assert all(exits[order.order_id] == 2 for order in brackets if not order.parent_order_id)

    def split_after(self, ended: Order) -> bool:
        """Whether a split came after an order's last event: what others count since is in new units."""
        last = max(event.tape_sequence for event in self.log if event.order.order_id == ended.order_id)
        records = (self.tape.record(sequence) for sequence in range(last + 1, self.position + 1))
        return any(isinstance(each, Split) and each.symbol == ended.symbol for each in records)

    @invariant()
    def positions_are_what_the_fills_made(self) -> None:
        """Rule 20: and splits, in whole steps."""
        if not hasattr(self, "log"):
            return
        held: dict[str, Decimal] = defaultdict(Decimal)
        fills = iter([event for event in self.log if event.exec_type is ExecType.TRADE])
        fill = next(fills, None)
        for sequence in range(1, self.position + 1):
            record = self.tape.record(sequence)
            if type(record).__name__ == "Split":
                step = INSTRUMENTS[record.symbol].quantity_increment  # type: ignore[union-attr]
                ratio = Decimal(record.numerator) / Decimal(record.denominator)  # type: ignore[union-attr]
                held[record.symbol] = int(held[record.symbol] * ratio / step) * step  # type: ignore[union-attr]
            while fill is not None and fill.tape_sequence == sequence:
                held[fill.order.symbol] += position_change(fill)
                fill = next(fills, None)
        assert {("P", symbol): units for symbol, units in held.items() if units} == self.venue.positions

    def hear(self, events: list[OrderEvent]) -> None:
        """Rules 6 and 7: each event fits the one before it, and no order gets more than it asked for."""
        for event in events:
            order, before = event.order, self.told.get(event.order.order_id)
            state = OrderState.PENDING_NEW if before is None else before.state
            assert order.state in TRANSITIONS[state, event.exec_type]
            assert order.event_count == (0 if before is None else before.event_count) + 1
            assert order.cum_quantity <= order.quantity
            if order.state not in TERMINAL:
                assert order.leaves_quantity == order.quantity - order.cum_quantity
            if event.exec_type is ExecType.TRADE and before is not None:
                assert order.cum_quantity == before.cum_quantity + event.last_quantity
                self.check_fill(event, before)
            self.told[order.order_id] = order
            self.log.append(event)

    def check_fill(self, event: OrderEvent, before: Order) -> None:
        """Rules 8 and 12: on a record that began when the order was live, at its limit or better."""
        order, record = event.order, self.tape.record(event.tape_sequence)
        start = record.start if isinstance(record, Bar) else record.time
        if not in_parents_bar(event):
            assert event.tape_sequence > order.basis_sequence
            assert start >= order.basis_time + order.latency
        assert order.order_type in {OrderType.MARKET, OrderType.LIMIT} or before.state is not OrderState.NEW
        if order.limit_price is not None:
            sign = 1 if order.side is Side.BUY else -1
            assert sign * event.last_price <= sign * order.limit_price

    def check_record(self, before: dict[str, Order], events: list[OrderEvent]) -> None:
        """Rules 11 and 13: who has priority is served first, and who may only reduce never opens."""
        held = {symbol: self.venue.held("P", symbol) for symbol in INSTRUMENTS}
        for event in reversed(events):
            if event.exec_type is ExecType.TRADE:
                signed = event.last_quantity if event.order.side is Side.BUY else -event.last_quantity
                after = held[event.order.symbol]
                held[event.order.symbol] = earlier = after - signed
                if event.order.reduce_only:
                    assert abs(after) < abs(earlier)
                    assert after * earlier >= 0
        got = {event.order.order_id: event.order for event in events if event.exec_type is ExecType.TRADE}
        for theirs in got.values():
            for mine in before.values():
                alike = live(mine) == live(theirs)
                works = mine.state is not OrderState.HELD and plain_limit(mine) and plain_limit(theirs)
                if alike and works and rank(mine) < rank(theirs):
                    assert got[mine.order_id].leaves_quantity == 0


def live(order: Order) -> tuple[str, Side, int, VenueSettings | None]:
    """Where an order works, since when, and how it fills: one that may get less of a record leaves more to others."""
    return order.symbol, order.side, order.basis_time + order.latency, order.fill_settings


VenueMachine.TestCase.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)
TestVenue = VenueMachine.TestCase
