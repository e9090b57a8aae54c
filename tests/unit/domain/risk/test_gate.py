"""What the gate reserves it gives back, whatever happens and however it was restarted (rules 3 to 5, 19 and 20)."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, ExecType, OrderState, OrderType, Side
from services.domain.risk.limits import KillScope, make_limit
from tests.unit.domain.risk.gates import restarted, state
from tests.unit.domain.risk.market import INSTRUMENTS, D, Market

SECOND = 1_000_000_000


class GateMachine(RuleBasedStateMachine):
    """Orders come, fill, end and are lost; the gate keeps its laws after every step."""

    shorts = False

    @initialize()
    def start(self) -> None:
        self.market = Market(shorts=self.shorts)

    @rule(
        side=st.sampled_from(Side),
        units=st.integers(1, 60),
        price=st.decimals(D(50), D(150), places=2),
        kind=st.sampled_from(("market", "limit", "stop", "cash", "trailing", "touched", "reducing")),
        symbol=st.sampled_from(sorted(INSTRUMENTS)),
        portfolio_id=st.sampled_from("pq"),
    )
    def place(self, side: Side, units: int, price: Decimal, kind: str, symbol: str, portfolio_id: str) -> None:
        market = self.market
        quantity = str(units * INSTRUMENTS[symbol].quantity_increment)
        terms: dict[str, Any] = {}
        if kind == "limit":
            terms = {"order_type": OrderType.LIMIT, "limit_price": price}
        elif kind == "stop":
            terms = {"order_type": OrderType.STOP, "stop_price": price}
        elif kind == "trailing":
            terms = {"order_type": OrderType.TRAILING_STOP, "trailing_percent": price / 10}
        elif kind == "touched":
            terms = {"order_type": OrderType.LIMIT_IF_TOUCHED, "limit_price": price, "stop_price": D(100)}
        elif kind == "reducing":
            terms = {"reduce_only": True}
        elif kind == "cash" and side is Side.BUY:
            terms = {"cash_quantity": price * 10}
        before = market.gate.exposure(portfolio_id)
        order = market.place(market.order(side, quantity, portfolio_id, symbol, **terms))
        after = market.gate.exposure(portfolio_id)
        if order is None:
            assert after == before, "a refused order changes nothing"
        else:
            assert after.reserved_cash == before.reserved_cash + order.reservation.cash
            assert 0 <= after.spendable - order.reservation.headroom < D("1e-9")

    @rule(
        side=st.sampled_from(Side),
        units=st.integers(1, 60),
        price=st.decimals(D(50), D(150), places=2),
        other=st.decimals(D(50), D(150), places=2),
        lost=st.booleans(),
    )
    def place_twins(self, side: Side, units: int, price: Decimal, other: Decimal, lost: bool) -> None:
        """An OCO reserves its larger leg (rule 4)."""
        market = self.market
        limit = market.order(side, str(units), order_type=OrderType.LIMIT, limit_price=price)
        stop = market.order(side, str(units), order_type=OrderType.STOP, stop_price=other)
        before, snapshot = market.gate.exposure("p"), state(market.gate)
        if lost:
            for leg in listed(ContingencyType.OCO, [limit, stop]):
                verdict = market.check(leg)
                assert market.check(leg) == verdict, "checked again, it is not counted twice"
            market.gate.drop_unconfirmed()
            assert state(market.gate) == snapshot
            return
        legs = market.place_oco(limit, stop)
        after = market.gate.exposure("p")
        if legs is None:
            assert after == before, "a refused list changes nothing"
        else:
            larger = max(leg.reservation.cash for leg in legs)
            assert after.reserved_cash == before.reserved_cash + larger
            assert 0 <= after.spendable - market.headroom["p"] < D("1e-9")

    @rule(
        sides=st.tuples(st.sampled_from(Side), st.sampled_from(Side)),
        units=st.tuples(st.integers(1, 60), st.integers(1, 60)),
        price=st.decimals(D(50), D(150), places=2),
        reducing=st.booleans(),
    )
    def place_before_the_event_of_another(
        self, sides: tuple[Side, Side], units: tuple[int, int], price: Decimal, reducing: bool
    ) -> None:
        """What a passed check set aside is all that the next one need know of its order, come the event or not."""
        market = self.market
        first = market.order(sides[0], str(units[0]), order_type=OrderType.LIMIT, limit_price=price)
        first = first._replace(reduce_only=reducing)
        verdict = market.check(first)
        if verdict.reservation is None:
            return
        second = market.order(sides[1], str(units[1]))
        early = market.check(second)
        market.gate.drop_unconfirmed([second.order_id])
        market.place(first)
        assert market.check(second) == early
        market.gate.drop_unconfirmed([second.order_id])

    @rule(side=st.sampled_from(Side), units=st.integers(1, 60))
    def lose_a_check(self, side: Side, units: int) -> None:
        """A verdict that is never committed: the stream broke (rule 4)."""
        before = state(self.market.gate)
        order = self.market.order(side, str(units))
        verdict = self.market.check(order)
        assert self.market.check(order) == verdict, "checked again, it is not counted twice"
        dropped = self.market.gate.drop_unconfirmed()
        assert dropped == ([order.order_id] if verdict.reservation else [])
        assert state(self.market.gate) == before

    @precondition(lambda self: self.market.orders)
    @rule(
        data=st.data(),
        units=st.integers(1, 60),
        price=st.decimals(D(50), D(150), places=2),
        lost=st.booleans(),
    )
    def replace(self, data: st.DataObject, units: int, price: Decimal, lost: bool) -> None:
        """An open order is put on new terms; the verdict may be void before its event came (rule 4)."""
        market = self.market
        order = data.draw(st.sampled_from(sorted(market.orders.values(), key=lambda o: o.order_id)))
        terms: dict[str, Any] = {} if order.limit_price is None else {"limit_price": price}
        if order.cash_quantity is None and not order.order_list_id:
            terms["quantity"] = order.cum_quantity + units * INSTRUMENTS[order.symbol].quantity_increment
        before, after = state(market.gate), market.replaced(order, **terms)
        verdict = market.recheck(after)
        assert market.recheck(after) == verdict, "checked again, it is not counted twice"
        if verdict.reservation is None:
            assert state(market.gate) == before, "a refusal leaves the order what it was"
        elif lost:
            assert not market.gate.drop_unconfirmed([order.order_id] if units % 2 else None)
            assert state(market.gate) == before
        else:
            market.gate = restarted(market.gate, INSTRUMENTS)
            market.replace(after, verdict)
            spendable = market.gate.exposure(order.portfolio_id).spendable
            assert 0 <= spendable - verdict.reservation.headroom < D("1e-9")

    @precondition(lambda self: self.market.orders)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        order = data.draw(st.sampled_from(sorted(self.market.orders.values(), key=lambda o: o.order_id)))
        step = INSTRUMENTS[order.symbol].quantity_increment
        worst = order.reservation.cash / abs(order.reservation.quantity) if order.reservation.quantity else D(100)
        if order.side is Side.SELL:
            worst = worst * 2 if order.reservation.cash else D(100)
        price = data.draw(st.sampled_from((worst, worst - 1, worst / 2))).quantize(D("0.01"), "ROUND_FLOOR")
        left = order.leaves_quantity
        if order.cash_quantity is not None:
            left = (order.cash_quantity - order.gross_amount) // price // step * step
        if order.side is Side.SELL and not order.reservation.cash:
            # Others that only reduce may have come first.
            left = min(left, self.market.reducible(order))
        elif order.reduce_only:
            left = min(left, self.market.reducible(order))
        if left <= 0 or price <= 0:
            return
        quantity = data.draw(st.integers(1, int(left / step))) * step
        self.market.fill(order, quantity, price)

    @precondition(lambda self: self.market.orders)
    @rule(data=st.data(), exec_type=st.sampled_from((ExecType.CANCELED, ExecType.EXPIRED)))
    def end(self, data: st.DataObject, exec_type: ExecType) -> None:
        order = data.draw(st.sampled_from(sorted(self.market.orders.values(), key=lambda o: o.order_id)))
        self.market.end(order, exec_type)

    @rule(amount=st.decimals(D("0.01"), D(1000), places=2))
    def deposit(self, amount: Decimal) -> None:
        self.market.post("p", self.market.ledgers["p"].deposit(amount, 0, 0, "t").entries)

    @rule(ratio=st.sampled_from(((2, 1), (3, 2), (1, 4))))
    def split(self, ratio: tuple[int, int]) -> None:
        """Positions and what is pending come in new units (rule 20)."""
        self.market.split(*ratio)

    @rule(seconds=st.integers(1, 45))
    def wait(self, seconds: int) -> None:
        self.market.time += seconds * SECOND
        self.market.position += 1

    @rule()
    def restart(self) -> None:
        """Risk goes on from its own store (rule 2)."""
        self.market.gate = restarted(self.market.gate, INSTRUMENTS)

    @invariant()
    def rebuilt_from_events_it_is_the_same(self) -> None:
        assert state(self.market.rebuilt()) == state(self.market.gate)

    @invariant()
    def its_cash_and_positions_are_the_books(self) -> None:
        for portfolio_id, ledger in self.market.ledgers.items():
            exposure = self.market.gate.exposure(portfolio_id)
            assert exposure.cash == ledger.cash
            held = {p.symbol: p.quantity for p in exposure.positions if p.quantity}
            assert held == {s: p.quantity for s, p in ledger.positions.items() if p.quantity}

    @invariant()
    def no_reservation_leaks(self) -> None:
        for portfolio_id in self.market.ledgers:
            open_orders = [o for o in self.market.orders.values() if o.portfolio_id == portfolio_id]
            exposure = self.market.gate.exposure(portfolio_id)
            assert exposure.reserved_cash == self.market.reserved(portfolio_id)
            if not open_orders:
                assert all(not (p.pending_buy or p.pending_sell) for p in exposure.positions)
            if not any(p.quantity < 0 for p in exposure.positions):
                assert exposure.collateral == 0

    @invariant()
    def cash_never_goes_below_zero_nor_do_claims_exceed_it(self) -> None:
        for portfolio_id in self.market.ledgers:
            exposure = self.market.gate.exposure(portfolio_id)
            assert exposure.cash >= 0
            assert exposure.spendable > D("-1e-6")

    @invariant()
    def the_venues_headroom_is_never_more_than_there_is(self) -> None:
        for portfolio_id, headroom in self.market.headroom.items():
            assert headroom <= self.market.gate.exposure(portfolio_id).spendable + D("1e-6")


class ShortingMachine(GateMachine):
    """The same with shorts allowed."""

    shorts = True

    @invariant()
    def the_venues_headroom_is_never_more_than_there_is(self) -> None:
        """Not here: the venue knows no collateral, so with shorts the next verdict sets its figure right."""


TestRules4And19WithoutShorts = GateMachine.TestCase
TestRules4And19WithShorts = ShortingMachine.TestCase
TestRules4And19WithoutShorts.settings = settings(max_examples=60, stateful_step_count=30)
TestRules4And19WithShorts.settings = settings(max_examples=60, stateful_step_count=30)


@given(st.lists(st.integers(1, 100), min_size=2, max_size=6))
def test_rule_4_orders_that_fit_alone_but_not_together_never_all_pass(units: list[int]) -> None:
    market = Market()
    passed = [q for q in units if market.check(market.order(Side.BUY, str(q))).reservation]
    assert sum(passed) <= 100
    spendable = 10_000 - 100 * sum(passed)
    assert market.gate.exposure("p").spendable == spendable
    assert all(q * 100 > spendable for q in set(units) - set(passed))


def test_rule_4_of_two_orders_that_fit_only_singly_exactly_one_passes_in_1000_tries() -> None:
    for number in range(1000):
        market = Market()
        first, second = market.order(Side.BUY, "60"), market.order(Side.BUY, str(41 + number % 60))
        verdicts = [market.check(first), market.check(second)]
        assert [v.refusal is None for v in verdicts] == [True, False]
        assert verdicts[1].refusal is not None
        assert verdicts[1].refusal.missing == 100 * (1 + number % 60)


def test_rule_4_what_is_sold_already_cannot_be_sold_again() -> None:
    market = Market()
    bought = market.place(market.order(Side.BUY, "10"))
    assert bought is not None
    market.fill(bought, "10", "100")
    first = market.place(market.order(Side.SELL, "6"))
    assert first is not None
    assert first.reservation.cash == 0
    refusal = market.check(market.order(Side.SELL, "5")).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.bound, refusal.value, refusal.missing) == ("SHORT_NOT_ALLOWED", 4, 5, 1)
    market.end(first)
    assert market.check(market.order(Side.SELL, "10")).reservation is not None


def test_rule_4_a_fill_uses_its_share_and_the_rest_comes_back_when_the_order_ends() -> None:
    market = Market()
    order = market.place(market.order(Side.BUY, "10", order_type=OrderType.LIMIT, limit_price=D(90)))
    assert order is not None
    order = market.fill(order, "4", "80")
    exposure = market.gate.exposure("p")
    assert (exposure.cash, exposure.reserved_cash, exposure.spendable) == (9680, 540, 9140)
    assert [(p.quantity, p.pending_buy) for p in exposure.positions] == [(4, 6)]
    market.end(order, ExecType.EXPIRED)
    exposure = market.gate.exposure("p")
    assert (exposure.cash, exposure.reserved_cash, exposure.spendable) == (9680, 0, 9680)


def test_rule_4_a_rejected_order_and_one_dropped_by_id_give_back_what_they_reserved() -> None:
    market = Market()
    orders = [market.order(Side.BUY, "10") for _ in range(3)]
    for order in orders:
        assert market.check(order).reservation is not None
    market.tell(ExecType.REJECTED, orders[0]._replace(state=OrderState.REJECTED))
    assert market.gate.drop_unconfirmed([orders[1].order_id, "unknown"]) == [orders[1].order_id]
    exposure = market.gate.exposure("p")
    assert (exposure.reserved_cash, exposure.spendable) == (1000, 9000)


def test_rule_4_a_confirmed_reservation_is_not_dropped_nor_checked_again() -> None:
    market = Market()
    order = market.place(market.order(Side.BUY, "10"))
    assert order is not None
    assert market.gate.drop_unconfirmed() == []
    with pytest.raises(ValueError, match="e-1 is open"):
        market.check(order)
    assert market.gate.exposure("p").reserved_cash == 1000


def test_rule_19_scenario_g_a_flip_and_its_cover_with_shorts_allowed() -> None:
    market = Market(shorts=True)
    for side, quantity, price in ((Side.BUY, "10", "100"), (Side.SELL, "25", "110"), (Side.BUY, "15", "105")):
        order = market.place(market.order(side, quantity), price)
        assert order is not None
        market.fill(order, quantity, price)
        exposure = market.gate.exposure("p")
        assert exposure.collateral == (2475 if side is Side.SELL else 0), "1650 of proceeds and half of them again"
        assert exposure.spendable == exposure.cash - exposure.collateral
    assert exposure.cash == exposure.equity == 10_175


def test_rule_19_the_proceeds_of_a_short_cannot_be_spent() -> None:
    market = Market(shorts=True)
    order = market.place(market.order(Side.SELL, "200"))
    assert order is not None
    market.fill(order, "200", "100")
    exposure = market.gate.exposure("p")
    assert (exposure.cash, exposure.collateral, exposure.spendable) == (30_000, 30_000, 0)
    assert market.check(market.order(Side.BUY, "1", symbol="BTC/USD")).refusal is not None


@pytest.mark.parametrize(("price", "missing"), [("90", None), ("150", None), ("151", 200)])
def test_rule_19_a_short_is_covered_with_its_own_collateral(price: str, missing: int | None) -> None:
    market = Market(shorts=True)
    short = market.place(market.order(Side.SELL, "200"))
    assert short is not None
    market.fill(short, "200", "100")
    verdict = market.check(market.order(Side.BUY, "200"), price)
    if missing is not None:
        assert verdict.refusal is not None
        assert (verdict.refusal.bound, verdict.refusal.missing) == (30_000, missing)
        return
    assert verdict.reservation is not None
    assert verdict.reservation.cash == 200 * D(price)
    assert market.gate.exposure("p").spendable == 0, "nothing of it can be spent twice"


def test_rule_5_reducing_orders_stay_possible_where_asked_for() -> None:
    market = Market()
    bought = market.place(market.order(Side.BUY, "10"))
    assert bought is not None
    market.fill(bought, "10", "100")
    market.gate.engage(KillScope(), allow_reducing=True)
    for side, quantity, passes in ((Side.BUY, "1", False), (Side.SELL, "11", False), (Side.SELL, "10", True)):
        verdict = market.check(market.order(side, quantity))
        assert (verdict.reservation is not None) == passes
    refusal = market.check(market.order(Side.SELL, "1")).refusal
    assert refusal is not None
    assert refusal.reason == "KILL_SWITCH_ENGAGED", "the position is sold already"
    market.gate.engage(KillScope("p"))
    market.gate.drop_unconfirmed()
    assert market.check(market.order(Side.SELL, "10")).refusal == refusal._replace(portfolio_id="p"), (
        "the stricter holds"
    )


def test_rule_23_the_order_rate_slides_in_market_time() -> None:
    market = Market()
    market.gate.set_limit(make_limit("max_order_rate", D(2), "p"))
    passed = []
    for second in (0, 20, 59, 60, 61, 79, 80, 121):
        market.time = second * SECOND
        if market.place(market.order(Side.BUY, "1")) is not None:
            passed.append(second)
    assert passed == [0, 20, 60, 80, 121]


def test_a_reducing_order_passes_however_far_beyond_a_bound_things_are() -> None:
    market = Market()
    bought = market.place(market.order(Side.BUY, "10"))
    assert bought is not None
    market.fill(bought, "10", "100")
    for name in ("max_position_quantity", "max_position_notional", "max_gross_exposure"):
        market.gate.set_limit(make_limit(name, D(1), "p"))
        market.gate.set_limit(make_limit(name, D(1)))
    assert market.check(market.order(Side.BUY, "1")).refusal is not None
    assert market.check(market.order(Side.SELL, "5")).reservation is not None


def test_rule_20_a_split_restates_position_and_pending_and_keeps_what_is_reserved() -> None:
    market = Market()
    bought = market.place(market.order(Side.BUY, "11"))
    assert bought is not None
    market.fill(bought, "11", "100")
    assert market.place(market.order(Side.SELL, "5")) is not None
    assert market.place(market.order(Side.BUY, "20")) is not None
    market.split(3, 2)
    exposure = market.gate.exposure("p")
    assert [(p.quantity, p.pending_buy, p.pending_sell) for p in exposure.positions] == [(16, 30, 7)]
    assert exposure.reserved_cash == 2000
    assert exposure.cash == market.ledgers["p"].cash == 8900 + D("33.333333333")
