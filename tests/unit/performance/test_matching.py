"""What the venue's benchmark measures meets what stands beside it: else it would be flat whatever that costs."""

import pytest

from services.domain.orders.order import OrderType, Side
from tests.performance.bench_matching import (
    comings_and_goings,
    first_shorts,
    quotes,
    replacements,
    rounds,
    shorts,
    standing,
    trades,
)
from tests.unit.domain.venue.steps import steps


@pytest.mark.parametrize("symbols", [1, 100])
@pytest.mark.parametrize("count", [10, 1_000, 10_000])
def test_what_comes_is_of_portfolios_that_hold_the_same_symbol_and_have_an_order_of_it(
    count: int, symbols: int
) -> None:
    stand = standing(quotes(10), count, symbols)
    held, resting = stand.venue.positions, stand.venue.open_orders()
    assert (len(held), len(resting)) == (count, count)
    assert set(held) == {(order.portfolio_id, order.symbol) for order in resting}
    assert set(stand.venue.collateral) == {holder for holder, units in held.items() if units < 0}
    assert all(held[each.portfolio_id, each.symbol] > 0 for each in trades(stand, count, 2 * count))
    assert all(held[each.portfolio_id, each.symbol] < 0 for each in shorts(stand, count, 2 * count))
    of_first = {holder[0] for holder in held if holder[1] == "S0"}
    assert {each.portfolio_id for each in trades(stand, 0, 2 * count) + shorts(stand, 0, 2 * count)} == of_first
    kinds = {(order.side, order.order_type) for order in resting if order.symbol == "S0"}
    assert kinds == {
        (Side.BUY, OrderType.LIMIT),
        (Side.SELL, OrderType.LIMIT),
        (Side.BUY, OrderType.STOP),
        (Side.SELL, OrderType.STOP),
        (Side.SELL, OrderType.MARKET_IF_TOUCHED),
        (Side.SELL, OrderType.TRAILING_STOP),
    }


def test_rounds_fill_and_leave_long_what_is_long_and_short_what_is_short() -> None:
    tape = quotes(200)
    stand = standing(tape, 12, 1)
    before = stand.venue.positions
    rounds(tape, stand.venue, trades(stand, 100, 40))
    rounds(tape, stand.venue, shorts(stand, 200, 40))
    assert stand.venue.positions == before
    rounds(tape, stand.venue, first_shorts(stand, 300, 40))
    assert len(stand.venue.collateral) == len(stand.shorts) + 40
    assert len(stand.venue.open_orders()) == 12


def test_what_comes_costs_the_same_beside_many_orders_and_positions() -> None:
    """Of a hundred each: a line or two more where something is found for the first time, none for who stands there."""
    tape, found = quotes(500), []
    for count, symbols in ((12, 1), (1_200, 1), (1_200, 100)):
        stand = standing(tape, count, symbols)
        work = [
            lambda: rounds(tape, stand.venue, trades(stand, 10_000, 100)),  # noqa: B023
            lambda: rounds(tape, stand.venue, shorts(stand, 20_000, 100)),  # noqa: B023
            lambda: rounds(tape, stand.venue, first_shorts(stand, 30_000, 100)),  # noqa: B023
            lambda: comings_and_goings(stand, 40_000, 100),  # noqa: B023
            lambda: replacements(stand, 50_000, 100),  # noqa: B023
        ]
        found.append([steps(each) for each in work])
    few, *many = found
    for each in many:
        assert each == pytest.approx(few, abs=100)
