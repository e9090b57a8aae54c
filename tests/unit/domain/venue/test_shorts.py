"""What shorts hold is no headroom, to the venue as to risk; the numbers are the behaviour's rules."""

from decimal import Decimal

import pytest

from services.domain.accounting.books import Books
from services.domain.accounting.ledger import Ledger
from services.domain.backtest.simulation import FILL_KINDS
from services.domain.orders.order import CancelReason, ExecType, Order, OrderEvent, Reservation, TimeInForce
from services.domain.risk.gate import Gate
from services.domain.risk.limits import make_limit
from services.domain.tape import Kind, Series, merge
from services.domain.timeline import Timeline
from services.domain.venue.matching import Replacement, Venue, VenueSettings
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, bars, order, series
from tests.unit.domain.venue.steps import steps

D = Decimal
SHORT = ("P", "BBB")


class Desk:
    """A portfolio that may sell short, at the venue, at risk and in its books."""

    def __init__(
        self, *prices: tuple[str, float], cash: int = 6000, margin: str = "0.5", parts: tuple[Series, ...] = ()
    ):
        """A bar a minute, of these symbols at these prices."""
        rows = [(symbol, minute, (price, price, price, price, 1e6)) for minute, (symbol, price) in enumerate(prices)]
        made = [
            series(Kind.BAR, symbol, [(at, at + 1, row) for each, at, row in rows if each == symbol], "1m")
            for symbol in INSTRUMENTS
        ]
        self.timeline = Timeline(merge([*made, *parts]))
        self.venue, self.gate, self.at = Venue(INSTRUMENTS, VenueSettings(volume_share=None)), Gate(), 0
        self.books = Books(self.timeline, INSTRUMENTS)
        self.books.ledgers["P"] = ledger = Ledger("P")
        self.gate.open_portfolio("P")
        for entry in ledger.deposit(D(cash), 0, 0, "deposit").entries:
            self.gate.fold_entry("P", entry)
        self.gate.set_limit(make_limit("short_sale", D(1), "P"))
        self.gate.set_limit(make_limit("initial_margin", D(margin), "P"))
        self.go(2)

    @property
    def time(self) -> int:
        return self.timeline.time(self.at)

    def send(self, asked: Order) -> Order:
        sent = asked._replace(basis_sequence=self.at, basis_time=self.time)
        price = self.venue.reference_price(sent.symbol, sent.side)
        assert price is not None
        verdict = self.gate.check(sent, INSTRUMENTS[sent.symbol], price, self.time)
        assert verdict.reservation is not None, verdict.refusal
        sent = sent._replace(reservation=verdict.reservation)
        self.hear(self.venue.accept(sent, self.at, self.time))
        return sent

    def go(self, records: int) -> list[OrderEvent]:
        through, events = self.at + records, list[OrderEvent]()
        while self.at < through:
            self.at, made = self.venue.advance(self.timeline.tape, self.at, through)
            self.hear(made)
            events += made
        return events

    def hear(self, events: list[OrderEvent]) -> None:
        for _, posting in self.books.fold(self.at, events).postings:
            if posting.entries[0].kind not in FILL_KINDS:
                for entry in posting.entries:
                    self.gate.fold_entry("P", entry)
        for event in events:
            self.gate.fold(event, INSTRUMENTS[event.order.symbol])
        if self.venue.headroom:
            assert self.venue.headroom["P"] == self.spendable

    @property
    def spendable(self) -> Decimal:
        return self.gate.exposure("P").spendable


def test_rule_19_a_buy_that_gaps_is_not_paid_from_the_margin_of_a_filled_short() -> None:
    desk = Desk(("BBB", 100), ("AAA", 100), ("BBB", 100), ("AAA", 140))
    desk.send(order(1, "B", "M", 40, symbol="AAA"))
    desk.send(order(2, "S", "M", 30))
    [sold] = desk.go(1)
    assert (sold.order.reservation.headroom, desk.venue.collateral) == (500, {SHORT: 4500})
    bought, rest = desk.go(1)
    assert (bought.last_quantity, rest.order.cancel_reason) == (32, CancelReason.INSUFFICIENT_CASH)
    assert (desk.spendable, desk.gate.exposure("P").cash) == (20, 4520)


def test_rule_19_a_short_that_is_sold_higher_sets_aside_more_at_the_margin_of_its_check() -> None:
    desk = Desk(("BBB", 100), ("BBB", 100), ("BBB", 140), margin="0.3")
    sent = desk.send(order(1, "S", "M", 10))
    assert (sent.reservation.cash, sent.reservation.margin) == (300, D("0.3"))
    desk.gate.set_limit(make_limit("initial_margin", D(3), "P"))
    desk.go(1)
    assert (desk.spendable, desk.venue.collateral) == (6000 - 420, {SHORT: 1820})


def test_rule_19_what_covers_is_paid_from_the_collateral_and_frees_the_rest_of_it() -> None:
    desk = Desk(("BBB", 100), ("BBB", 100), ("BBB", 100), ("BBB", 145), cash=500)
    desk.send(order(1, "S", "M", 10))
    desk.go(1)
    assert desk.spendable == 0
    desk.send(order(2, "B", "M", 10))
    [covered] = desk.go(1)
    assert (covered.last_quantity, desk.spendable, desk.venue.collateral) == (10, 50, {})


@pytest.mark.parametrize("force", [TimeInForce.GTC, TimeInForce.FOK])
def test_rule_19_a_cover_that_nothing_pays_is_cut_and_one_of_all_or_nothing_is_not_made(force: TimeInForce) -> None:
    desk = Desk(("BBB", 100), ("BBB", 100), ("BBB", 100), ("BBB", 200), cash=600)
    desk.send(order(1, "S", "M", 10))
    desk.go(1)
    desk.send(order(2, "B", "M", 10, time_in_force=force))
    *bought, end = desk.go(1)
    # Of the 100 that are free, each unit takes the 50 that it costs beyond its collateral.
    whole = force is TimeInForce.FOK
    assert [each.last_quantity for each in bought] == ([] if whole else [2])
    assert end.order.cancel_reason is (CancelReason.FOK_UNFILLED if whole else CancelReason.INSUFFICIENT_CASH)
    assert desk.spendable == (100 if whole else 0)


def test_rule_19_what_a_canceled_cover_had_pledged_is_collateral_again() -> None:
    desk = Desk(("BBB", 100), ("BBB", 100), ("BBB", 100), cash=600)
    desk.send(order(1, "S", "M", 10))
    desk.go(1)
    desk.send(order(2, "B", "L", 10, 90))
    desk.send(order(3, "B", "L", 5, 20))
    desk.hear(desk.venue.replace("env-2", Replacement(quantity=D(4)), desk.at, desk.time))
    desk.hear(desk.venue.cancel("env-2", desk.at, desk.time))
    assert desk.spendable == 100


def test_rule_20_a_split_keeps_collateral_but_for_what_is_closed_in_cash_whether_or_not_an_order_waits() -> None:
    splits = series(Kind.SPLIT, "BBB", [(5, 5, (1.0, 4.0))])
    desk = Desk(("BBB", 100), ("BBB", 100), ("BBB", 100), ("BBB", 180), parts=(splits,))
    desk.send(order(1, "S", "M", 15))
    desk.go(1)
    desk.go(2)
    # 3.75 units: 0.25 of them cost 180 x 4 each, and free a fifteenth of 2250.
    assert desk.gate.exposure("P").positions[0].quantity == D("-3.5")
    assert desk.venue.take_split() == {SHORT}
    assert desk.venue.headroom["P"] == desk.spendable == 6000 - 750 - 180 + 150
    assert desk.venue.kept(*SHORT) == (D("-3.5"), 2100, desk.spendable)


def test_rule_2_a_venue_that_is_restored_knows_what_is_held() -> None:
    desk = Desk(("BBB", 100), ("BBB", 100), ("BBB", 100), ("BBB", 90), ("BBB", 130))
    desk.send(order(1, "S", "M", 10))
    desk.go(1)
    desk.send(order(2, "B", "L", 5, 95))
    desk.send(order(3, "B", "L", 5, 20))
    fresh = Venue(INSTRUMENTS, VenueSettings(volume_share=None))
    fresh.restore(desk.venue.open_orders(), desk.venue.headroom, desk.venue.positions, desk.venue.collateral)
    fresh.prime(desk.timeline.tape, desk.at)
    desk.venue = fresh
    [covered] = desk.go(1)
    assert (covered.exec_type, covered.order.order_id) == (ExecType.TRADE, "env-2")
    desk.hear(fresh.cancel("env-3", desk.at, desk.time))
    assert fresh.collateral == {SHORT: 750}


def beside(others: int) -> Venue:
    """A venue with as many orders of the short's symbol, and of its portfolio, that are not both."""
    venue = Venue(INSTRUMENTS, VenueSettings(volume_share=None))
    venue.prime(merge([bars([(100, 100, 100, 100, 1e6)] * 4)]), 1)
    whose = [(f"P{i}", "BBB") if i % 2 else ("P", "AAA") for i in range(others)]
    asked = [order(i, "B", "L", 10, 50, portfolio_id=each, symbol=symbol) for i, (each, symbol) in enumerate(whose)]
    venue.restore([*asked, order(10_000, "B", "L", 5, 50)], {each: D(10) ** 6 for each, _ in whose} | {"P": D(10) ** 6})
    return venue


def sell_short(venue: Venue) -> None:
    """The first short of its portfolio and symbol."""
    reserved = Reservation(D(-10), D(500), D(1000), margin=D("0.5"))
    sold = order(20_000, "S", "M", 10, basis_sequence=1, basis_time=1, reservation=reserved)
    venue.accept(sold, 1, 1)
    venue.advance(merge([bars([(100, 100, 100, 100, 1e6)] * 4)]), 1, 3)
    assert venue.collateral == {SHORT: 1500}


def test_the_first_short_of_a_holding_looks_at_no_other_order() -> None:
    few, many = beside(10), beside(1000)
    assert steps(lambda: sell_short(many)) == steps(lambda: sell_short(few))


def test_what_is_short_at_a_restart_looks_at_no_other_order() -> None:
    held = {(f"Q{i}", "BBB"): D(-10) for i in range(10)} | {SHORT: D(-10)}
    collateral = {each: D(1500) for each in held}
    few, many = beside(10), beside(1000)
    assert steps(lambda: many.restore([], {}, held, collateral)) == steps(lambda: few.restore([], {}, held, collateral))
