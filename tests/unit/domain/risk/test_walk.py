"""What a check sets aside for an order that takes more than the best price has, and what a preview says of it."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.costs import NO_SLIP, Commission, Costs, Level, Slip, Slippage
from services.domain.filling import VenueSettings
from services.domain.market import PriceLevel, Quote, requoted
from services.domain.orders.order import ExecType, Order, TimeInForce
from services.domain.risk.gate import Gate
from services.domain.risk.limits import make_limit
from services.domain.risk.preview import Preview, commission_of, preview
from services.domain.risk.walk import Part, value_of, walk
from services.domain.tape import Kind, Tape, merge
from services.domain.venue.matching import Venue
from tests.unit.domain.venue.fill_semantics.depth import WHOLE, book
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, Command, deep, drive, order, series

D = Decimal
SHARE, ALL = VenueSettings(), VenueSettings(volume_share=None)
STOCK = INSTRUMENTS["BBB"]


def seen(sent: Order, how: VenueSettings = SHARE, tape: Tape | None = None) -> Preview:
    """A preview after the tape's last record, of somebody with 100,000 who may sell short."""
    venue, gate, tape = Venue(INSTRUMENTS, how), Gate(), tape or book()
    venue.prime(tape, len(tape))
    gate.open_portfolio("P", D(100_000))
    gate.set_limit(make_limit("short_sale", D(1), "P"))
    reference = venue.reference_price(sent.symbol, sent.side)
    assert reference is not None
    return preview(gate, sent, STOCK, reference, 0, slip=venue.slip(sent))


@pytest.mark.parametrize(
    ("sent", "how", "value", "price"),
    [
        # The book has asks of 40 at 100, 60 at 100.5 and 100 at 101.
        (order(1, "B", "M", 4), SHARE, "400", "100"),
        (order(1, "B", "M", 12), SHARE, "1205", "100.416666667"),
        # What lies beyond its levels is at the last of them.
        (order(1, "B", "M", 30), SHARE, "3023", "100.766666667"),
        (order(1, "B", "M", 150), WHOLE, "15080", "100.533333333"),
        (order(1, "B", "M", 250), ALL, "25180", "100.72"),
        # As far above its own price as they are above the best one.
        (order(1, "B", "S", 12, 110), SHARE, "1325", "110.416666667"),
        (order(1, "B", "MIT", 12, 90), SHARE, "1205", "100.416666667"),
        (order(1, "B", "TS", 12, 5), SHARE, "1265", "105.416666667"),
        # No further than its limit, and an auction has one price.
        (order(1, "B", "L", 12, 100), SHARE, "1200", "100"),
        (order(1, "B", "M", 12, time_in_force=TimeInForce.OPG), SHARE, "1200", "100"),
        (order(1, "B", "M", 12, fill_settings=WHOLE), SHARE, "1200", "100"),
    ],
)
def test_rules_4_and_11_a_buy_reserves_what_the_levels_known_now_come_to(
    sent: Order, how: VenueSettings, value: str, price: str
) -> None:
    found = seen(sent, how)
    assert (found.notional, found.price, found.slippage, found.quantity) == (D(value), D(price), 0, sent.quantity)
    assert found.verdict.reservation is not None
    assert found.verdict.reservation.cash == D(value)


def test_rule_11_a_sale_is_worth_what_the_bids_come_to_and_reserves_by_the_best_of_them() -> None:
    found = seen(order(1, "S", "M", 15))
    # 10 at 99 and 5 at 98.5.
    assert (found.notional, found.price) == (D("1482.5"), D("98.833333333"))
    assert (found.initial_margin, found.slippage) == (D("742.5"), 0)
    reducing = seen(order(1, "S", "M", 15, reduce_only=True))
    assert (reducing.notional, reducing.price, reducing.initial_margin) == (D("1482.5"), D("98.833333333"), 0)


def test_rule_12_an_order_by_cash_buys_what_it_affords_level_by_level() -> None:
    found = seen(order(1, "B", "M", 0, cash_quantity=D(1000)))
    assert (found.quantity, found.notional, found.price) == (D("9.5"), D("952.75"), D("100.289473684"))
    assert found.verdict.reservation is not None
    assert found.verdict.reservation.cash == 1000
    # The venue does the same.
    events = drive(Venue(INSTRUMENTS, SHARE), book(), [Command(0, order(1, "B", "M", 0, cash_quantity=D(1000)))])
    assert sum(each.last_quantity * each.last_price for each in events) == found.notional


def test_rule_14_slippage_comes_on_top_at_each_level_and_no_impact() -> None:
    costs = Costs(Commission(basis_points=D(10)), Slippage(basis_points=D(40), impact=D(1)))
    found = seen(order(1, "B", "M", 6, costs=costs))
    # 4 at 100 and 2 at 100.5, which slippage moves to 100.5 and 101.
    assert (found.notional, found.slippage) == (601, 3)
    assert found.verdict.reservation is not None
    assert (found.verdict.reservation.cash, found.verdict.reservation.commission) == (604, D("0.604"))


def test_rule_14_what_is_kept_in_units_is_worth_money_of_nine_places() -> None:
    sent = order(1, "B", "M", 12, costs=Costs(Commission(basis_points=D(500), in_units=True)))
    found = seen(sent)
    # Of 12 a twentieth is no more than 0.5, at 1205 for 12.
    assert (found.price, commission_of(sent, found, STOCK)) == (D("100.416666667"), D("50.208333334"))


def test_rule_14_a_sale_is_told_what_slippage_takes_of_it_and_reserves_nothing_for_it() -> None:
    costs = Costs(None, Slippage(basis_points=D(40), impact=D(1)))
    # 10 at 99 and 5 at 98.5, which slippage moves to 98.5 and 98.
    found, reducing = (seen(order(1, "S", "M", 15, costs=costs, reduce_only=only)) for only in (False, True))
    assert (found.notional, found.slippage, found.initial_margin) == (D("1482.5"), D("7.5"), D("742.5"))
    assert (reducing.notional, reducing.slippage) == (D("1482.5"), D("7.5"))
    assert found.verdict.reservation is not None
    assert found.verdict.reservation.cash == D("742.5")
    # No further than its limit, and a buy that only reduces may pay more too.
    assert seen(order(1, "S", "L", 15, "98.5", costs=costs)).slippage == D("7.5")
    assert seen(order(1, "B", "M", 4, costs=costs, reduce_only=True)).slippage == 2


def test_rule_11_what_no_order_gets_units_of_is_no_level() -> None:
    thin = merge([deep(series(Kind.QUOTE, "BBB", [(1, 1, (99, 100, 10, 4))]), [[(0, 0, 101, 100), (0, 0, 109, 4)]])])
    found = seen(order(1, "B", "M", 12), tape=thin)
    assert (found.price, found.notional) == (101, 12 * 101)
    all_thin = merge([deep(series(Kind.QUOTE, "BBB", [(1, 1, (99, 100, 10, 4))]), [[(0, 0, 101, 4)]])])
    assert seen(order(1, "B", "M", 12), tape=all_thin).notional == 1200


def test_rule_20_the_levels_are_as_far_apart_and_as_large_as_splits_have_made_them() -> None:
    quotes = deep(series(Kind.QUOTE, "BBB", [(1, 1, (99, 100, 40, 60))]), [[(0, 0, 102, 100)]])
    split = merge([quotes, series(Kind.SPLIT, "BBB", [(2, 2, (2, 1))])])
    # A tenth of 120 at 50, and what is left at 51: as before it, half of the units at half of the prices' distance.
    assert seen(order(1, "B", "M", 12), tape=split).price == 50
    assert seen(order(1, "B", "M", 24), tape=split).price == D("50.5")
    twice = merge([quotes, series(Kind.SPLIT, "BBB", [(2, 2, (2, 1)), (3, 3, (1, 4))])])
    assert seen(order(1, "B", "M", 6), tape=twice).price == 202


@pytest.mark.parametrize(("ratio", "units"), [((3, 1), "2.1"), ((3, 2), "1.05"), ((1, 7), "0.1")])
def test_rule_20_a_split_leaves_sizes_that_floor_to_what_they_are(ratio: tuple[int, int], units: str) -> None:
    quote = requoted(Quote("BBB", 0, 99, 100, 0.7, 0.7, (PriceLevel(99, 0.7),)), *ratio)
    assert [quote.bid_size, quote.ask_size, quote.bids[0].size] == [float(units)] * 3


@pytest.mark.parametrize("how", [SHARE, WHOLE, ALL])
@pytest.mark.parametrize("cash_quantity", [None, D(1_900), D("12.5")])
@given(units=st.integers(1, 19))
def test_rule_11_it_is_what_the_venue_fills_at_as_far_as_the_levels_go(
    how: VenueSettings, cash_quantity: Decimal | None, units: int
) -> None:
    sent = order(1, "B", "M", units if cash_quantity is None else 0, cash_quantity=cash_quantity)
    found = seen(sent, how)
    fills = [e for e in drive(Venue(INSTRUMENTS, how), book(), [Command(0, sent)]) if e.exec_type is ExecType.TRADE]
    assert sum(e.last_quantity * e.last_price for e in fills) == found.notional
    assert sum(e.last_quantity for e in fills) == found.quantity


@given(
    st.lists(st.tuples(st.integers(0, 50), st.integers(1, 30)), max_size=4),
    st.integers(1, 200),
    st.sampled_from("BS"),
)
def test_a_walk_is_for_all_of_its_units_and_never_better_than_the_best_price(
    levels: list[tuple[int, int]], units: int, side: str
) -> None:
    slip = Slip(levels=tuple(Level(D(away) / 2, D(most)) for away, most in sorted(levels))) if levels else NO_SLIP
    sent, best = order(1, side, "M", units), D(100)
    parts = walk(sent, best, slip, STOCK, D(units))
    assert sum(each.units for each in parts) == units
    assert value_of(parts, STOCK) == sum(each.units * each.price for each in parts)
    assert all(each.price >= best if side == "B" else each.price <= best for each in parts)
    if not levels:
        assert parts == [Part(D(units), best)]
