"""The paper venue's book as a person looks at it."""

from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.filling import VenueSettings
from services.domain.money import ZERO
from services.domain.orders.order import ExecType, Order, OrderState, OrderType, Side, TimeInForce
from services.domain.tape import Kind, merge
from services.domain.venue.encounters.icebergs import shown
from services.domain.venue.matching import Venue
from services.domain.venue.telling.order_book import order_book, working_price
from tests.unit.domain.venue import matching_reference
from tests.unit.domain.venue.matching_reference import INSTRUMENTS, MINUTE, series

PATIENT = [TimeInForce.DAY, TimeInForce.GTC, TimeInForce.IOC, TimeInForce.CLS]


def order(priority: int, price: str | None = "10", quantity: str = "5", **fields: Any) -> Order:
    """A working limit buy, unless fields say otherwise."""
    stated: dict[str, Any] = {
        "portfolio_id": "p",
        "side": Side.BUY,
        "order_type": OrderType.LIMIT,
        "time_in_force": TimeInForce.GTC,
        "state": OrderState.NEW,
    }
    return Order(
        f"e-{priority}",
        f"c{priority}",
        symbol="AAPL",
        quantity=Decimal(quantity),
        leaves_quantity=Decimal(quantity),
        limit_price=None if price is None else Decimal(price),
        priority=priority,
        **(stated | fields),
    )


def ids(orders: Any) -> list[str]:
    return [each.order_id for each in orders]


def test_bids_fall_and_asks_rise_and_a_level_queues_by_priority() -> None:
    book = order_book(
        [
            order(4, "10"),
            order(1, "9.5"),
            order(2, "10.00"),
            order(3, "11", side=Side.SELL),
            order(5, "10.5", side=Side.SELL),
        ],
        "p",
    )
    assert [level.price for level in book.bids] == [Decimal(10), Decimal("9.5")]
    assert [level.price for level in book.asks] == [Decimal("10.5"), Decimal(11)]
    assert ids(book.bids[0].orders) == ["e-2", "e-4"]
    assert book.waiting == ()


def test_an_iceberg_shows_its_slice_and_hides_the_rest_from_all_but_its_owner() -> None:
    orders = [order(1, quantity="100", display_quantity=Decimal(10)), order(2, quantity="7")]
    (level,) = order_book(orders, "p").bids
    assert level.quantity == 17
    assert [level.hidden_quantity(whose) for whose in ("p", "q", "")] == [90, 0, 0]


def test_an_iceberg_shows_what_its_fills_left_of_its_slice() -> None:
    state = OrderState.PARTIALLY_FILLED
    for cum, left in ((7, 3), (10, 10), (95, 5), (98, 2)):
        filled = {"cum_quantity": Decimal(cum), "leaves_quantity": Decimal(100 - cum), "state": state}
        iceberg = order(1, quantity="100", display_quantity=Decimal(10))._replace(**filled)
        (level,) = order_book([iceberg, order(2, portfolio_id="q")], "p").bids
        assert level.quantity == left + 5
        assert level.hidden_quantity("p") == 100 - cum - left
        assert [ahead for _, ahead in level.own("q")] == [left]


def test_who_waits_for_an_auction_stands_at_no_price_and_before_nobody() -> None:
    stop = {"order_type": OrderType.STOP_LIMIT, "stop_price": Decimal(9), "state": OrderState.TRIGGERED}
    waiting = [
        order(1, time_in_force=TimeInForce.CLS),
        order(2, time_in_force=TimeInForce.OPG),
        order(3, time_in_force=TimeInForce.CLS, **stop),
    ]
    book = order_book([*waiting, order(4)], "p")
    assert ids(book.waiting) == ["e-1", "e-2", "e-3"]
    (level,) = book.bids
    assert level.quantity == 5
    assert [(own.order_id, ahead) for own, ahead in level.own("p")] == [("e-4", 0)]


def test_who_works_at_no_price_waits() -> None:
    stop = Decimal(9)
    waiting = [
        order(1, None, order_type=OrderType.MARKET),
        order(2, None, order_type=OrderType.STOP, stop_price=stop, side=Side.SELL),
        order(3, "10", order_type=OrderType.STOP_LIMIT, stop_price=stop),
        order(4, "10", order_type=OrderType.LIMIT_IF_TOUCHED, stop_price=stop),
        order(5, state=OrderState.HELD),
        order(6, None, order_type=OrderType.TRAILING_STOP, trailing_amount=Decimal(1), side=Side.SELL),
    ]
    waiting.append(order(7, None, order_type=OrderType.MARKET, portfolio_id="q"))
    for whose, numbers in (("p", range(1, 7)), ("q", [7]), ("", [])):
        book = order_book(reversed(waiting), whose)
        assert ids(book.waiting) == [f"e-{n}" for n in numbers]
        assert (book.bids, book.asks) == ((), ())


def test_a_stop_limit_works_at_its_limit_once_it_is_triggered() -> None:
    for state in (OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED):
        triggered = order(1, "10", order_type=OrderType.STOP_LIMIT, stop_price=Decimal(9), state=state)
        assert working_price(triggered) == Decimal(10)


@given(
    st.lists(
        st.builds(
            lambda n, price, units, side, kind, shown: order(
                n,
                price,
                str(units),
                side=side,
                order_type=kind,
                display_quantity=Decimal(shown) if shown < units else None,
            ),
            st.integers(1, 10_000),
            st.sampled_from(["9", "9.5", "10", "10.5"]),
            st.integers(2, 50),
            st.sampled_from(Side),
            st.sampled_from([OrderType.LIMIT, OrderType.STOP_LIMIT]),
            st.integers(1, 60),
        ),
        unique_by=lambda each: each.priority,
    )
)
def test_every_open_order_is_in_the_book_once_and_every_unit_of_it_shown_or_hidden(orders: list[Order]) -> None:
    book = order_book(orders, "p")
    levels = (*book.bids, *book.asks)
    listed = [each for level in levels for each in level.orders]
    assert sorted(ids([*listed, *book.waiting])) == sorted(ids(orders))
    assert all(level.orders for level in levels)
    seen = sum((level.quantity + level.hidden_quantity("p") for level in levels), ZERO)
    assert seen == sum((each.leaves_quantity for each in listed), ZERO)
    assert all(shown(each) > 0 for each in listed)
    for side, ordered in ((book.bids, True), (book.asks, False)):
        prices = [level.price for level in side]
        assert prices == sorted(set(prices), reverse=ordered)


def sent(rng: Random, number: int) -> Order:
    """A limit at the one price of the law below."""
    quantity, tif = rng.randint(2, 30), rng.choice(PATIENT)
    display = Decimal(rng.randint(1, quantity - 1)) if rng.random() < 0.5 else None
    terms: dict[str, Any] = {"symbol": "AAA", "time_in_force": tif, "display_quantity": display}
    return matching_reference.order(number, "B", "L", quantity, 100, **terms)


def played(orders: list[Order], later: list[Order], first: int, second: int) -> tuple[Venue, dict[str, Decimal]]:
    """The venue when the second of two trades below the price of all orders is next, and what that fills."""
    clock = series(Kind.CLOCK, "XNYS", [(0, 0, (1.0,)), (9, 9, (0.0,))])
    trades = series(Kind.TRADE, "AAA", [(2, 2, (99, first)), (4, 4, (99, second))])
    tape, venue = merge([clock, trades]), Venue(INSTRUMENTS, VenueSettings(volume_share=Decimal(1)))
    venue.prime(tape, 1)
    for each in orders:
        venue.accept(each._replace(basis_sequence=1, basis_time=MINUTE), 1, MINUTE)
    venue.advance(tape, 1, 2)
    for each in later:
        venue.accept(each._replace(basis_sequence=2, basis_time=3 * MINUTE), 2, 3 * MINUTE)
    after = Venue(INSTRUMENTS, VenueSettings(volume_share=Decimal(1)))
    after.prime(tape, 2)
    after.restore(venue.open_orders(), venue.headroom, venue.positions)
    made: dict[str, Decimal] = {}
    for event in after.advance(tape, 2, 3)[1]:
        if event.exec_type is ExecType.TRADE:
            made[event.order.order_id] = made.get(event.order.order_id, ZERO) + event.last_quantity
    return venue, made


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_what_is_ahead_of_an_order_is_what_fills_before_it(seed: int) -> None:
    rng = Random(seed)
    orders = [sent(rng, n) for n in range(1, 1 + rng.randint(1, 4))]
    later = [sent(rng, n) for n in range(11, 11 + rng.randint(0, 3))]
    first = rng.randint(1, 60)
    venue, _ = played(orders, later, first, 1)
    book = order_book(venue.open_orders(), "P")
    assert all(each.time_in_force is TimeInForce.CLS for each in book.waiting)
    for level in book.bids:
        for own, ahead in level.own("P"):
            assert played(orders, later, first, int(ahead))[1].get(own.order_id) is None
            assert played(orders, later, first, int(ahead) + 1)[1][own.order_id] == 1
