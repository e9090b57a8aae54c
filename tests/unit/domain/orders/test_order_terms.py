"""What an order of each type states, and what may be replaced. The numbers are the behaviour's rules."""

from decimal import Decimal

import pytest

from services.domain.backtest.plans import DeploymentPlan, order_from
from services.domain.deployment.commands import NewOrder
from services.domain.deployment.context import Context
from services.domain.deployment.holdings import Holdings
from services.domain.deployment.parameters import parameters_from
from services.domain.orders.order import CancelReason, Order, OrderState, OrderType, Reservation, Side, TimeInForce
from services.domain.orders.replacing import keeps_priority, needs_check, replaced
from services.domain.orders.shape import check_shape
from services.domain.strategies import SmaCross
from services.domain.tape import Kind, merge
from services.domain.venue.matching import MARKET_CLOSED, CannotReplace, Replacement, Venue
from services.domain.venue.offers.fills import fill
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, bars, order, series

FLAT = (100, 100, 100, 100, 100)
LIMIT = order(1, "B", "L", 10, 95)


@pytest.mark.parametrize(
    "good",
    [
        order(1, "B", "M"),
        LIMIT._replace(post_only=True, display_quantity=Decimal(2), reduce_only=True),
        LIMIT._replace(time_in_force=TimeInForce.GTD, expire_time=1, post_only=True),
        order(1, "S", "SL", 10, 95, limit_price=Decimal(94)),
        order(1, "B", "LIT", 0, 95, limit_price=Decimal(94), cash_quantity=Decimal(1000)),
        order(1, "B", "MIT", 10, 95, time_in_force=TimeInForce.FOK),
        order(1, "S", "S", 10, 95, time_in_force=TimeInForce.CLS),
        order(1, "S", "TS", 10, 5, time_in_force=TimeInForce.IOC),
        order(1, "S", "TS", 10, 5, trailing_amount=None, trailing_percent=Decimal("99.9")),
    ],
)
def test_rule_6_orders_that_the_contract_lets_through(good: Order) -> None:
    check_shape(good)


@pytest.mark.parametrize(
    "bad",
    [
        LIMIT._replace(stop_price=Decimal(95)),
        LIMIT._replace(trailing_amount=Decimal(1)),
        LIMIT._replace(expire_time=1),
        LIMIT._replace(time_in_force=TimeInForce.GTD),
        LIMIT._replace(post_only=True, time_in_force=TimeInForce.IOC),
        LIMIT._replace(display_quantity=Decimal(10)),
        LIMIT._replace(display_quantity=Decimal(0)),
        LIMIT._replace(quantity=Decimal(0), cash_quantity=Decimal(900), display_quantity=Decimal(1)),
        LIMIT._replace(quantity=Decimal(0), cash_quantity=Decimal(900), reduce_only=True),
        LIMIT._replace(quantity=Decimal(0), cash_quantity=Decimal(900), time_in_force=TimeInForce.FOK),
        order(1, "B", "M")._replace(post_only=True),
        order(1, "B", "M")._replace(display_quantity=Decimal(1)),
        order(1, "S", "SL", 10, 95),
        order(1, "S", "SL", 10, limit_price=Decimal(94)),
        order(1, "S", "TS"),
        order(1, "S", "TS", 10, 5, trailing_percent=Decimal(1)),
        order(1, "S", "TS", 10, 0),
        order(1, "S", "TS", 10, 5, time_in_force=TimeInForce.OPG),
        order(1, "S", "TS", 10, 5, time_in_force=TimeInForce.CLS),
        order(1, "S", "TS", 10, 5, trailing_amount=None, trailing_percent=Decimal(100)),
        order(1, "S", "TS", 10, 5, stop_price=Decimal(95)),
        order(1, "S", "TS", 0, 5, cash_quantity=Decimal(900)),
    ],
)
def test_rule_6_orders_of_an_impossible_shape(bad: Order) -> None:
    with pytest.raises(ValueError, match="order"):
        check_shape(bad)


PART = LIMIT._replace(
    state=OrderState.PARTIALLY_FILLED,
    cum_quantity=Decimal(4),
    leaves_quantity=Decimal(6),
    reservation=Reservation(Decimal(950), Decimal(10)),
)


SPENT = order(1, "B", "L", 0, 95, cash_quantity=Decimal(1000))._replace(
    state=OrderState.PARTIALLY_FILLED,
    quantity=Decimal(10),
    cum_quantity=Decimal(4),
    leaves_quantity=Decimal(6),
    gross_amount=Decimal(400),
    reservation=Reservation(Decimal(1000), Decimal(10)),
)


def test_rule_12_an_order_by_cash_states_the_new_cash_and_is_sized_by_it_at_its_next_fill() -> None:
    less, more = (replaced(SPENT, Replacement(cash_quantity=Decimal(cash))) for cash in (600, 1500))
    assert (less.reservation.cash, less.reservation.quantity) == (600, 6)
    assert (keeps_priority(SPENT, less), needs_check(SPENT, less)) == (True, False)
    assert (keeps_priority(SPENT, more), needs_check(SPENT, more)) == (False, True)
    filled = fill(less, Decimal(50), INSTRUMENTS["BBB"], units=None, headroom=Decimal(0))
    assert (filled.quantity, filled.order.state, filled.order.gross_amount) == (4, OrderState.FILLED, 600)


def test_rule_7_a_replacement_states_the_new_total_and_each_unit_keeps_what_it_reserved() -> None:
    after = replaced(PART, Replacement(quantity=Decimal(8)))
    assert (after.quantity, after.cum_quantity, after.leaves_quantity) == (8, 4, 4)
    assert (after.reservation.cash, after.reservation.quantity) == (760, 8)


def test_rule_4_a_replacement_that_was_checked_reserves_what_the_check_said() -> None:
    verdict = Reservation(Decimal(1200), Decimal(12), Decimal(7))
    assert replaced(PART, Replacement(quantity=Decimal(12)), verdict).reservation == verdict


@pytest.mark.parametrize(
    ("before", "terms", "reason", "field"),
    [
        (PART, Replacement(quantity=Decimal(4)), "QUANTITY_BELOW_FILLED", ""),
        (PART, Replacement(quantity=Decimal(1)), "QUANTITY_BELOW_FILLED", ""),
        (PART, Replacement(cash_quantity=Decimal(900)), "INVALID_ARGUMENT", "cash_quantity"),
        (SPENT, Replacement(cash_quantity=Decimal(400)), "QUANTITY_BELOW_FILLED", ""),
        (SPENT._replace(order_list_id="env-1"), Replacement(cash_quantity=Decimal(900)), "LIST_QUANTITY_FIXED", ""),
        (LIMIT, Replacement(stop_price=Decimal(90)), "INVALID_ARGUMENT", "stop_price"),
        (LIMIT, Replacement(display_quantity=Decimal(10)), "INVALID_ARGUMENT", "display_quantity"),
        (
            LIMIT._replace(display_quantity=Decimal(5)),
            Replacement(quantity=Decimal(5), limit_price=Decimal(94)),
            "INVALID_ARGUMENT",
            "quantity",
        ),
        (LIMIT, Replacement(expire_time=5), "INVALID_ARGUMENT", "expire_time"),
        (LIMIT, Replacement(trailing_amount=Decimal(1)), "INVALID_ARGUMENT", "trailing_amount"),
        (LIMIT, Replacement(trailing_percent=Decimal(1)), "INVALID_ARGUMENT", "trailing_percent"),
        (order(1, "B", "M"), Replacement(limit_price=Decimal(90)), "INVALID_ARGUMENT", "limit_price"),
        (
            order(1, "B", "M", 0, cash_quantity=Decimal(9)),
            Replacement(quantity=Decimal(1)),
            "INVALID_ARGUMENT",
            "quantity",
        ),
        (
            order(1, "S", "TS", 10, 5),
            Replacement(trailing_amount=Decimal(1), trailing_percent=Decimal(1)),
            "INVALID_ARGUMENT",
            "trailing_amount",
        ),
        (order(1, "S", "TS", 10, 5), Replacement(stop_price=Decimal(1)), "INVALID_ARGUMENT", "stop_price"),
        (
            order(1, "S", "S", 10, 95)._replace(state=OrderState.TRIGGERED),
            Replacement(stop_price=Decimal(90)),
            "ORDER_TRIGGERED",
            "",
        ),
    ],
)
def test_rule_7_what_cannot_be_replaced(before: Order, terms: Replacement, reason: str, field: str) -> None:
    with pytest.raises(CannotReplace) as refused:
        replaced(before, terms)
    assert (refused.value.reason, refused.value.field) == (reason, field)


@pytest.mark.parametrize("reduce_only", [False, True])
def test_rule_4_more_units_or_another_price_are_asked_about_and_fewer_units_are_not(reduce_only: bool) -> None:
    before = PART._replace(reduce_only=reduce_only)
    for terms, asked in (
        (Replacement(quantity=Decimal(11)), True),
        (Replacement(limit_price=Decimal(94)), True),
        (Replacement(limit_price=Decimal(96)), True),
        (Replacement(quantity=Decimal(9)), False),
        (Replacement(quantity=Decimal(10), limit_price=Decimal(95)), False),
    ):
        assert needs_check(before, replaced(before, terms)) is asked, terms


def test_rule_8_a_trailing_stop_may_go_on_by_a_percentage() -> None:
    after = replaced(order(1, "S", "TS", 10, 5), Replacement(trailing_percent=Decimal(2)))
    assert (after.trailing_amount, after.trailing_percent) == (None, 2)


def test_rule_19_a_replacement_moves_the_headroom_by_what_it_frees_or_to_what_the_check_found() -> None:
    venue = Venue(INSTRUMENTS)
    venue.prime(merge([bars([FLAT])]), 1)
    venue.accept(LIMIT._replace(reservation=Reservation(Decimal(950), Decimal(10), Decimal(50))), 1, 1)
    (fewer,) = venue.replace("env-1", Replacement(quantity=Decimal(6)), 1, 1)
    assert (fewer.order.reservation.cash, fewer.order.reservation.headroom) == (570, 430)
    verdict = Reservation(Decimal(960), Decimal(10), Decimal(40))
    (more,) = venue.replace("env-1", Replacement(quantity=Decimal(10)), 1, 1, verdict)
    assert more.order.reservation == verdict
    assert venue.headroom == {"P": 40}
    assert venue.cancel("env-1", 1, 1)[0].order.reservation.headroom == 1000
    assert venue.replace("env-1", Replacement(quantity=Decimal(9)), 1, 1) == []


def test_rule_15_an_instrument_without_sessions_has_no_auctions() -> None:
    venue = Venue(INSTRUMENTS)
    venue.prime(merge([bars([FLAT])]), 1)
    for number, tif in enumerate((TimeInForce.OPG, TimeInForce.CLS)):
        (event,) = venue.accept(order(number, "B", "M", time_in_force=tif), 1, 1)
        assert event.order.state is OrderState.REJECTED
        assert event.order.refusal is not None
        assert event.order.refusal.reason == MARKET_CLOSED


def test_rule_19_covering_a_short_needs_no_cash_beyond_its_collateral() -> None:
    """A reduce-only buy reserves nothing: what the short holds pays for it, and is no headroom."""
    tape = merge([bars([FLAT, (150, 150, 150, 150, 1000)])])
    venue = Venue(INSTRUMENTS)
    venue.prime(tape, 1)
    short = ("P", "BBB")
    venue.restore([], {"P": Decimal(7)}, {short: Decimal(-10)}, {short: Decimal(1500)})
    cover = order(1, "B", "M", 10, reduce_only=True, reservation=Reservation(headroom=Decimal(7)), basis_sequence=1)
    venue.accept(cover, 1, 1)
    _, events = venue.advance(tape, 1, 2)
    assert (events[0].last_quantity, events[0].last_price, events[0].order.state) == (10, 150, OrderState.FILLED)
    assert (venue.headroom, venue.positions) == ({"P": 7}, {})


def test_rule_2_restored_orders_keep_their_places_in_the_queue() -> None:
    tape = merge([bars([FLAT, (100, 101, 94, 95, 60)])])
    venue = Venue(INSTRUMENTS)
    venue.prime(tape, 1)
    for number in (1, 2):
        venue.accept(order(number, "B", "L", 5, 95, basis_sequence=1), 1, 1)
    venue.replace("env-1", Replacement(limit_price=Decimal(96)), 1, 1)
    venue.replace("env-1", Replacement(limit_price=Decimal(95)), 1, 1)
    fresh = Venue(INSTRUMENTS)
    fresh.restore(sorted(venue.open_orders(), key=lambda each: each.order_id), venue.headroom, venue.positions)
    fresh.prime(tape, 1)
    assert [each.order_id for each in fresh.open_orders()] == ["env-2", "env-1"]
    assert fresh.advance(tape, 1, 2) == venue.advance(tape, 1, 2)


def test_rule_20_positions_pass_splits_that_no_order_waits_for() -> None:
    split = series(Kind.SPLIT, "BBB", [(1, 1, (1, 3))])
    tape = merge([split, series(Kind.QUOTE, "BBB", [(2, 2, (99, 100))])])
    venue = Venue(INSTRUMENTS)
    venue.prime(tape, 0)
    venue.restore([], {}, {("P", "BBB"): Decimal(10), ("Q", "BBB"): Decimal(-10), ("P", "AAA"): Decimal(1)})
    venue.advance(tape, 0, 2)
    assert venue.positions == {("P", "BBB"): 3, ("Q", "BBB"): -3, ("P", "AAA"): 1}


def test_rule_13_a_strategy_may_ask_for_all_of_it() -> None:
    context = Context(1, Holdings())
    context.at(7, 9)
    wanted = {
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTD,
        "limit_price": Decimal(95),
        "expire_time": 1_000,
        "post_only": True,
        "reduce_only": True,
        "display_quantity": Decimal(2),
    }
    context.buy("BBB", Decimal(10), **wanted)
    context.sell("BBB", Decimal(10), order_type=OrderType.TRAILING_STOP, trailing_percent=Decimal(2))
    context.sell("BBB", Decimal(10), order_type=OrderType.TRAILING_STOP, trailing_amount=Decimal(3))
    strategy = SmaCross(parameters_from(SmaCross.Parameters, {"fast": 2, "slow": 3, "quantity": 1}), ["BBB"])
    plan = DeploymentPlan(1, "d", "s", strategy, "P")
    made = []
    for command in context.commands:
        assert isinstance(command, NewOrder)
        made.append(order_from(command, plan, "o"))
        check_shape(made[-1])
    assert {name: getattr(made[0], name) for name in wanted} == wanted
    assert (made[0].trail_price, made[0].priority, made[0].side) == (None, 0, Side.BUY)
    assert (made[1].trailing_percent, made[2].trailing_amount) == (2, 3)
    assert made[0].cancel_reason is CancelReason.NONE


@pytest.mark.parametrize("reduce_only", [False, True])
def test_rule_11_a_million_slices_are_few_fills(reduce_only: bool) -> None:
    tape = merge([bars([FLAT, (100, 101, 94, 95, 90_000_000)])])
    venue, many = Venue(INSTRUMENTS), 1_000_000
    venue.prime(tape, 1)
    venue.restore([], {}, {("P", "BBB"): Decimal(-4 * many)})
    for number, shown in ((1, 1), (2, 3), (3, 7)):
        slices = order(number, "B", "L", many + number, 95, display_quantity=Decimal(shown), reduce_only=reduce_only)
        venue.accept(slices._replace(basis_sequence=1), 1, 1)
    _, events = venue.advance(tape, 1, 2)
    assert len(events) < 20
    assert venue.open_orders() == []
    assert venue.positions == {("P", "BBB"): -many + 6}
