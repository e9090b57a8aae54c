"""What orders of each kind reserve, and what becomes of it on new terms (rules 4 and 5)."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import pytest

from services.domain.orders.order import ExecType, OrderType, Side
from services.domain.risk.limits import KillScope, make_limit
from tests.unit.domain.risk.gates import state
from tests.unit.domain.risk.market import Market

D = Decimal


def test_rule_4_an_order_that_only_reduces_reserves_nothing_and_passes_beyond_every_bound() -> None:
    market = Market(shorts=True)
    for name in ("max_order_notional", "max_order_quantity", "max_position_quantity", "max_gross_exposure"):
        market.gate.set_limit(make_limit(name, D(0), "q"))
    before = state(market.gate)
    for side in Side:
        order = market.order(side, "1000", "q", reduce_only=True)
        reserved = market.check(order).reservation
        assert reserved is not None
        assert (reserved.cash, reserved.quantity, reserved.headroom) == (0, 0, 10_000)
        market.gate.drop_unconfirmed()
    market.gate.set_limit(make_limit("price_band", D("0.1"), "q"))
    far = market.check(
        market.order(Side.SELL, "1", "q", reduce_only=True, order_type=OrderType.LIMIT, limit_price=D(1))
    )
    assert far.refusal is not None
    assert far.refusal.reason == "PRICE_OUT_OF_BAND"
    market.gate.delete_limit("price_band", "q")
    assert state(market.gate)["claims"] == before["claims"]


def test_rule_5_a_kill_switch_that_lets_orders_reduce_lets_reduce_only_ones_pass() -> None:
    market = Market()
    market.gate.engage(KillScope("p"), allow_reducing=True)
    assert market.check(market.order(Side.SELL, "5", reduce_only=True)).reservation is not None
    market.gate.engage(KillScope("p"))
    assert market.check(market.order(Side.SELL, "5", reduce_only=True)).refusal is not None


def test_rule_4_new_terms_claim_the_larger_of_both_until_their_event_comes() -> None:
    market = Market()
    order = market.place(market.order(Side.BUY, "50", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    fewer = market.replaced(order, quantity=D(20), limit_price=D(120))
    verdict = market.recheck(fewer)
    assert verdict.reservation is not None
    assert (verdict.reservation.cash, verdict.reservation.quantity) == (2_400, 20)
    assert verdict.reservation.headroom == 7_600, "what there will be once the order is on its new terms"
    figure = market.gate.exposure("p")
    assert (figure.reserved_cash, figure.positions[0].pending_buy) == (5_000, 50), "the old ones may still fill"
    market.replace(fewer, verdict)
    figure = market.gate.exposure("p")
    assert (figure.reserved_cash, figure.positions[0].pending_buy) == (2_400, 20)


def test_rule_4_an_order_by_cash_claims_the_larger_of_both_until_its_event_comes() -> None:
    market = Market()
    terms = {"order_type": OrderType.LIMIT, "limit_price": D(100), "cash_quantity": D(5_000)}
    order = market.place(market.order(Side.BUY, "0", **terms))
    assert order is not None
    order = market.fill(order, "10", "100")
    assert market.gate.exposure("p").reserved_cash == 4_000
    less = market.replaced(order, cash_quantity=D(3_000))
    verdict = market.recheck(less)
    assert verdict.reservation is not None
    # For all of it, of which a third has been spent.
    assert (verdict.reservation.cash, verdict.reservation.headroom) == (3_000, 7_000)
    assert market.gate.exposure("p").reserved_cash == 4_000, "the old ones may still fill"
    market.replace(less, verdict)
    assert market.gate.exposure("p").reserved_cash == 2_000
    refusal = market.recheck(market.replaced(less, cash_quantity=D(10_001))).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.bound, refusal.value) == ("INSUFFICIENT_BUYING_POWER", 9_000, 9_001)


def test_rule_4_new_terms_that_do_not_fit_are_refused_with_what_there_is_for_the_order() -> None:
    market = Market()
    order = market.place(market.order(Side.BUY, "50", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    order = market.fill(order, "10", "100")
    refusal = market.recheck(market.replaced(order, quantity=D(110))).refusal
    assert refusal is not None
    assert (refusal.reason, refusal.bound, refusal.value) == ("INSUFFICIENT_BUYING_POWER", 9_000, 10_000)
    verdict = market.recheck(market.replaced(order, quantity=D(100)))
    assert verdict.reservation is not None
    # For all hundred, of which ten have filled: nine tenths are what is left of it.
    assert (verdict.reservation.cash, verdict.reservation.headroom) == (10_000, 0)


def test_rule_4_any_event_of_the_order_settles_what_was_checked_for_it() -> None:
    market = Market()
    order = market.place(market.order(Side.BUY, "10", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    assert market.recheck(market.replaced(order, quantity=D(90))).reservation is not None
    assert market.gate.exposure("p").reserved_cash == 9_000
    market.fill(order, "4", "100")
    assert market.gate.exposure("p").reserved_cash == 600
    assert market.gate.drop_unconfirmed() == []
    assert market.gate.exposure("p").reserved_cash == 600


def test_rule_23_new_terms_count_as_an_order_once_their_check_has_passed() -> None:
    market = Market()
    market.gate.set_limit(make_limit("max_order_rate", D(3), "p"))
    order = market.place(market.order(Side.BUY, "10", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    for price in (101, 102):
        after = market.replaced(order, limit_price=D(price))
        for _ in range(2):
            verdict = market.recheck(after)
            assert verdict.reservation is not None, "checked again, they count once"
        order = market.replace(after, verdict)
    refusal = market.recheck(market.replaced(order, limit_price=D(103))).refusal
    assert refusal is not None
    assert refusal[:4] == ("ORDER_RATE_EXCEEDED", "max_order_rate", 3, 4)
    assert market.check(market.order(Side.BUY, "1")).refusal == refusal


def test_rule_4_new_terms_whose_verdict_is_void_count_no_more() -> None:
    market = Market()
    market.gate.set_limit(make_limit("max_order_rate", D(2), "p"))
    order = market.place(market.order(Side.BUY, "10", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    void: tuple[Callable[[], object], ...] = (
        market.gate.drop_unconfirmed,
        lambda: market.gate.drop_unconfirmed(["e-1"]),
        lambda: market.fill(order, "1", "100"),
    )
    for each in void:
        assert market.recheck(market.replaced(order, limit_price=D(101))).reservation is not None
        assert market.check(market.order(Side.BUY, "1")).refusal is not None
        each()
        order = market.orders[order.order_id]
    assert market.check(market.order(Side.BUY, "1")).refusal is None


def test_new_terms_that_only_shrink_an_order_are_not_asked_about_and_count() -> None:
    market = Market()
    market.gate.set_limit(make_limit("max_order_rate", D(2), "p"))
    order = market.place(market.order(Side.BUY, "10", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    market.tell(ExecType.REPLACED, market.replaced(order, quantity=D(9)))
    assert market.check(market.order(Side.BUY, "1")).refusal is not None
    market.time += 60_000_000_000
    assert market.check(market.order(Side.BUY, "1")).refusal is None


def test_of_what_is_not_open_there_are_no_new_terms() -> None:
    market = Market()
    order = market.place(market.order(Side.BUY, "10", order_type=OrderType.LIMIT, limit_price=D(100)))
    assert order is not None
    market.end(order)
    with pytest.raises(ValueError, match="not open"):
        market.recheck(order)


@pytest.mark.parametrize(
    ("terms", "cash"),
    [
        ({"order_type": OrderType.STOP, "stop_price": D(105)}, 1_050),
        ({"order_type": OrderType.STOP, "stop_price": D(95)}, 1_000),
        ({"order_type": OrderType.STOP_LIMIT, "stop_price": D(105), "limit_price": D(106)}, 1_060),
        ({"order_type": OrderType.MARKET_IF_TOUCHED, "stop_price": D(95)}, 1_000),
        ({"order_type": OrderType.LIMIT_IF_TOUCHED, "stop_price": D(95), "limit_price": D(96)}, 960),
        ({"order_type": OrderType.TRAILING_STOP, "trailing_amount": D(3)}, 1_030),
        ({"order_type": OrderType.TRAILING_STOP, "trailing_percent": D("2.5")}, 1_025),
    ],
)
def test_rule_4_a_buy_reserves_what_its_type_may_pay(terms: dict[str, Any], cash: int) -> None:
    market = Market()
    reserved = market.check(market.order(Side.BUY, "10", **terms)).reservation
    assert reserved is not None
    assert reserved.cash == cash
