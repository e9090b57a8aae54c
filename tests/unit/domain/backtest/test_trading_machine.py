"""The venue, the gate and the books of one portfolio as a state machine: what one says of it, the others say too.

The numbers are the behaviour's rules.
"""

from collections import defaultdict
from decimal import Decimal
from random import Random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.domain.accounting.books import Books
from services.domain.accounting.ledger import Entry, EntryKind, Ledger
from services.domain.backtest.simulation import FILL_KINDS
from services.domain.backtest.trading import NO_PRICE
from services.domain.filling import VenueSettings
from services.domain.money import ZERO
from services.domain.orders.claim import Claim, claim_of, pair_of, together
from services.domain.orders.order import Order, OrderEvent, Side
from services.domain.risk.limits import make_limit
from services.domain.timeline import Timeline
from services.domain.venue.matching import CannotReplace, Replacement, Venue
from services.risk.gate.parts import OpenGate
from tests.unit.domain.risk.gates import restarted, state
from tests.unit.domain.venue.compare_venues import restored
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, any_list, any_order, any_settings, any_tape

CASH = Decimal(6_000)
seeds = st.integers(0, 2**32).map(Random)


class TradingMachine(RuleBasedStateMachine):
    """Orders and lists that are checked, cancels, replacements, grants, lost verdicts and restarts, in any order."""

    opening_buys = 0.9
    """Of the orders of what is not held."""

    @initialize(random=seeds)
    def open(self, random: Random) -> None:
        self.timeline = Timeline(any_tape(random, 20, 6))
        self.how: VenueSettings = any_settings(random)
        # Nothing is taken before there is a price.
        self.position = self.timeline.end // 8
        self.venue = Venue(INSTRUMENTS, self.how)
        self.venue.prime(self.timeline.tape, self.position)
        self.books = Books(self.timeline, INSTRUMENTS, self.position)
        self.gate = self.new_gate()
        self.folded: list[OrderEvent | Entry] = []
        self.sent = 0
        self.books.ledgers["P"] = ledger = Ledger("P")
        self.enter(ledger.deposit(CASH, 0, 0, "deposit").entries)

    def new_gate(self) -> OpenGate:
        gate = OpenGate()
        gate.open_portfolio("P")
        return gate

    @property
    def time(self) -> int:
        return self.timeline.time(self.position)

    @rule(random=seeds, count=st.integers(1, 4))
    def send(self, random: Random, count: int) -> None:
        for _ in range(count):
            self.ask(random, lost=random.random() < 0.1)

    def ask(self, random: Random, lost: bool) -> None:
        """Has an order checked, and sends it on; a verdict may be lost instead."""
        self.sent += 1
        order = any_order(random, self.sent, 6)._replace(basis_sequence=self.position, basis_time=self.time)
        held = self.venue.held("P", order.symbol)
        if not held and random.random() < self.opening_buys:
            order = order._replace(side=Side.BUY, reduce_only=False)
        elif held and random.random() < 0.6:
            # Several that each close all of it, of which those that only reduce need nothing set aside.
            side, reduces = Side.SELL if held > 0 else Side.BUY, random.random() < 0.5
            order = order._replace(side=side, quantity=abs(held), cash_quantity=None, reduce_only=reduces)
            order = order._replace(display_quantity=None, post_only=False)
        price = self.venue.reference_price(order.symbol, order.side)
        if price is None:
            self.hear(self.venue.refuse(order, NO_PRICE, self.position, self.time))
            return
        before = state(self.gate)
        verdict = self.gate.check(order, INSTRUMENTS[order.symbol], price, self.time, slip=self.venue.slip(order))
        if lost:
            self.gate.drop_unconfirmed()
            assert state(self.gate) == before
        elif verdict.reservation is None:
            assert verdict.refusal is not None
            self.hear(self.venue.refuse(order, verdict.refusal, self.position, self.time))
        else:
            self.hear(self.venue.accept(order._replace(reservation=verdict.reservation), self.position, self.time))

    @rule(random=seeds)
    def send_list(self, random: Random) -> None:
        """All orders of a list, or none (rule 4)."""
        orders = any_list(random, self.sent + 1, 6)
        self.sent += len(orders)
        taken, refusal = list[Order](), None
        for asked in orders:
            order = asked._replace(basis_sequence=self.position, basis_time=self.time)
            price = self.venue.reference_price(order.symbol, order.side)
            if price is None:
                refusal = NO_PRICE
                break
            verdict = self.gate.check(order, INSTRUMENTS[order.symbol], price, self.time, slip=self.venue.slip(order))
            if verdict.reservation is None:
                refusal = verdict.refusal
                break
            taken.append(order._replace(reservation=verdict.reservation))
        if refusal is None:
            self.hear(self.venue.accept_list(taken, self.position, self.time))
        else:
            for order in orders:
                self.hear(self.venue.refuse(order, refusal, self.position, self.time))

    @precondition(lambda self: self.venue.open_orders())
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        self.hear(self.venue.cancel(self.one_of(data).order_id, self.position, self.time))

    @precondition(lambda self: self.venue.open_orders())
    @rule(data=st.data(), quantity=st.integers(1, 60), price=st.integers(188, 212), which=st.integers(0, 3))
    def replace(self, data: st.DataObject, quantity: int, price: int, which: int) -> None:
        order, level = self.one_of(data), Decimal(price) / 2
        terms = [
            Replacement(quantity=Decimal(quantity)),
            Replacement(limit_price=level),
            Replacement(stop_price=level, quantity=Decimal(quantity)),
            Replacement(cash_quantity=quantity * level),
        ][which]
        reference = self.venue.reference_price(order.symbol, order.side)
        try:
            after = self.venue.replaced(order, terms)
        except CannotReplace:
            return
        if reference is None or after == order:
            return
        slip, instrument = self.venue.slip(after), INSTRUMENTS[order.symbol]
        verdict = self.gate.check_replacement(after, instrument, reference, self.time, slip=slip)
        if verdict.reservation is not None:
            self.hear(self.venue.replace(order.order_id, terms, self.position, self.time, verdict.reservation))

    @precondition(lambda self: self.position < self.timeline.end)
    @rule(records=st.integers(1, 30))
    def grant(self, records: int) -> None:
        through = min(self.timeline.end, self.position + records, self.timeline.next_split(self.position))
        self.position, events = self.venue.advance(self.timeline.tape, self.position, through)
        self.hear(events)

    @rule()
    def restart(self) -> None:
        """Rule 2: each goes on from what it has stored."""
        fresh = restored(self.timeline.tape, self.how)(self.venue, self.position)
        assert isinstance(fresh, Venue)
        self.venue = fresh
        self.gate = restarted(self.gate, INSTRUMENTS)

    def teardown(self) -> None:
        """Rule 4: when all have ended, nothing is held for anybody."""
        if hasattr(self, "venue"):
            self.hear(self.venue.expire_all(self.position, self.time))
            self.no_reservation_leaks()
            self.all_know_the_same_cash_and_positions()
            exposure = self.gate.exposure("P")
            assert exposure.reserved_cash == 0
            assert not [each for each in exposure.positions if each.pending_buy or each.pending_sell]

    @invariant()
    def all_know_the_same_cash_and_positions(self) -> None:
        """Rules 4 and 16."""
        ledger, exposure = self.books.ledgers["P"], self.gate.exposure("P")
        held = {symbol: each.quantity for symbol, each in ledger.positions.items() if each.quantity}
        assert held == {each.symbol: each.quantity for each in exposure.positions if each.quantity}
        assert held == {symbol: units for (_, symbol), units in self.venue.positions.items()}
        assert exposure.cash == ledger.cash

    @invariant()
    def no_reservation_leaks(self) -> None:
        """Rule 4."""
        by_list: dict[str, list[Claim]] = defaultdict(list)
        for order in self.venue.open_orders():
            by_list[pair_of(order) or order.order_id].append(claim_of(order))
        claims = [claim for legs in by_list.values() if (claim := together(legs)) is not None]
        assert self.gate.exposure("P").reserved_cash == sum((claim.cash for claim in claims), ZERO)

    @invariant()
    def the_venue_spends_no_more_than_risk_sees(self) -> None:
        """Rule 19: what shorts hold as collateral, and what of it pays for open orders, is the same to both."""
        assert self.venue.headroom.get("P", ZERO) <= self.gate.exposure("P").spendable + Decimal("1e-6")
        held = {("P", symbol): each.collateral for symbol, each in self.gate.funds["P"].holdings.items()}
        assert self.venue.collateral == {holder: each for holder, each in held.items() if each}

    @invariant()
    def nobody_spends_more_than_there_is_or_sells_what_is_not_held(self) -> None:
        """Rules 13 and 19: shorts are not allowed here, so whatever only closes must not have opened one."""
        exposure = self.gate.exposure("P")
        assert exposure.cash >= 0
        assert exposure.spendable > Decimal("-1e-6")
        assert all(units > 0 for units in self.venue.positions.values())

    @invariant()
    def the_log_alone_gives_the_same_gate(self) -> None:
        """Rules 1 and 2, whatever limits are set by now."""
        gate = self.new_gate()
        for limit in self.gate.limits():
            gate.set_limit(limit)
        for each in self.folded:
            if isinstance(each, OrderEvent):
                gate.fold(each, INSTRUMENTS[each.order.symbol])
            else:
                gate.fold_entry("P", each)
        assert state(gate) == state(self.gate)

    def one_of(self, data: st.DataObject) -> Order:
        return data.draw(st.sampled_from(self.venue.open_orders()))

    def hear(self, events: list[OrderEvent]) -> None:
        """What happened at the position: to the books, what the books make of splits to the gate, then all to it."""
        for _, posting in self.books.fold(self.position, events).postings:
            if posting.entries and posting.entries[0].kind not in FILL_KINDS:
                self.enter(posting.entries)
        for event in events:
            self.folded.append(event)
            self.gate.fold(event, INSTRUMENTS[event.order.symbol])

    def enter(self, entries: list[Entry]) -> None:
        assert all(entry.kind is not EntryKind.TRADE for entry in entries)
        for entry in entries:
            self.folded.append(entry)
            self.gate.fold_entry("P", entry)


TradingMachine.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestTrading = TradingMachine.TestCase


class ShortTradingMachine(TradingMachine):
    """The same where shorts are allowed, at an initial margin that changes while orders wait."""

    opening_buys = 0.3

    def new_gate(self) -> OpenGate:
        gate = super().new_gate()
        gate.set_limit(make_limit("short_sale", Decimal(1), "P"))
        return gate

    @rule(bound=st.sampled_from(["0.000000001", "0.1", "1", "3"]))
    def set_margin(self, bound: str) -> None:
        self.gate.set_limit(make_limit("initial_margin", Decimal(bound), "P"))

    def nobody_spends_more_than_there_is_or_sells_what_is_not_held(self) -> None:
        """A short may be sold above what its check foresaw, and one that only reduces is bought whatever it costs."""


ShortTradingMachine.TestCase.settings = TradingMachine.TestCase.settings
TestTradingShort = ShortTradingMachine.TestCase
