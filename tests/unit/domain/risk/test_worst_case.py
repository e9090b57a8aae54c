"""The worst that open orders can lead to: those that only close fill first, the others go on from there (rule 4)."""

from decimal import Decimal
from typing import Any

import pytest

from services.domain.money import ZERO
from services.domain.orders.claim import Claim, together
from services.domain.orders.lists import listed
from services.domain.orders.order import ContingencyType, ExecType, Order, OrderState, Refusal, Side
from services.domain.risk.limits import KillScope
from services.domain.risk.preview import preview
from tests.unit.domain.risk.room import INSTRUMENTS, PRICES, D, Room

OTHER = {Side.BUY: Side.SELL, Side.SELL: Side.BUY}
SIDES = pytest.mark.parametrize("side", list(Side))


def held(side: Side, units: int = 40, **terms: Any) -> Room:
    """A room whose portfolio p holds what an order of ``side`` closes."""
    room = Room()
    room.limit("short_sale", 1)
    room.fill(room.place(units, side=OTHER[side], **terms))
    return room


def figures(refusal: Refusal | None) -> tuple[str, Decimal, Decimal] | None:
    return None if refusal is None else (refusal.limit, refusal.bound, refusal.value)


# By name the bound at which 90 more units than 40 of the other side just pass, and what they come to after those.
BOUNDS = {
    "max_position_quantity": ("50", "90"),
    "max_position_notional": ("5000", "9000"),
    "max_gross_exposure": ("5000", "9000"),
    "max_net_exposure": ("5000", "9000"),
    "max_leverage": ("0.025", "0.045"),
    "max_concentration": ("0.025", "0.045"),
}


@SIDES
@pytest.mark.parametrize("name", BOUNDS)
def test_rule_4_a_plain_order_and_one_that_closes_before_it_pass_alone_but_not_together(name: str, side: Side) -> None:
    bound, value = BOUNDS[name]
    room = held(side)
    room.limit(name, bound)
    assert room.asks(40, side=side, reduce_only=True).refusal is None
    plain = room.place(90, side=side)
    assert figures(room.asks(40, side=side, reduce_only=True).refusal) == (name, D(bound), D(value))
    assert figures(room.asks(1, side=side, reduce_only=True).refusal) is not None
    room.tell(ExecType.CANCELED, plain._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))
    room.place(40, side=side, reduce_only=True)
    assert figures(room.asks(90, side=side).refusal) == (name, D(bound), D(value))
    assert room.asks(50, side=side).refusal is None


@SIDES
def test_one_that_makes_the_worst_no_worse_passes_beyond_the_bound(side: Side) -> None:
    room = held(side)
    room.place(90, side=side)
    room.place(40, side=side, reduce_only=True)
    room.limit("max_position_quantity", 1)
    assert room.asks(1000, side=side, reduce_only=True).refusal is None, "nothing is left that it may close"
    assert room.asks(1, side=OTHER[side], reduce_only=True).refusal is None


@SIDES
@pytest.mark.parametrize("name", ["restricted", "max_daily_loss", "max_drawdown", "short_sale"])
def test_what_reduces_passes_a_stop_unless_another_would_open_for_it(name: str, side: Side) -> None:
    room = held(side)
    waits = room.place(50 if side is Side.SELL else 40, side=side)
    room.gate.point("p", room.gate._marks)
    room.gate.mark("A", D(99 if side is Side.SELL else 101))
    room.limit(name, 1 if name == "restricted" else 0, **({"symbol": "A"} if name == "restricted" else {}))
    verdict = room.asks(30, side=side, reduce_only=True)
    if name == "short_sale" and side is Side.BUY:
        assert verdict.refusal is None
        return
    assert verdict.refusal is not None
    assert verdict.refusal.limit == name
    room.tell(ExecType.CANCELED, waits._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))
    assert room.asks(30, side=side, reduce_only=True).refusal is None


@SIDES
def test_a_way_out_asks_no_limit_of_net_exposure_where_no_other_order_is_open(side: Side) -> None:
    """What is short of one symbol hedges what is long of the other: whoever covers it goes beyond the bound.

    A sale of what is held can only close. A buy to cover can open what another covers first, unless it says so.
    """
    room = held(side)
    room.gate.mark("B", D(100))
    room.fill(room.place(60, "B", side=side))
    room.limit("max_net_exposure", 3000)
    refused = ("max_net_exposure", D(3000), D(6000)) if side is Side.BUY else None
    assert figures(room.asks(40, side=side).refusal) == refused
    room.place(40, side=side, reduce_only=True)
    assert figures(room.asks(1, "B", side=side).refusal) == ("max_net_exposure", D(3000), D(6100))


def test_of_two_of_which_one_can_fill_one_that_opens_counts_as_it() -> None:
    opening = Claim("p", "A", D(-40), D(2000), ZERO, True, "l")
    closing = opening._replace(cash=ZERO, closing=D(-40))
    assert together([opening, closing]) == together([opening, opening])
    assert together([closing, closing]) == closing


@SIDES
def test_rule_5_a_kill_switch_that_lets_orders_reduce_asks_for_no_more(side: Side) -> None:
    room = held(side)
    room.place(60, side=side, strategy_id="t")
    room.gate.engage(KillScope(strategy_id="s"), allow_reducing=True)
    assert room.asks(40, side=side, strategy_id="s", reduce_only=True).refusal is None


def test_a_sale_that_only_closes_opens_nothing_whatever_fills_before_it() -> None:
    room = held(Side.SELL)
    room.limit("max_position_quantity", 40)
    for name in ("max_gross_exposure", "max_position_notional"):
        room.limit(name, 4000)
    room.place(40, side=Side.SELL, reduce_only=True)
    sale = room.place(40, side=Side.SELL)
    assert not sale.reservation.cash
    assert room.asks(40, side=Side.SELL, reduce_only=True).refusal is None
    assert room.gate.funds["p"].holdings["A"].worst == 40
    assert room.asks(1, side=Side.SELL).refusal is None
    assert figures(room.asks(41, side=Side.SELL).refusal) == ("max_position_quantity", D(40), D(41))


def test_of_two_sales_the_one_that_only_closes_counts_before_one_that_opens() -> None:
    room = held(Side.SELL)
    room.place(50, side=Side.SELL)
    room.fill(room.place(30))
    room.limit("max_position_quantity", 50)
    assert room.gate.funds["p"].holdings["A"].extreme(Side.SELL) == 0
    room.place(10, side=Side.SELL, reduce_only=True)
    assert room.asks(20, side=Side.SELL).refusal is None
    room.limit("max_position_quantity", 9)
    assert room.asks(19, side=Side.SELL, reduce_only=True).refusal is None
    assert figures(room.asks(20, side=Side.SELL, reduce_only=True).refusal) == ("max_position_quantity", D(9), D(10))
    assert figures(room.asks(20, side=Side.SELL).refusal) == ("max_position_quantity", D(9), D(10))


def test_rule_4_an_order_that_opens_counts_what_closes_another_symbol_and_not_the_other_way_round() -> None:
    """Ninety bought beside forty short are fifty long, until the forty are covered."""
    room = held(Side.BUY)
    room.gate.mark("B", D(100))
    room.limit("max_net_exposure", 5000)
    room.place(90, "B")
    way_out = room.place(40, reduce_only=True)
    assert figures(room.asks(1, "B").refusal) == ("max_net_exposure", D(5000), D(9100))
    room.tell(ExecType.CANCELED, way_out._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))
    room.gate.delete_limit("max_net_exposure")
    room.place(39)
    room.limit("max_net_exposure", 5000)
    assert figures(room.asks(40, reduce_only=True).refusal) == ("max_net_exposure", D(5000), D(12900))


def bracket(room: Room, units: int, side: Side) -> list[Order]:
    """An entry of ``side``, and two exits that wait for it; all of them pass."""
    prices = [D(100), D(110), D(90)]
    if side is Side.SELL:
        prices[1:] = prices[:0:-1]
    orders = [room.order(units if not place else 0, side=side if not place else OTHER[side]) for place in range(3)]
    made = []
    for order, price in zip(listed(ContingencyType.BRACKET, orders), prices, strict=True):
        verdict = room.check(order._replace(limit_price=price))
        assert verdict.reservation is not None, verdict.refusal
        state = OrderState.HELD if order.parent_order_id else OrderState.NEW
        terms = {"reservation": verdict.reservation, "state": state, "leaves_quantity": order.quantity}
        made.append(order._replace(**terms))
        room.tell(ExecType.NEW, made[-1])
    return made


@SIDES
def test_rule_13_exits_that_wait_for_their_entry_close_no_more_than_it_brings(side: Side) -> None:
    room = held(side)
    room.limit("max_position_quantity", 50)
    room.place(90, side=side)
    holding = room.gate.funds["p"].holdings["A"]
    entry, *exits = bracket(room, 10, OTHER[side])
    assert holding.extreme(side) == 50
    room.fill(entry, D(4))
    for each in exits:
        room.tell(ExecType.NEW, each._replace(state=OrderState.NEW, quantity=D(4), leaves_quantity=D(4)))
    assert holding.extreme(side) == 50
    assert room.asks(1, side=side).refusal is not None
    assert room.asks(1, side=side, reduce_only=True).refusal is not None


@SIDES
def test_new_terms_of_one_that_only_closes_count_as_an_order_would(side: Side) -> None:
    room = held(side)
    room.limit("max_position_quantity", 60)
    closing = room.place(10, side=side, reduce_only=True)
    room.place(90, side=side)
    wider = closing._replace(quantity=D(11), leaves_quantity=D(11))
    refusal = room.gate.check_replacement(wider, INSTRUMENTS["A"], PRICES["A"], 0).refusal
    assert figures(refusal) == ("max_position_quantity", D(60), D(61))
    room.limit("max_position_quantity", 61)
    verdict = room.gate.check_replacement(wider, INSTRUMENTS["A"], PRICES["A"], 0)
    assert verdict.reservation is not None
    assert figures(room.asks(1, side=side).refusal) == ("max_position_quantity", D(61), D(62))
    room.gate.drop_unconfirmed([closing.order_id])
    assert room.asks(1, side=side).refusal is None
    less = closing._replace(quantity=D(5), leaves_quantity=D(5))
    verdict = room.gate.check_replacement(less, INSTRUMENTS["A"], PRICES["A"], 0)
    assert verdict.reservation is not None
    assert room.asks(2, side=side).refusal is not None, "until an event says so it may trade ten"
    room.tell(ExecType.REPLACED, less._replace(reservation=verdict.reservation))
    assert room.asks(6, side=side).refusal is None


@SIDES
def test_a_preview_says_how_much_may_close_beside_one_that_opens(side: Side) -> None:
    room = held(side)
    room.limit("max_position_quantity", 60)
    room.place(90, side=side)
    order = room.order(1, side=side, reduce_only=True)
    seen = preview(room.gate, order, INSTRUMENTS["A"], PRICES["A"], 0)
    assert (seen.largest, figures(seen.beyond)) == (10, ("max_position_quantity", D(60), D(61)))


def test_what_the_portfolio_holds_does_not_close_what_a_strategy_sells() -> None:
    """The venue cuts a sale to the portfolio's position, and nobody to what its strategy made of it."""
    room = held(Side.SELL, 100)
    room.limit("max_position_quantity", 30, strategy_id="s")
    sale = room.place(30, side=Side.SELL, strategy_id="s")
    assert not sale.reservation.cash
    assert figures(room.asks(1, side=Side.SELL, strategy_id="s").refusal) == ("max_position_quantity", D(30), D(31))
    room.fill(sale)
    assert room.gate.funds["p"].sleeves["s"].holdings["A"].quantity == -30
