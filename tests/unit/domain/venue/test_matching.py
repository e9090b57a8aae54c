"""The paper venue as an object: what its events hold, and what it refuses. What fills is in `test_fill_semantics`."""

from decimal import Decimal

import pytest

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.lifecycle import IllegalTransition
from services.domain.orders.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    Refusal,
    Reservation,
    Side,
    TimeInForce,
    reserved_cash,
)
from services.domain.tape import Kind, Tape, merge
from services.domain.venue.matching import MARKET_CLOSED, Venue
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, Command, bars, drive, order, series

FLAT = (100, 100, 100, 100, 100_000)
UNLIMITED = VenueSettings(volume_share=None)


def fills(events: list[OrderEvent]) -> list[tuple[int, str, Decimal, Decimal]]:
    """(bar counted from 0, side, quantity, price), as the reference data writes them."""
    return [
        (e.tape_sequence - 1, e.order.side.name[0], e.last_quantity, e.last_price)
        for e in events
        if e.exec_type is ExecType.TRADE
    ]


def run(tape: Tape, *commands: tuple[int, Order], settings: VenueSettings = UNLIMITED) -> list[OrderEvent]:
    return drive(Venue(INSTRUMENTS, settings), tape, [Command(position, sent) for position, sent in commands])


def steps(events: list[OrderEvent]) -> list[str]:
    return [e.exec_type.name for e in events]


def test_rule_15_holding_day_orders_is_a_setting() -> None:
    clock = series(Kind.CLOCK, "XNYS", [(10, 10, (1.0,)), (20, 20, (0.0,))])
    settings = VenueSettings(volume_share=None, hold_day_orders=False)
    sent = order(1, "B", "M", symbol="AAA", time_in_force=TimeInForce.DAY)
    (event,) = run(merge([clock]), (2, sent), settings=settings)
    assert event.order.state is OrderState.REJECTED
    assert event.order.refusal == Refusal(MARKET_CLOSED, "session", Decimal(0), Decimal(0))


@pytest.mark.parametrize(("new", "old", "before", "after"), [(1, 3, 3, 1), (4, 3, 3, 4), (7, 3, 6, 14), (1, 7, 21, 3)])
def test_rule_20_a_split_in_thirds_loses_no_unit(new: int, old: int, before: int, after: int) -> None:
    split = series(Kind.SPLIT, "BBB", [(2, 2, (new, old))])
    sent = order(1, "B", "L", before, 42)._replace(reservation=Reservation(Decimal(before * 42), Decimal(before)))
    restated = run(merge([series(Kind.BAR, "BBB", [(0, 1, FLAT)], "1m"), split]), (1, sent))[1].order
    assert (restated.quantity, restated.limit_price) == (after, Decimal(42 * old) / new)
    assert restated.reservation.quantity == after


@pytest.mark.parametrize(
    ("first", "new", "old", "then"),
    [(10, 1, 3, [17]), (1, 1, 3, [20]), (2, 1, 7, [1, 3]), (5, 3, 2, [2, 9]), (7, 3, 7, [1, 1])],
)
def test_rule_20_units_bought_at_one_price_have_that_average_whatever_a_split_leaves_of_them(
    first: int, new: int, old: int, then: list[int]
) -> None:
    prices = (210.0, 210.0 * old / new)
    split = series(Kind.SPLIT, "BBB", [(2, 2, (new, old))])
    trades = [(1, 1, (prices[0], first)), *((n, n, (prices[1], size)) for n, size in enumerate(then, 3))]
    sent = order(1, "B", "M", 100)._replace(reservation=Reservation(Decimal(21_000), Decimal(100)))
    tape = merge([split, series(Kind.TRADE, "BBB", trades)])
    events = run(tape, (0, sent), settings=VenueSettings(volume_share=Decimal(1)))
    orders = [event.order for event in events if event.exec_type is ExecType.TRADE]
    assert len(orders) == 1 + len(then)
    assert {each.avg_price for each in orders[1:]} == {Decimal(str(prices[1]))}
    paid = sum((e.last_quantity * e.last_price for e in events), Decimal(0))
    assert orders[-1].gross_amount == paid
    # What splits left no unit of is the ledger's to close: the rest is what the units here had cost.
    assert paid - orders[-1].fraction_amount == orders[-1].cum_quantity * orders[-1].avg_price


def test_rule_20_a_split_that_leaves_nothing_of_what_had_filled_leaves_no_average() -> None:
    split = series(Kind.SPLIT, "BBB", [(2, 2, (1, 3))])
    tape = merge([split, series(Kind.TRADE, "BBB", [(1, 1, (100, 1))])])
    sent = order(1, "B", "M", 61)._replace(reservation=Reservation(Decimal(6100), Decimal(61)))
    after = run(tape, (0, sent), settings=VenueSettings(volume_share=Decimal(1)))[2].order
    assert (after.state, after.cum_quantity, after.avg_price) == (OrderState.PARTIALLY_FILLED, 0, 0)
    assert (after.gross_amount, after.fraction_amount) == (100, 100)


@pytest.mark.parametrize("by_cash", [False, True])
@pytest.mark.parametrize("quantity", range(7, 40, 4))
@pytest.mark.parametrize("filled", [0, 1, 2, 5])
@pytest.mark.parametrize(("new", "old"), [(1, 3), (3, 2), (2, 7), (7, 1), (1, 2)])
def test_rule_20_a_split_leaves_set_aside_what_is_set_aside(
    new: int, old: int, filled: int, quantity: int, by_cash: bool
) -> None:
    split = series(Kind.SPLIT, "BBB", [(2, 2, (new, old))])
    tape = merge([split, series(Kind.TRADE, "BBB", [(1, 1, (100, filled or 1))])])
    kind, price = ("M", None) if filled else ("L", 90)
    held = Reservation(Decimal(100 * quantity), Decimal(quantity))
    sent = order(1, "B", kind, quantity, price)._replace(reservation=held)
    if by_cash:
        sent = sent._replace(quantity=Decimal(0), cash_quantity=held.cash)
    *_, before, event, _ = run(tape, (0, sent), settings=VenueSettings(volume_share=Decimal(1)))
    assert event.exec_type is ExecType.RESTATED
    assert abs(reserved_cash(event.order) - 100 * (quantity - filled)) < Decimal("2e-9")
    released = reserved_cash(before.order) - reserved_cash(event.order)
    assert event.order.reservation.headroom == before.order.reservation.headroom + released


def test_rule_20_a_split_restates_open_orders() -> None:
    split = series(Kind.SPLIT, "BBB", [(2, 2, (7, 2))])
    after = series(Kind.BAR, "BBB", [(0, 1, FLAT), (2, 3, (28.0, 28.0, 27.0, 28.0, 100.0))], "1m")
    sent = order(1, "B", "L", 5, 98)._replace(reservation=Reservation(Decimal(490), Decimal(5), Decimal(0)))
    events = run(merge([split, after]), (1, sent))
    restated = events[1].order
    assert steps(events) == ["NEW", "RESTATED", "TRADE"]
    assert (restated.quantity, restated.leaves_quantity, restated.limit_price) == (Decimal("17.5"), Decimal("17.5"), 28)
    assert restated.reservation.quantity == Decimal("17.5")
    assert events[-1].last_price == 28


def test_rule_12_an_order_by_cash_is_sized_at_the_fill() -> None:
    tape = merge([bars([FLAT, (150, 150, 150, 150, 100)])])
    sent = order(1, "B", "M", 0, cash_quantity=Decimal(1000), reservation=Reservation(cash=Decimal(1000)))
    new, trade = run(tape, (1, sent))
    assert (new.order.quantity, new.order.leaves_quantity) == (0, 0)
    assert (trade.last_quantity, trade.last_price, trade.order.quantity) == (Decimal("6.5"), 150, Decimal("6.5"))
    assert trade.order.reservation.headroom == 25, "the rest of the reservation is free again"


def test_rules_11_and_12_an_order_by_cash_filled_in_parts_uses_the_cash_that_is_left() -> None:
    tape = merge([bars([FLAT, (100, 100, 100, 100, 40), (50, 50, 50, 50, 10_000)])])
    sent = order(1, "B", "M", 0, cash_quantity=Decimal(1000), reservation=Reservation(cash=Decimal(1000)))
    events = run(tape, (1, sent), settings=VenueSettings())
    assert [(e.last_quantity, e.order.quantity, e.order.leaves_quantity) for e in events[1:]] == [
        (4, 10, 6),
        (12, 16, 0),
    ]
    assert events[-1].order.gross_amount == 1000


def test_rule_19_a_market_buy_whose_open_jumped_is_cut_to_what_the_cash_affords() -> None:
    tape = merge([bars([FLAT, (130, 130, 130, 130, 100)])])
    sent = order(1, "B", "M", 10, reservation=Reservation(Decimal(1000), Decimal(10), Decimal(50)))
    events = run(tape, (1, sent))
    assert steps(events) == ["NEW", "TRADE", "CANCELED"]
    assert (events[1].last_quantity, events[1].last_price) == (8, 130)
    last = events[-1].order
    assert (last.leaves_quantity, last.cancel_reason) == (0, CancelReason.INSUFFICIENT_CASH)
    assert last.reservation.headroom == 1050 - 8 * 130


def test_rule_19_headroom_is_the_portfolio_s_so_one_order_s_gain_pays_for_the_next() -> None:
    """A sale's proceeds and a fill below what was reserved are there for the next fill of the same record."""
    tape = merge([bars([FLAT, FLAT, (110, 110, 110, 110, 1000)])])
    first = order(3, "B", "M", 1, reservation=Reservation(Decimal(100), Decimal(1), Decimal(0)))
    sale = order(1, "S", "M", 1, reservation=Reservation(quantity=Decimal(-1), headroom=Decimal(0)))
    buy = order(2, "B", "M", 11, reservation=Reservation(Decimal(1100), Decimal(11), Decimal(0)))
    held = (1, "B", 1, 100)
    assert fills(run(tape, (1, first), (2, sale), (2, buy))) == [held, (2, "S", 1, 110), (2, "B", 11, 110)]
    assert fills(run(tape, (1, first), (2, buy))) == [held, (2, "B", 10, 110)]


def test_rule_19_a_part_that_costs_more_than_its_share_ends_the_order_and_frees_the_rest() -> None:
    """Else the part would eat what is reserved for the rest, or for another order."""
    tape = merge([bars([FLAT, (130, 130, 130, 130, 50)])])
    sent = order(1, "B", "M", 10, reservation=Reservation(Decimal(1000), Decimal(10), Decimal(0)))
    events = run(tape, (1, sent), settings=VenueSettings())
    assert steps(events) == ["NEW", "TRADE", "CANCELED"]
    assert events[1].last_quantity == 5
    assert events[-1].order.reservation.headroom == 1000 - 5 * 130


def test_rule_19_the_proceeds_of_a_short_are_collateral() -> None:
    tape = merge([bars([FLAT, FLAT])])
    short = order(1, "S", "M", 10, reservation=Reservation(Decimal(500), Decimal(-10), Decimal(70)))
    assert run(tape, (1, short))[-1].order.reservation.headroom == 70, "and so is its margin"


def test_rule_6_an_order_is_accepted_once() -> None:
    venue = Venue(INSTRUMENTS, UNLIMITED)
    (event,) = venue.accept(order(1, "B", "M"), 0, 0)
    with pytest.raises(ValueError, match="here already"):
        venue.accept(order(1, "B", "M"), 0, 0)
    with pytest.raises(IllegalTransition):
        venue.accept(event.order._replace(order_id="env-2"), 0, 0)
    with pytest.raises(IllegalTransition):
        venue.refuse(event.order, Refusal("X", "x", Decimal(0), Decimal(0)), 0, 0)
    assert [o.order_id for o in venue.open_orders()] == ["env-1"]


@pytest.mark.parametrize(
    "bad",
    [
        order(1, "B", "M", 0),
        order(1, "B", "M", 10, cash_quantity=Decimal(5)),
        order(1, "B", "L", 10, 95)._replace(limit_price=None),
        order(1, "B", "M")._replace(limit_price=Decimal(95)),
        order(1, "B", "S", 10, 95)._replace(stop_price=None),
    ],
)
def test_rule_6_an_order_of_an_impossible_shape_is_not_accepted(bad: Order) -> None:
    with pytest.raises(ValueError, match="order"):
        Venue(INSTRUMENTS, UNLIMITED).accept(bad, 0, 0)


def test_rule_12_the_venue_meets_every_record_once() -> None:
    tape = merge([bars([FLAT, FLAT])])
    venue = Venue(INSTRUMENTS, UNLIMITED)
    assert venue.advance(tape, 0, 2) == (2, [])
    with pytest.raises(ValueError, match="stands at 2"):
        venue.advance(tape, 1, 2)


def test_rule_4_the_reference_price_is_the_last_one_before_the_position_in_today_s_units() -> None:
    quote = series(Kind.QUOTE, "BBB", [(1, 1, (99.5, 100.5))])
    split = series(Kind.SPLIT, "BBB", [(2, 2, (2, 1))])
    print_ = series(Kind.TRADE, "BBB", [(3, 3, (51.26, 5))])
    tape = merge([quote, split, print_])
    venue = Venue({"BBB": Instrument("BBB", calendar="24/7")}, UNLIMITED)
    prices = []
    for position in range(4):
        venue.prime(tape, position)
        prices.append((venue.reference_price("BBB", Side.BUY), venue.reference_price("BBB", Side.SELL)))
    seen = [None if b is None else (str(b), str(s)) for b, s in prices]
    assert [None if x is None else tuple(map(Decimal, x)) for x in seen] == [
        None,
        (Decimal("100.5"), Decimal("99.5")),
        (Decimal("50.25"), Decimal("49.75")),
        (Decimal("51.26"), Decimal("51.26")),
    ]


def test_rule_10_of_two_targets_without_a_stop_the_nearer_is_first_whoever_reduces_only() -> None:
    tape = merge([bars([FLAT, FLAT, (100, 104, 95, 100, 100_000)])])
    touched = order(2, "S", "LIT", 10, 102, limit_price=Decimal(103), reduce_only=True)
    nearer = order(3, "S", "L", 10, "102.5", reduce_only=True)
    events = run(tape, (0, order(1, "B", "M", 10)), (2, touched), (2, nearer))
    assert fills(events)[1:] == [(2, "S", Decimal(10), Decimal("102.5"))]


def test_rule_10_another_portfolio_s_exit_is_nothing_to_mine() -> None:
    tape = merge([bars([FLAT, FLAT, (100, 104, 95, 97, 100_000)])])
    reserved = Reservation(Decimal(0), Decimal(-5), Decimal(10) ** 9)
    mine = [
        order(2, "S", "SL", 5, 96, limit_price=Decimal(98), reservation=reserved),
        order(3, "S", "L", 5, 103, reservation=reserved),
    ]
    entry = (0, order(1, "B", "M", 10))
    alone = run(tape, entry, *((2, each) for each in mine))
    other = order(4, "S", "L", 1, 101, portfolio_id="Q", reduce_only=True)
    beside = run(tape, entry, *((2, each) for each in [*mine, other]))
    assert fills(beside) == fills(alone)
    assert fills(alone)[1:] == [(2, "S", Decimal(5), Decimal(103))]
