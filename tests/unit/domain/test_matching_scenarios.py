"""What the paper venue does, case by case. The numbers are the behaviour's rules.

Scenarios A, C, D and G are restated from `fill_semantics.json` of the reference data (backtesting 0.6.6, backtrader
1.9.78.123 and nautilus_trader 1.221.0 on the same bars); orders are sent at a bar's close there.
"""

from decimal import Decimal

import pytest

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
)
from services.domain.tape import Kind, Tape, merge
from services.domain.venue.fills import VenueSettings
from services.domain.venue.matching import MARKET_CLOSED, Venue
from tests.unit.domain.matching_reference import INSTRUMENTS, MINUTE, Command, bars, drive, order, series

FLAT = (100, 100, 100, 100, 100_000)
UNLIMITED = VenueSettings(volume_share=None)
TOUCH = VenueSettings(volume_share=None, fill_on_touch=True)


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


def of(kind: Kind, *rows: tuple[float, ...], symbol: str = "BBB") -> Tape:
    """A tape of one source, a record each minute from the first."""
    return merge([series(kind, symbol, [(i + 1, i + 1, row) for i, row in enumerate(rows)])])


@pytest.mark.parametrize("settings", [UNLIMITED, TOUCH])
def test_rule_8_scenario_A_a_stop_whose_trigger_is_jumped_fills_at_the_open(settings: VenueSettings) -> None:
    tape = merge([bars([FLAT, FLAT, FLAT, (90, 92, 88, 91, 100_000), (91, 91, 91, 91, 100_000)])])
    events = run(tape, (1, order(1, "B", "M")), (2, order(2, "S", "S", 10, 95)), settings=settings)
    assert fills(events) == [(1, "B", 10, 100), (3, "S", 10, 90)]
    assert steps(events)[-2:] == ["TRIGGERED", "TRADE"]
    assert {e.transact_time for e in events[-2:]} == {3 * MINUTE}, "the bar's start"


@pytest.mark.parametrize("settings", [UNLIMITED, TOUCH])
def test_rule_8_scenario_C_a_limit_gets_the_better_price_of_a_favourable_gap(settings: VenueSettings) -> None:
    tape = merge([bars([FLAT, FLAT, (90, 92, 88, 91, 100_000), (91, 91, 91, 91, 100_000)])])
    assert fills(run(tape, (1, order(1, "B", "L", 10, 95)), settings=settings)) == [(2, "B", 10, 90)]


@pytest.mark.parametrize(("settings", "expected"), [(UNLIMITED, []), (TOUCH, [(2, "B", 10, 95)])])
def test_rule_9_scenario_D_a_limit_touched_exactly_fills_by_setting(
    settings: VenueSettings, expected: list[tuple[int, str, int, int]]
) -> None:
    tape = merge([bars([FLAT, FLAT, (98, 99, 95, 97, 100_000), (97, 97, 97, 97, 100_000)])])
    events = run(tape, (1, order(1, "B", "L", 10, 95)), settings=settings)
    assert fills(events) == expected
    if expected:
        assert events[-1].transact_time == 3 * MINUTE, "inside the bar nobody knows when: its end"


def test_rule_17_scenario_G_a_sell_larger_than_the_long_fills_whole() -> None:
    up, down = (110, 110, 110, 110, 100_000), (105, 105, 105, 105, 100_000)
    tape = merge([bars([FLAT, FLAT, up, up, down, down, down])])
    sent = (1, order(1, "B", "M", 10)), (3, order(2, "S", "M", 25)), (5, order(3, "B", "M", 15))
    assert fills(run(tape, *sent)) == [(1, "B", 10, 100), (3, "S", 25, 110), (5, "B", 15, 105)]


@pytest.mark.parametrize(
    ("side", "kind", "price", "filled_at"),
    [
        ("B", "M", None, 100),
        ("S", "M", None, 100),
        ("B", "L", 99, 99),
        ("B", "L", 101, 100),
        ("B", "L", 97, None),
        ("S", "L", 102, 102),
        ("S", "L", 98, 100),
        ("S", "L", 103, None),
        ("B", "S", 103, 103),
        ("B", "S", 104, None),
        ("B", "S", 99, 100),
        ("S", "S", 97, 97),
        ("S", "S", 96, None),
        ("S", "S", 100, 100),
    ],
)
def test_rules_8_and_9_each_type_on_a_bar(side: str, kind: str, price: float | None, filled_at: int | None) -> None:
    tape = merge([bars([FLAT, (100, 103, 97, 101, 100_000)])])
    expected = [] if filled_at is None else [(1, side, 10, filled_at)]
    assert fills(run(tape, (1, order(1, side, kind, 10, price)))) == expected


@pytest.mark.parametrize(
    ("side", "kind", "price", "touch", "filled_at"),
    [
        ("B", "M", None, False, 101),
        ("S", "M", None, False, 99),
        ("B", "L", 102, False, 101),
        ("B", "L", 101, False, None),
        ("B", "L", 101, True, 101),
        ("S", "L", 98, False, 99),
        ("S", "L", 99, False, None),
        ("S", "L", 99, True, 99),
        ("B", "S", 101, False, 101),
        ("B", "S", 101.5, False, None),
        ("S", "S", 99, False, 99),
        ("S", "S", 98.5, False, None),
    ],
)
def test_rules_8_and_9_each_type_on_a_quote(
    side: str, kind: str, price: float | None, touch: bool, filled_at: int | None
) -> None:
    events = run(
        of(Kind.QUOTE, (99, 101)), (0, order(1, side, kind, 10, price)), settings=TOUCH if touch else UNLIMITED
    )
    assert [f[3] for f in fills(events)] == ([] if filled_at is None else [filled_at])


def test_rule_9_prints_fill_a_limit_that_they_pass_and_at_its_price_only_by_setting() -> None:
    tape = of(Kind.TRADE, (96, 50), (95, 50), (94.5, 50))
    assert fills(run(tape, (0, order(1, "B", "L", 10, 95)))) == [(2, "B", 10, Decimal("94.5"))]
    assert fills(run(tape, (0, order(1, "B", "L", 10, 95)), settings=TOUCH)) == [(1, "B", 10, 95)]


def test_rule_29_a_side_of_a_quote_without_a_price_fills_nothing() -> None:
    assert fills(run(of(Kind.QUOTE, (0, 101), (99, 101)), (0, order(1, "S", "M")))) == [(1, "S", 10, 99)]


def test_rule_12_an_order_decided_at_a_bar_is_not_filled_by_one_that_began_before() -> None:
    hour = series(Kind.BAR, "BBB", [(0, 60, FLAT), (60, 120, (110, 110, 110, 110, 100_000))], "1h")
    minute = series(Kind.BAR, "BBB", [(59, 60, FLAT)], "1m")
    events = run(merge([minute, hour]), (1, order(1, "B", "M")))
    assert fills(events) == [(2, "B", 10, 110)]
    assert events[1].transact_time == 60 * MINUTE


def test_rule_12_latency_makes_an_order_live_later() -> None:
    tape = merge([bars([FLAT, FLAT, FLAT, (101, 101, 101, 101, 100_000)])])
    events = run(tape, (1, order(1, "B", "M", latency=MINUTE + 1)))
    assert fills(events) == [(3, "B", 10, 101)]


def test_rule_11_fills_share_a_tenth_of_the_volume_by_time_and_the_rest_waits() -> None:
    tape = merge([bars([(100, 100, 100, 100, v) for v in (1000, 59, 0, 1000)])])
    sent = (1, order(1, "B", "M", 5)), (1, order(2, "S", "M", 3))
    events = run(tape, *sent, settings=VenueSettings())
    assert fills(events) == [(1, "B", 5, 100), (1, "S", Decimal("0.5"), 100), (3, "S", Decimal("2.5"), 100)]
    assert events[3].order.state is OrderState.PARTIALLY_FILLED


def test_rule_11_the_better_limit_goes_first_whoever_came_first() -> None:
    tape = merge([bars([FLAT, (100, 101, 94, 95, 100)])])
    sent = (1, order(1, "B", "L", 8, 96)), (1, order(2, "B", "L", 8, 97)), (1, order(3, "B", "M", 1))
    events = run(tape, *sent, settings=VenueSettings())
    assert [(e.order.order_id, e.last_quantity) for e in events if e.last_quantity] == [
        ("env-3", 1),
        ("env-2", 8),
        ("env-1", 1),
    ]


def test_rule_11_of_limits_that_the_open_bettered_the_best_goes_first() -> None:
    tape = merge([bars([FLAT, (90, 91, 89, 90, 100)])])
    sent = (1, order(1, "B", "L", 8, 96)), (1, order(2, "B", "L", 8, 97))
    events = run(tape, *sent, settings=VenueSettings())
    assert [(e.order.order_id, e.last_quantity) for e in events if e.last_quantity] == [("env-2", 8), ("env-1", 2)]


def test_rule_11_a_quote_fills_each_side_from_its_own_size() -> None:
    tape = of(Kind.QUOTE, (99, 101, 50, 20))
    events = run(tape, (0, order(1, "B", "M", 9)), (0, order(2, "S", "M", 9)), settings=VenueSettings())
    assert [f[1:3] for f in fills(events)] == [("B", 2), ("S", 5)]


@pytest.mark.parametrize(("volumes", "expected"), [((0, 0), [(1, "B", 10, 100)]), ((100, 0), [])])
def test_rule_11_zero_volume_fills_nothing_but_a_source_without_any_sizes_has_no_limit(
    volumes: tuple[int, int], expected: list[object]
) -> None:
    tape = merge([bars([(100, 100, 100, 100, v) for v in volumes])])
    assert fills(run(tape, (1, order(1, "B", "M")), settings=VenueSettings())) == expected


def test_rule_11_an_ioc_takes_what_the_first_record_gives_and_cancels_the_rest() -> None:
    tape = merge([bars([FLAT, (100, 100, 100, 100, 40), FLAT])])
    events = run(tape, (1, order(1, "B", "M", 10, time_in_force=TimeInForce.IOC)), settings=VenueSettings())
    assert steps(events) == ["NEW", "TRADE", "CANCELED"]
    last = events[-1].order
    assert (last.cum_quantity, last.leaves_quantity, last.cancel_reason) == (4, 0, CancelReason.IOC_REMAINDER)


def test_rule_11_an_ioc_limit_not_reached_by_the_first_record_is_canceled() -> None:
    tape = merge([bars([FLAT, FLAT, (90, 90, 90, 90, 100)])])
    events = run(tape, (1, order(1, "B", "L", 10, 95, time_in_force=TimeInForce.IOC)))
    assert [(e.exec_type.name, e.tape_sequence) for e in events] == [("NEW", 1), ("CANCELED", 2)]


def session(*rows: tuple[int, int, tuple[float, ...]]) -> Tape:
    """AAA opens at minutes 10 and 110 and closes at 20 and 120; ``rows`` are its bars."""
    clock = [(m, m, (float(m % 100 == 10),)) for m in (10, 20, 110, 120)]
    return merge([series(Kind.CLOCK, "XNYS", clock), series(Kind.BAR, "AAA", rows, "1m")])


def day(number: int, **changes: object) -> Order:
    return order(number, "B", "M", symbol="AAA", **{"time_in_force": TimeInForce.DAY, **changes})


def test_rule_15_a_day_order_decided_at_the_closing_instant_waits_for_the_next_session() -> None:
    """The usual case of a daily strategy: the close sorts after the day's bar, yet the session is over."""
    tape = session((10, 20, FLAT), (110, 120, (105, 105, 105, 105, 100)))
    events = run(tape, (2, day(1)))
    assert [(e.exec_type.name, e.order.state.name, e.transact_time // MINUTE, e.tape_sequence) for e in events] == [
        ("HELD", "HELD", 20, 2),
        ("NEW", "NEW", 110, 4),
        ("TRADE", "FILLED", 110, 5),
    ]
    assert events[-1].last_price == 105


def test_rule_15_a_day_order_that_is_not_filled_expires_at_the_close() -> None:
    tape = session((10, 11, FLAT), (15, 16, FLAT))
    events = run(tape, (2, day(1)._replace(order_type=order(1, "B", "L", 1, 50).order_type, limit_price=Decimal(50))))
    assert [(e.exec_type.name, e.transact_time // MINUTE) for e in events] == [("NEW", 11), ("EXPIRED", 20)]
    assert events[-1].order.cancel_reason is CancelReason.END_OF_SESSION


def test_rule_15_outside_the_session_gtc_is_new_at_once_but_nothing_fills_it() -> None:
    quotes = series(Kind.QUOTE, "AAA", [(m, m, (99, 101)) for m in (15, 20, 30, 110)])
    clock = [(m, m, (float(m % 100 == 10),)) for m in (10, 20, 110, 120)]
    tape = merge([series(Kind.CLOCK, "XNYS", clock), quotes])
    events = run(tape, (2, day(1, time_in_force=TimeInForce.GTC)), (4, day(2, time_in_force=TimeInForce.GTC)))
    assert [(e.order.order_id, e.exec_type.name, e.transact_time // MINUTE) for e in events] == [
        ("env-1", "NEW", 15),
        ("env-2", "NEW", 20),
        ("env-1", "TRADE", 110),
        ("env-2", "TRADE", 110),
    ], "not at 20, the closing instant, nor at 30"


def test_rule_15_an_ioc_outside_the_session_is_rejected() -> None:
    (event,) = run(session((10, 20, FLAT)), (2, day(1, time_in_force=TimeInForce.IOC)))
    assert (event.exec_type, event.order.state) == (ExecType.REJECTED, OrderState.REJECTED)
    assert event.order.refusal == Refusal(MARKET_CLOSED, "session", Decimal(0), Decimal(0))


def test_rule_15_holding_day_orders_is_a_setting() -> None:
    settings = VenueSettings(volume_share=None, hold_day_orders=False)
    (event,) = run(session((10, 20, FLAT)), (2, day(1)), settings=settings)
    assert event.order.state is OrderState.REJECTED


def test_rule_15_an_ioc_that_no_record_met_ends_with_the_session() -> None:
    events = run(session((10, 11, FLAT)), (2, day(1, time_in_force=TimeInForce.IOC)))
    assert [(e.exec_type.name, e.transact_time // MINUTE) for e in events] == [("NEW", 11), ("CANCELED", 20)]


def test_rule_15_before_any_clock_record_the_market_counts_as_open() -> None:
    tape = merge([series(Kind.BAR, "AAA", [(0, 1, FLAT), (1, 2, FLAT)], "1m")])
    assert steps(run(tape, (1, day(1)))) == ["NEW", "TRADE"]


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


def test_rule_20_a_split_that_leaves_less_than_an_increment_cancels() -> None:
    split = series(Kind.SPLIT, "BBB", [(1, 1, (1, 50))])
    events = run(merge([split]), (0, order(1, "B", "L", 5, 98)))
    assert steps(events) == ["NEW", "CANCELED"]
    assert events[-1].order.cancel_reason is CancelReason.CORPORATE_ACTION


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


def test_rule_12_cash_that_buys_no_unit_cancels() -> None:
    tape = merge([bars([FLAT, FLAT])])
    events = run(tape, (1, order(1, "B", "M", 0, cash_quantity=Decimal("49.99"))))
    assert events[-1].order.cancel_reason is CancelReason.INSUFFICIENT_CASH


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
    assert run(tape, (1, short))[-1].order.reservation.headroom == 570


def test_rule_7_a_cancel_after_the_fill_finds_nothing_and_changes_nothing() -> None:
    tape = merge([bars([FLAT, FLAT])])
    venue = Venue(INSTRUMENTS, UNLIMITED)
    events = drive(venue, tape, [Command(1, order(1, "B", "M")), Command(2, cancels="env-1")])
    assert steps(events) == ["NEW", "TRADE"]
    assert (venue.open_orders(), venue.order("env-1")) == ([], None)


def test_rule_33_at_the_tape_s_end_resting_orders_expire() -> None:
    events = run(merge([bars([FLAT])]), (1, order(1, "B", "L", 1, 50)), (1, order(2, "S", "S", 1, 50)))
    assert [e.exec_type.name for e in events] == ["NEW", "NEW", "EXPIRED", "EXPIRED"]
    assert {e.order.cancel_reason for e in events[2:]} == {CancelReason.END_OF_TAPE}


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
