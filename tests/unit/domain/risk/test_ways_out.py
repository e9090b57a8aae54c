"""A way out always stays, unless another open order would open a position for it (rule 4)."""

from decimal import Decimal

import pytest

from services.domain.money import ZERO
from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, ExecType, Order, OrderState, Side
from services.domain.risk.gate import Verdict
from services.domain.risk.limits import KillScope
from tests.unit.domain.risk.room import INSTRUMENTS, PRICES, D, Room
from tests.unit.domain.risk.test_worst_case import OTHER, SIDES, figures, held

SELL = Side.SELL


def replaced(room: Room, order: Order, units: int | None = None) -> Verdict:
    """New terms of an open order that passed: other units, or another price alone."""
    if units is not None:
        order = order._replace(quantity=D(units), leaves_quantity=D(units))
    verdict = room.gate.check_replacement(order, INSTRUMENTS["A"], PRICES["A"], 0)
    room.gate.drop_unconfirmed()
    return verdict


@pytest.mark.parametrize("resting", [False, True], ids=["target first", "stop first"])
def test_a_strategy_that_is_alone_closes_all_by_a_target_and_by_a_stop(resting: bool) -> None:
    """Together they sell twice what it holds, and can do no more than close it: beyond its bounds too."""
    room = Room()
    room.fill(room.place(100, strategy_id="s"))
    room.gate.close(room.gate._marks)
    room.place(100, side=SELL, strategy_id="s", reduce_only=resting)
    room.gate.mark("A", D(90))
    bounds = {"max_daily_loss": 500, "max_position_quantity": 10, "max_position_notional": 10, "max_gross_exposure": 10}
    for name, bound in (bounds | {"max_net_exposure": 10}).items():
        room.limit(name, bound, strategy_id="s")
    assert room.asks(100, side=SELL, strategy_id="s", reduce_only=not resting).refusal is None
    assert room.asks(100, side=SELL, strategy_id="s", reduce_only=True).refusal is None


@SIDES
def test_a_strategy_goes_through_zero_by_what_others_hold_and_its_limits_judge_that(side: Side) -> None:
    """The venue cuts what only closes to the portfolio's position, and nobody to what its strategy made of it."""
    room = held(side, 200, strategy_id="t")
    room.limit("max_position_quantity", 50, strategy_id="s")
    room.fill(room.place(50, side=OTHER[side], strategy_id="s"))
    first = room.place(50, side=side, strategy_id="s", reduce_only=True)
    sleeve = room.gate.funds["p"].sleeves["s"].holdings["A"]
    assert sleeve.extreme(side) == 0
    terms = {"side": side, "strategy_id": "s"}
    assert figures(room.asks(200, **terms, reduce_only=True).refusal) == ("max_position_quantity", D(50), D(200))
    assert figures(room.asks(51, **terms, reduce_only=True).refusal) == ("max_position_quantity", D(50), D(51))
    assert figures(room.asks(51, **terms).refusal) == ("max_position_quantity", D(50), D(51))
    last = room.place(50, **terms, reduce_only=True)
    assert room.asks(200, side=side, strategy_id="t", reduce_only=True).refusal is None
    for each in (first, last):
        room.fill(each)
    assert abs(sleeve.quantity) == sleeve.extreme(side) == 50


def test_a_sale_that_only_closes_and_one_that_says_so_are_alike_to_a_strategys_limits() -> None:
    room = held(SELL, 100, strategy_id="t")
    room.limit("max_position_quantity", 30, strategy_id="s")
    for reducing in (False, True):
        terms = {"side": SELL, "strategy_id": "s", "reduce_only": reducing}
        assert figures(room.asks(31, **terms).refusal) == ("max_position_quantity", D(30), D(31))
        assert room.asks(30, **terms).refusal is None


def test_a_strategys_part_is_bounded_by_what_the_portfolio_holds_at_any_time() -> None:
    """What another strategy trades moves where its orders that only close end."""
    room = held(SELL, 50, strategy_id="s")
    room.place(80, side=SELL, strategy_id="s", reduce_only=True)
    sleeve = room.gate.funds["p"].sleeves["s"].holdings["A"]
    assert sleeve.extreme(SELL) == 0
    room.fill(room.place(20, strategy_id="t"))
    assert sleeve.extreme(SELL) == 20
    room.fill(room.place(70, side=SELL))
    assert sleeve.reach(SELL) == -50, "nothing is left to close"


def test_closing_a_hedge_asks_no_limit_of_net_exposure_whatever_closes_elsewhere() -> None:
    room = held(SELL, 100)
    room.fill(room.place(100, "A", "q", side=SELL))
    room.fill(room.place(2, "B", "q"))
    room.place(1, "B", "q", side=SELL)
    room.limit("max_net_exposure", 5000)
    for terms in ({"reduce_only": True}, {}):
        assert room.asks(100, side=SELL, **terms).refusal is None
    assert figures(room.asks(100, "A", "q", side=SELL).refusal) == ("max_net_exposure", D(5000), D(9980))


def test_net_exposure_counts_of_a_way_out_all_that_it_leads_to_where_another_opens_for_it() -> None:
    """Beside a hundred short ninety bought stay ten short; once fifty are covered first they open forty."""
    room = held(Side.BUY, 100)
    room.place(90)
    room.limit("max_net_exposure", 3999)
    assert figures(room.asks(50, reduce_only=True).refusal) == ("max_net_exposure", D(3999), D(4000))
    assert room.asks(10, reduce_only=True).refusal is None
    room.limit("max_net_exposure", 4000)
    assert room.asks(50, reduce_only=True).refusal is None


def test_net_exposure_counts_a_hedge_that_a_way_out_ends_where_another_opens_for_it() -> None:
    """Sixty short are hedged by a hundred; once those are sold, a sale of fifty that they covered opens them too."""
    room = Room()
    room.limit("short_sale", 1)
    room.place(50, side=SELL)
    room.fill(room.place(100))
    room.gate.mark("B", D(100))
    room.fill(room.place(60, "B", side=SELL))
    room.limit("max_net_exposure", 6000)
    for terms in ({"reduce_only": True}, {}):
        assert figures(room.asks(100, side=SELL, **terms).refusal) == ("max_net_exposure", D(6000), D(11000))


@pytest.mark.parametrize("name", ["restricted", "short_sale"])
def test_a_sale_that_only_closes_is_refused_where_another_would_open_for_it(name: str) -> None:
    """As the equal reduce-only one: the fifty that it closes are what a sale beside it would have closed."""
    room = Room()
    room.limit("short_sale", 1)
    opening = room.place(50, side=SELL)
    room.fill(room.place(100))
    room.place(50, side=SELL, reduce_only=True)
    room.limit(name, 1 if name == "restricted" else 0, symbol="A")
    for reducing in (False, True):
        refusal = room.asks(50, side=SELL, reduce_only=reducing).refusal
        assert refusal is not None
        assert refusal.limit == name
    room.gate.engage(KillScope(), allow_reducing=True)
    assert room.asks(50, side=SELL).refusal == refusal, "the switch lets it pass, which itself only reduces"
    room.tell(ExecType.CANCELED, opening._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))
    for reducing in (False, True):
        assert room.asks(50, side=SELL, reduce_only=reducing).refusal is None


@SIDES
def test_new_terms_ask_only_for_what_they_close_beyond_what_is_counted(side: Side) -> None:
    """Beside one that would open: another price, or fewer units, makes nothing worse."""
    room = held(side, 50)
    stop = room.place(40, side=side, reduce_only=True)
    room.place(60, side=side)
    room.limit("restricted", 1, symbol="A")
    for units in (None, 40, 30):
        assert replaced(room, stop, units).refusal is None
    refusal = replaced(room, stop, 41).refusal
    assert refusal is not None
    assert refusal.limit == "restricted"


def test_new_terms_of_a_sale_that_only_closes_ask_no_more_either() -> None:
    room = Room()
    room.limit("short_sale", 1)
    room.place(60, side=SELL)
    room.fill(room.place(100))
    target = room.place(40, side=SELL)
    room.place(10, side=SELL, reduce_only=True)
    assert not target.reservation.cash
    room.limit("restricted", 1, symbol="A")
    for units in (None, 40, 30):
        assert replaced(room, target, units).refusal is None
    assert replaced(room, target, 41).refusal is not None


@SIDES
def test_new_terms_of_one_of_a_pair_ask_only_for_what_the_pair_is_not_counted_for(side: Side) -> None:
    room = held(side, 50)
    legs = []
    for order in listed(ContingencyType.OCO, [room.order(40, side=side, reduce_only=True) for _ in range(2)]):
        verdict = room.check(order)
        assert verdict.reservation is not None
        legs.append(order._replace(reservation=verdict.reservation, state=OrderState.NEW, leaves_quantity=D(40)))
        room.tell(ExecType.NEW, legs[-1])
    room.place(60, side=side)
    worst = room.gate.funds["p"].holdings["A"].extreme(side)
    room.limit("restricted", 1, symbol="A")
    for leg in legs:
        assert replaced(room, leg).refusal is None
        assert room.gate.funds["p"].holdings["A"].extreme(side) == worst


def test_new_terms_of_a_cover_take_no_more_collateral_than_it_does() -> None:
    """The collateral that pays for another buy is gone for that already, and all other cash with it."""
    room = held(Side.BUY, 40)
    cover = room.place(30, reduce_only=True)
    room.place(20)
    room.gate.funds["p"].cash -= room.gate.funds["p"].spendable + Decimal(1)
    assert replaced(room, cover).refusal is None
    refusal = replaced(room, cover, 31).refusal
    assert refusal is not None
    assert refusal.limit == "buying_power"
