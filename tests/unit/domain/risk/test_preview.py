"""A preview says what the check says, changes nothing, and knows the largest quantity that passes."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.costs import NO_SLIP, Commission, Costs, Level, Slip, Slippage, Tier
from services.domain.orders.order import Order, OrderType, Refusal, Side
from services.domain.risk.gate import Verdict
from services.domain.risk.limits import KillScope, make_limit
from services.domain.risk.preview import preview
from tests.unit.domain.risk.gates import state
from tests.unit.domain.risk.market import INSTRUMENTS, Market

D = Decimal
PRICE = D(100)
LIMITS = {
    "max_order_quantity": D(70),
    "max_order_notional": D("6500.5"),
    "max_position_quantity": D(60),
    "max_position_notional": D("5500.5"),
    "max_gross_exposure": D(12_000),
    "max_net_exposure": D(4_000),
    "max_leverage": D("0.7"),
    "max_concentration": D("0.4"),
    "max_order_rate": D(2),
    "initial_margin": D("0.7"),
}


@st.composite
def markets(draw: Any) -> Market:
    """Something held, or owed, something open, some limits, perhaps a kill switch."""
    market = Market(cash=str(draw(st.integers(1, 20_000))), shorts=draw(st.booleans()))
    symbols = st.sampled_from(sorted(INSTRUMENTS))
    for _ in range(draw(st.integers(0, 4))):
        side = draw(st.sampled_from(Side))
        order = market.place(market.order(side, str(draw(st.integers(1, 40))), symbol=draw(symbols)))
        if order is not None and draw(st.booleans()):
            market.fill(order, order.quantity, PRICE)
    for name in draw(st.sets(st.sampled_from(sorted(LIMITS)), max_size=3)):
        market.gate.set_limit(make_limit(name, LIMITS[name], draw(st.sampled_from(["", "p"]))))
    if draw(st.integers(0, 4)) == 0:
        market.gate.engage(KillScope("p", ""), allow_reducing=draw(st.booleans()))
    return market


@given(markets(), st.data())
def test_the_largest_quantity_passes_and_one_increment_more_does_not(market: Market, data: Any) -> None:
    side, symbol = data.draw(st.sampled_from(Side)), data.draw(st.sampled_from(sorted(INSTRUMENTS)))
    limited = data.draw(st.booleans())
    terms: dict[str, Any] = {"order_type": OrderType.LIMIT, "limit_price": D(97)} if limited else {}
    by_cash = side is Side.BUY and data.draw(st.booleans())
    terms |= {"cash_quantity": D(data.draw(st.integers(1, 9_000)))} if by_cash else {}
    terms |= {} if by_cash else {"reduce_only": data.draw(st.booleans())}
    order = market.order(side, str(data.draw(st.integers(1, 100))), symbol=symbol, **terms)
    before = state(market.gate)
    found = preview(market.gate, order, INSTRUMENTS[symbol], PRICE, market.time)
    assert state(market.gate) == before
    step = INSTRUMENTS[symbol].quantity_increment
    if found.largest is None:
        huge = order._replace(quantity=D(10**17), cash_quantity=None)
        assert market.check(huge).refusal is None
        market.gate.drop_unconfirmed([order.order_id])
    else:
        more = order._replace(quantity=found.largest + step, cash_quantity=None)
        assert market.check(more).refusal == found.beyond
        assert found.beyond is not None
        if found.largest:
            assert market.check(order._replace(quantity=found.largest, cash_quantity=None)).refusal is None
            market.gate.drop_unconfirmed([order.order_id])
    assert market.check(order) == found.verdict


def test_a_preview_tells_price_units_and_value() -> None:
    market = Market("10000")
    stock = INSTRUMENTS["AAPL"]
    found = preview(market.gate, market.order(Side.BUY, "30"), stock, PRICE, 0)
    assert (found.price, found.quantity, found.notional, found.largest) == (PRICE, D(30), D(3000), D(100))
    assert found.beyond is not None
    assert (found.beyond.limit, found.beyond.missing) == ("buying_power", D(100))
    # A buy with a limit is weighed at that, one by cash by what it buys.
    at_limit = market.order(Side.BUY, "30", order_type=OrderType.LIMIT, limit_price=D(80))
    assert preview(market.gate, at_limit, stock, PRICE, 0)[1:5] == (D(80), D(30), D(2400), D(125))
    by_cash = market.order(Side.BUY, "", cash_quantity=D(1050))
    assert preview(market.gate, by_cash, stock, PRICE, 0)[1:5] == (PRICE, D(10), D(1000), D(100))
    by_cash = by_cash._replace(order_type=OrderType.LIMIT, limit_price=D(110))
    assert preview(market.gate, by_cash, stock, PRICE, 0)[1:4] == (D(110), D(9), D(990))
    short = Market("10000", shorts=True)
    short.gate.set_limit(make_limit("initial_margin", D("0.7")))
    assert preview(short.gate, short.order(Side.SELL, "30"), stock, PRICE, 0).initial_margin == 2100
    # Nothing stops one that only reduces; it has a value, though nothing is set aside for it.
    reducing = market.order(Side.SELL, "5", reduce_only=True)
    assert preview(market.gate, reducing, stock, PRICE, 0)[1:6] == (PRICE, D(5), D(500), None, None)


def test_what_the_venue_would_refuse_passes_in_no_quantity() -> None:
    market, closed = Market("10000"), Refusal("MARKET_CLOSED", "session", D(0), D(0))
    found = preview(market.gate, market.order(Side.BUY, "30"), INSTRUMENTS["AAPL"], PRICE, 0)
    assert found.unless(None) is found
    turned = found.unless(closed)
    assert turned.verdict == Verdict(found.verdict.order_id, None, closed)
    assert (turned.largest, turned.beyond, turned.notional) == (D(0), closed, D(3000))
    # What the gate refuses is told first, as of an order.
    found = preview(market.gate, market.order(Side.BUY, "300"), INSTRUMENTS["AAPL"], PRICE, 0)
    turned = found.unless(closed)
    assert (turned.verdict, turned.largest, turned.beyond) == (found.verdict, D(0), closed)
    found = preview(market.gate, market.order(Side.SELL, "1"), INSTRUMENTS["AAPL"], PRICE, 0)
    assert found.unless(closed) == found


def test_nobody_knows_the_portfolio() -> None:
    market = Market()
    found = preview(market.gate, market.order(Side.BUY, "1", "stranger"), INSTRUMENTS["AAPL"], PRICE, 0)
    assert found.verdict.refusal is not None
    assert (found.verdict.refusal.reason, found.largest) == ("PORTFOLIO_NOT_FOUND", D(0))


@st.composite
def commissions(draw: Any) -> Commission:
    """With all that bends: what any number of units costs, bounds and tiers."""
    money, points = st.integers(0, 900).map(D), st.integers(0, 900).map(D)
    tiers = sorted(draw(st.dictionaries(st.integers(0, 9_000), points, max_size=2)).items())
    return Commission(
        per_order=draw(money),
        per_unit=draw(st.integers(0, 9).map(D)),
        basis_points=draw(points),
        tiers=tuple(Tier(D(above), rate) for above, rate in tiers),
        minimum=draw(money),
        maximum=draw(st.none() | money),
        maximum_basis_points=draw(st.none() | points.filter(bool)),
    )


def _passing(market: Market, asked: Order, price: Decimal, slip: Slip = NO_SLIP) -> list[int]:
    """All quantities that pass, by asking of each; the preview knows the largest, and what refuses one more."""

    def refusal(quantity: int) -> Refusal | None:
        order = asked._replace(quantity=D(quantity))
        return market.gate.weigh(order, INSTRUMENTS["AAPL"], price, market.time, slip=slip)[0].refusal

    found = preview(market.gate, asked, INSTRUMENTS["AAPL"], price, market.time, slip=slip)
    passing = [each for each in range(1, 200) if refusal(each) is None]
    assert found.largest == max(passing, default=0) < 199
    assert found.beyond == refusal(int(found.largest) + 1)
    return passing


def _shorted(units: int, spare: int) -> Market:
    """A short at 100, with so much left that can be spent."""
    market = Market(str(units * 50 + spare), shorts=True)
    short = market.place(market.order(Side.SELL, str(units)))
    assert short is not None
    market.fill(short, str(units), PRICE)
    return market


@settings(max_examples=150)
@given(commissions(), st.data())
def test_the_largest_that_covers_a_short_is_that_of_all_quantities(commission: Commission, data: Any) -> None:
    """Few units may not set enough collateral free for what any number of them costs."""
    units, price = data.draw(st.integers(1, 40)), D(data.draw(st.integers(60, 160)))
    market = _shorted(units, data.draw(st.integers(0, 1_500)))
    for side, reducing in data.draw(st.lists(st.tuples(st.sampled_from(Side), st.booleans()), max_size=2)):
        market.place(market.order(side, str(data.draw(st.integers(1, 20))), reduce_only=reducing))
    for name in data.draw(st.sets(st.sampled_from(sorted(LIMITS)), max_size=1)):
        market.gate.set_limit(make_limit(name, LIMITS[name], "p"))
    sizes = data.draw(st.lists(st.integers(1, 30), max_size=4))
    levels = tuple(Level(D(3 * at), D(size)) for at, size in enumerate(sizes))
    slip = Slip(D(1), D("0.1"), levels)
    asked = market.order(Side.BUY, "1", costs=Costs(commission, data.draw(st.none() | st.just(Slippage(D(50))))))
    _passing(market, asked, price, slip)


def test_what_covers_much_of_a_short_pays_a_commission_that_few_units_could_not() -> None:
    market = _shorted(100, 1)
    asked = market.order(Side.BUY, "100", costs=Costs(Commission(per_order=D(1_300))))
    assert _passing(market, asked, D(90)) == list(range(22, 153))
    # Neither few nor all: the rate takes more of each than it sets free, once it comes to more than the minimum.
    market = _shorted(100, 200)
    rising = Commission(basis_points=D(1_000), minimum=D(500))
    asked = market.order(Side.BUY, "100", costs=Costs(rising))
    assert _passing(market, asked, D(140)) == list(range(30, 51))
    # With a maximum, and a second level of the book: twice.
    market = _shorted(100, 160)
    asked = market.order(Side.BUY, "100", costs=Costs(replace(rising, maximum=D(700))))
    slip = Slip(D(1), D("0.1"), (Level(D(0), D(60)), Level(D(20), D(60))))
    assert _passing(market, asked, D(140), slip) == [*range(34, 41), *range(54, 67)]
