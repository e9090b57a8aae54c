"""How waiting orders are held: sorted runs, and trailing stops in groups of one best price."""

import sys
from bisect import bisect_left
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.order import Order, OrderType, Side, TimeInForce
from services.domain.prices import Prices
from services.domain.venue.offers.trailing import trigger_price
from services.domain.venue.waiting import ladder
from services.domain.venue.waiting.ladder import Entries
from services.domain.venue.waiting.resting import Book
from services.domain.venue.waiting.trails import Trail

STEP = Decimal("0.5")


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 30)), max_size=200), st.integers(0, 31))
def test_runs_are_one_sorted_list(changes: list[tuple[bool, int]], bound: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ladder, "_LONGEST_RUN", 4)
        entries, expected = Entries(), list[tuple[float, int]]()
        for number, (adds, key) in enumerate(changes):
            if adds or not expected:
                entries.add((float(key), number))
                expected = sorted([*expected, (float(key), number)])
            else:
                entries.remove(expected.pop(key % len(expected)))
            assert list(entries) == expected
            assert bool(entries.runs) is bool(expected)
            if expected:
                assert entries.first == expected[0]
        assert list(entries.below((float(bound), -1))) == expected[: bisect_left(expected, (float(bound), -1))]


def trailing(number: int, side: Side, distance: Decimal, by_percent: bool) -> Order:
    order = Order(f"o-{number}", "", "P", "X", side, OrderType.TRAILING_STOP, TimeInForce.GTC, Decimal(1))
    return order._replace(**{"trailing_percent" if by_percent else "trailing_amount": distance})


@settings(max_examples=300)
@given(st.integers(0, 2**32), st.sampled_from(list(Side)), st.booleans(), st.booleans())
def test_rule_8_groups_of_trailing_stops_are_each_order_on_its_own(
    seed: int, side: Side, by_percent: bool, stated: bool
) -> None:
    """Whoever may trigger is reached, everyone's best price is what it has met, and no row in between is missed."""
    rng, sells = Random(seed), side is Side.SELL
    trail, orders, bests, lives = (
        Trail(side, by_percent, stated, STEP),
        dict[int, Order](),
        dict[int, float](),
        dict[int, int](),
    )
    for time in range(80):
        for _ in range(rng.choice([0, 0, 1, 5])):
            number = len(orders) + 1000 * time
            order = trailing(number, side, Decimal(rng.choice(["0.5", "1", "2.5", "4"])), by_percent)
            orders[number], bests[number] = order, rng.randint(190, 210) / 2
            lives[number] = rng.randint(time, time + 3)
            trail.add(order, number, lives[number], bests[number])
        for number in rng.sample(sorted(orders), min(len(orders), rng.choice([0, 0, 1, 3]))):
            trail.remove(number)
            del orders[number], bests[number], lives[number]
        four = sorted(rng.randint(190, 210) / 2 for _ in range(4))
        prices = Prices(four[rng.randint(0, 3)], four[0], four[3], four[rng.randint(0, 3)])
        adverse, extreme = (prices.low, prices.high) if sells else (prices.high, prices.low)
        due = set()
        for number, order in orders.items():
            moved = max(bests[number], extreme) if sells else min(bests[number], extreme)
            old, new = (float(trigger_price(order, best, STEP)) for best in (bests[number], moved))
            # Where the way is stated, the other extreme may come after the one that moves the trigger.
            later = adverse if stated else prices.last
            by_rest = moved != bests[number] and (later <= new if sells else later >= new)
            if (adverse <= old if sells else adverse >= old) or by_rest:
                due.add(number)
        assert due == set(trail.reached(prices))
        looked = [
            (prices.high >= w.price if w.inclusive else prices.high > w.price)
            if w.sign > 0
            else (-prices.low >= w.price if w.inclusive else -prices.low > w.price)
            for w in trail.watches()
        ]
        start = time - rng.choice([0, 2])
        before = dict(bests)
        for number in orders:
            if lives[number] <= start:
                bests[number] = max(bests[number], extreme) if sells else min(bests[number], extreme)
        assert any(looked) or (before == bests and not due)
        trail.passed(prices, start)
        assert {number: trail.best(number) for number in orders} == bests
        assert bool(trail) is bool(orders)


@pytest.mark.parametrize(
    ("side", "best", "terms", "trigger"),
    [
        (Side.SELL, 101.0, {"trailing_percent": Decimal("2.5")}, 98),
        (Side.BUY, 97.0, {"trailing_percent": Decimal("2.5")}, "99.5"),
        (Side.SELL, 100.25, {"trailing_amount": Decimal(1)}, 99),
        (Side.BUY, 100.25, {"trailing_amount": Decimal(1)}, "101.5"),
        (Side.SELL, 3.0, {"trailing_amount": Decimal(5)}, -2),
    ],
)
def test_rule_8_a_trailing_trigger_is_snapped_away_from_the_market(
    side: Side, best: float, terms: dict[str, Decimal], trigger: int | str
) -> None:
    order = Order("o", "", "P", "X", side, OrderType.TRAILING_STOP, TimeInForce.GTC)._replace(**terms)
    assert trigger_price(order, best, STEP) == Decimal(trigger)


def test_a_book_that_nobody_urgent_waits_in_keeps_no_places_of_those_who_did() -> None:
    book = Book(Instrument("S"), VenueSettings())
    orders = [trailing(number, Side.SELL, Decimal(1), by_percent=False) for number in range(1, 101)]
    for number, order in enumerate(orders, 1):
        book.add(order, number)
    for number, order in enumerate(orders, 1):
        book.settle(order, number, 100.0)
    assert not book.urgent
    assert sys.getsizeof(book.urgent) == sys.getsizeof({})
