"""The paper venue's book as a person looks at it."""

from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from services.domain.money import ZERO
from services.domain.orders.order import Order, OrderState, OrderType, Side, TimeInForce
from services.domain.venue.telling.order_book import displayed, order_book, working_price


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
    shown = sum((level.quantity + level.hidden_quantity("p") for level in levels), ZERO)
    assert shown == sum((each.leaves_quantity for each in listed), ZERO)
    assert all(displayed(each) > 0 for each in listed)
    for side, ordered in ((book.bids, True), (book.asks, False)):
        prices = [level.price for level in side]
        assert prices == sorted(set(prices), reverse=ordered)
