"""Which open orders a kill switch leaves that lets orders reduce: together they only do that (rule 5)."""

from decimal import Decimal
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.money import ZERO
from services.domain.orders.order import Order, OrderType, Side
from services.domain.risk.limits import KillScope
from services.domain.risk.reducing import enlarging
from tests.unit.domain.risk.market import Market

BUY, SELL = Side.BUY, Side.SELL
CHEAP: Final[dict[str, Any]] = {"order_type": OrderType.LIMIT, "limit_price": Decimal(1)}
ASKED = st.tuples(st.sampled_from(Side), st.integers(1, 12), st.sampled_from(["", "reduce", "cash", "pair"]))


def holding(quantity: int) -> Market:
    """One that holds so many AAPL of p, and lets shorts be."""
    market = Market("100000", shorts=True)
    opening = market.place(market.order(SELL if quantity < 0 else BUY, str(abs(quantity))))
    assert opening is not None
    market.fill(opening, abs(quantity), "100")
    return market


def going(market: Market, scope: KillScope | None = None) -> list[Order]:
    """What a switch that lets orders reduce ends of all that is open."""

    def held(portfolio_id: str, symbol: str) -> Decimal:
        position = market.ledgers[portfolio_id].positions.get(symbol)
        return ZERO if position is None else position.quantity

    return enlarging(market.orders.values(), (scope or KillScope()).covers, held)


def placed(market: Market, side: Side, quantity: int, **terms: Any) -> Order:
    order = market.place(market.order(side, str(quantity), **terms))
    assert order is not None
    return order


def test_rule_5_of_two_that_close_the_same_short_the_second_opens() -> None:
    market = holding(-100)
    placed(market, BUY, 100, **CHEAP)
    second = placed(market, BUY, 100, **CHEAP)
    assert going(market) == [second]


def test_rule_5_a_buy_behind_one_that_only_reduces_the_same_short_opens() -> None:
    market = holding(-100)
    placed(market, BUY, 100, reduce_only=True, **CHEAP)
    behind = placed(market, BUY, 100, **CHEAP)
    assert going(market) == [behind]


def test_rule_5_what_is_left_of_an_order_counts_and_not_what_it_was() -> None:
    market = holding(-100)
    market.fill(placed(market, BUY, 100, **CHEAP), 30, "1")
    assert going(market) == []
    one_more = placed(market, BUY, 1, **CHEAP)
    assert going(market) == [one_more]


def test_rule_5_a_sale_that_opened_a_short_stays_where_it_closes_by_now() -> None:
    market = holding(10)
    sale = placed(market, SELL, 15)
    assert going(market) == [sale]
    market.fill(placed(market, BUY, 5), 5, "100")
    assert going(market) == []


def test_rule_5_orders_out_of_scope_count_and_stay() -> None:
    market = holding(-10)
    others = [placed(market, BUY, 10, strategy_id="t", **CHEAP), placed(market, BUY, 10, strategy_id="t", **CHEAP)]
    own = placed(market, BUY, 10, strategy_id="s", **CHEAP)
    elsewhere = placed(market, BUY, 1, portfolio_id="q", **CHEAP)
    assert going(market, KillScope(strategy_id="s")) == [own]
    assert going(market, KillScope("q")) == [elsewhere]
    assert going(market) == [others[1], own, elsewhere]


@pytest.mark.parametrize("quantity", [10, 11])
def test_rule_5_twins_count_once_and_go_together(quantity: int) -> None:
    market = holding(-10)
    legs = [market.order(BUY, str(quantity), **CHEAP), market.order(BUY, str(quantity), **CHEAP)]
    pair = market.place_oco(legs[0], legs[1])
    assert pair is not None
    assert going(market) == ([] if quantity == 10 else list(pair))
    last = placed(market, BUY, 1, **CHEAP)
    assert (last in going(market)) is (quantity == 10), "what goes leaves room for those behind"


def test_rule_5_who_waits_for_an_order_that_goes_takes_nobodys_place() -> None:
    market = holding(-10)
    parent = placed(market, SELL, 10)
    placed(market, BUY, 10, parent_order_id=parent.order_id, **CHEAP)
    placed(market, BUY, 10, **CHEAP)
    assert going(market) == [parent]


@given(held=st.sampled_from([-10, 10]), asked=st.lists(ASKED, max_size=8))
def test_rule_5_what_stays_is_what_the_gate_would_let_in(held: int, asked: list[tuple[Side, int, str]]) -> None:
    """The same orders, put to a gate whose switch was engaged before the first of them, in their turn."""
    free, stopped = holding(held), holding(held)
    stopped.gate.engage(KillScope(), allow_reducing=True)
    refused = []
    for side, quantity, kind in asked:
        terms = dict[str, Any](CHEAP if side is BUY else {})
        if kind == "pair":
            for market in (free, stopped):
                legs = market.order(side, str(quantity), **terms), market.order(side, str(quantity), **terms)
                if market.place_oco(*legs) is None:
                    refused += [leg.order_id for leg in legs]
            continue
        if kind == "cash" and side is BUY:
            terms["cash_quantity"] = Decimal(quantity)
        terms["reduce_only"] = kind == "reduce"
        for market in (free, stopped):
            order = market.order(side, str(quantity), **terms)
            if market.place(order) is None:
                refused.append(order.order_id)
    assert [order.order_id for order in going(free)] == refused
