"""A limit holds for what it is set for, and sums over exactly that (rule 4)."""

from collections import defaultdict
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.orders.order import Refusal, Side
from services.domain.risk.gate import Gate
from services.domain.risk.limit import PLACES, Where
from services.domain.risk.limits import ORDERED, NoSuchLimit, make_limit
from tests.unit.domain.risk.room import INSTRUMENTS, PRICES, D, Room

SETTABLE = {kind.name: kind for kind in ORDERED if kind.places}


WHERES = {
    "environment": {},
    "portfolio": {"portfolio_id": "p"},
    "strategy": {"strategy_id": "s"},
    "symbol": {"symbol": "A"},
    "portfolio and symbol": {"portfolio_id": "p", "symbol": "A"},
    "strategy and symbol": {"strategy_id": "s", "symbol": "A"},
}


@pytest.mark.parametrize("where", WHERES.values(), ids=WHERES.keys())
def test_a_limit_refuses_the_orders_it_is_set_for_and_no_other(where: dict[str, str]) -> None:
    room = Room()
    room.limit("max_order_quantity", "5", **where)
    for portfolio_id in "pq":
        for strategy_id in ("s", "t", ""):
            for symbol in "AB":
                covered = all(
                    where.get(name, own) == own
                    for name, own in (
                        ("portfolio_id", portfolio_id),
                        ("strategy_id", strategy_id),
                        ("symbol", symbol),
                    )
                )
                order = {"symbol": symbol, "portfolio_id": portfolio_id, "strategy_id": strategy_id}
                refused = room.asks("6", **order).refusal
                assert (refused is not None) == covered
                assert refused is None or (refused.limit, refused.bound, refused.value) == ("max_order_quantity", 5, 6)
                assert room.asks("5", **order).refusal is None


HELD = [("p", "s", "A", 4), ("p", "t", "A", 2), ("q", "s", "A", 3), ("p", "s", "B", 5), ("q", "", "A", 1)]
SUMS = {
    "environment": (10, 1100),
    "portfolio": (6, 700),
    "strategy": (7, 800),
    "symbol": (10, 1000),
    "portfolio and symbol": (6, 600),
    "strategy and symbol": (7, 700),
}


@pytest.mark.parametrize("filled", [True, False], ids=["held", "pending"])
@pytest.mark.parametrize("place", WHERES)
def test_what_is_held_and_pending_is_summed_over_what_the_limit_is_set_for(place: str, filled: bool) -> None:
    room = Room()
    for portfolio_id, strategy_id, symbol, quantity in HELD:
        order = room.place(quantity, symbol, portfolio_id, strategy_id)
        if filled:
            room.fill(order)
    units, exposure = SUMS[place]
    order = {"symbol": "A", "portfolio_id": "p", "strategy_id": "s"}
    for name, bound, value in (
        ("max_position_quantity", units + 1, units + 2),
        ("max_position_notional", 100 * (units + 1), 100 * (units + 2)),
        ("max_gross_exposure", exposure + 100, exposure + 200),
        ("max_net_exposure", exposure + 100, exposure + 200),
        ("max_order_rate", None, None),
    ):
        if bound is None:
            continue
        room.limit(name, D(bound), **WHERES[place])
        refusal = room.asks("2", **order).refusal
        assert refusal is not None
        assert (refusal.limit, refusal.bound, refusal.value) == (name, bound, value)
        assert room.asks("1", **order).refusal is None
        assert room.gate.delete_limit(name, **WHERES[place])


@pytest.mark.parametrize(
    ("place", "number"),
    list(zip(WHERES, (5, 3, 3, 4, 2, 2), strict=True)),
)
def test_the_order_rate_counts_what_the_limit_is_set_for(place: str, number: int) -> None:
    room = Room()
    for portfolio_id, strategy_id, symbol, quantity in HELD:
        room.place(quantity, symbol, portfolio_id, strategy_id)
    room.limit("max_order_rate", D(number), **WHERES[place])
    refusal = room.asks("1", portfolio_id="p", strategy_id="s").refusal
    assert refusal is not None
    assert (refusal.reason, refusal.bound, refusal.value) == ("ORDER_RATE_EXCEEDED", number, number + 1)
    room.limit("max_order_rate", D(number + 1), **WHERES[place])
    assert room.asks("1", portfolio_id="p", strategy_id="s").refusal is None


def test_a_strategy_counts_its_own_part_of_a_portfolio_after_a_split_too() -> None:
    room = Room()
    room.fill(room.place(4, strategy_id="s"))
    room.fill(room.place(2, strategy_id="t"))
    funds = room.gate._funds["p"]
    funds.change_quantity("A", D(6), closes=False)
    assert [funds.sleeves[each].holdings["A"].quantity for each in "st"] == [8, 4]


def test_net_exposure_bounds_the_side_that_grows() -> None:
    room = Room()
    room.fill(room.place(10))
    room.limit("short_sale", "1")
    room.limit("max_net_exposure", "500")
    assert room.asks(1).refusal is not None
    assert room.asks(10, side=Side.SELL).refusal is None
    assert room.asks(15, side=Side.SELL).refusal is None
    refusal = room.asks(16, side=Side.SELL).refusal
    assert refusal is not None
    assert refusal.value == 600
    assert room.asks(50, "B", side=Side.SELL).refusal is None


def test_leverage_and_concentration_are_shares_of_the_equity() -> None:
    room = Room("1000")
    room.limit("max_leverage", "0.8", portfolio_id="p")
    refusal = room.asks(9).refusal
    assert refusal is not None
    assert (refusal.limit, refusal.bound, refusal.value) == ("max_leverage", D("0.8"), D("0.9"))
    room.fill(room.place(5))
    assert room.asks(15, "B").refusal is None
    refusal = room.asks(16, "B").refusal
    assert refusal is not None
    assert refusal.value == D("0.82")
    room.limit("max_concentration", "0.25", portfolio_id="p", symbol="B")
    assert room.asks(12, "B").refusal is None
    refusal = room.asks(13, "B").refusal
    assert refusal is not None
    assert (refusal.limit, refusal.value) == ("max_concentration", D("0.26"))
    room.limit("max_concentration", "0.3")
    # Of the whole environment: 500 held and 200 more, of 2000.
    assert room.asks(1).refusal is None
    exposure = room.gate.exposure("p")
    assert (exposure.leverage, exposure.concentration, exposure.equity) == (D("0.5"), D("0.5"), 1000)


def test_a_restricted_symbol_can_only_be_reduced() -> None:
    room = Room()
    room.fill(room.place(3))
    room.limit("restricted", "1", symbol="A")
    bare = Refusal("SYMBOL_RESTRICTED", "restricted", D(0), D(0), symbol="A")
    assert room.asks(1).refusal == bare, "nothing is measured"
    [check] = room.asks(1).checks
    assert (check.limit, check.where.symbol, check.bound, check.value) == ("restricted", "A", None, None)
    assert room.asks(3, side=Side.SELL).refusal is None
    assert room.asks(4, side=Side.SELL).refusal == bare
    assert room.asks(1, "B").refusal is None
    assert room.asks(1, reduce_only=True).refusal is None
    room.limit("restricted", "0", symbol="A")
    assert room.asks(1).refusal is None


def test_a_check_says_what_each_limit_that_is_set_said_until_one_refused() -> None:
    room = Room()
    assert room.asks(1).checks == ()
    room.limit("max_order_quantity", "5", portfolio_id="p")
    room.limit("max_gross_exposure", "300", symbol="A")
    room.limit("price_band", "0.1")
    said = [(each.limit, each.where, each.bound, each.value) for each in room.asks(2).checks]
    quantity = ("max_order_quantity", Where("p"), 5)
    exposure = ("max_gross_exposure", Where(symbol="A"), 300)
    assert said == [(*quantity, 2), (*exposure, 200)]
    assert [each.value for each in room.asks(4).checks] == [4, 400]
    assert [each.value for each in room.asks(6).checks] == [6]
    assert [each.value for each in room.asks(1, limit_price=D(105)).checks] == [D("0.05"), 1, 100]


@pytest.mark.parametrize("name", SETTABLE)
def test_a_limit_can_be_set_only_for_what_it_says(name: str) -> None:
    for where in WHERES.values():
        if frozenset(where) in SETTABLE[name].places:
            limit = make_limit(name, D(1), **where)
            assert {key: value for key, value in limit.where._asdict().items() if value} == where
        else:
            with pytest.raises(ValueError, match=f"{name} is set for"):
                make_limit(name, D(1), **where)
    with pytest.raises(ValueError, match="not for a portfolio and a strategy"):
        make_limit(name, D(1), "p", "s")
    assert set(SETTABLE[name].places) <= PLACES


@pytest.mark.parametrize("name", ["short_sale", "restricted"])
def test_a_switch_is_on_or_off(name: str) -> None:
    for bound in ("2", "0.5", "-1"):
        words = f"{name} is a switch: its bound is 1 for on or 0 for off, not {bound}"
        with pytest.raises(NoSuchLimit, match=words) as no:
            make_limit(name, D(bound), symbol="A")
        assert no.value.bounded


def test_a_limit_that_counts_is_a_whole_number_and_one_that_was_set_otherwise_still_loads() -> None:
    with pytest.raises(NoSuchLimit, match=r"the bound of max_order_rate counts: it is a whole number, not 1\.5") as no:
        make_limit("max_order_rate", D("1.5"))
    assert no.value.bounded
    assert make_limit("max_order_rate", D("1.5"), stored=True).bound == D("1.5")
    assert make_limit("max_order_rate", D("2.0")).bound == 2


def test_a_gate_that_does_not_know_what_a_limit_counts_takes_none_such() -> None:
    gate = Gate()
    for name, where in (("max_order_quantity", {"strategy_id": "s"}), ("max_drawdown", {}), ("max_daily_loss", {})):
        with pytest.raises(ValueError, match="does not know"):
            gate.set_limit(make_limit(name, D(1), **where))
    gate.set_limit(make_limit("max_order_quantity", D(1), symbol="A"))


steps = st.lists(
    st.tuples(
        st.sampled_from("pq"),
        st.sampled_from(["s", "t", ""]),
        st.sampled_from("ABF"),
        st.sampled_from(list(Side)),
        st.integers(1, 9),
        st.integers(0, 9),
    ),
    max_size=12,
)


@settings(max_examples=150, deadline=None)
@given(steps=steps, place=st.sampled_from(sorted(WHERES)), name=st.sampled_from(sorted(SETTABLE)))
def test_figures_equal_a_plain_sum_over_orders_and_fills(
    steps: list[tuple[str, str, str, Side, int, int]], place: str, name: str
) -> None:
    room, where = Room(), WHERES[place]
    room.limit("short_sale", "1")
    held: dict[tuple[str, str, str], Decimal] = defaultdict(D)
    pending: dict[tuple[str, str, str, Side], Decimal] = defaultdict(D)
    for portfolio_id, strategy_id, symbol, side, quantity, filled in steps:
        order = room.place(quantity, symbol, portfolio_id, strategy_id, side)
        traded = min(quantity, filled)
        if traded:
            room.fill(order, D(traded))
        for strategy in {strategy_id, "*"}:
            key = (portfolio_id, strategy, symbol)
            held[key] += traded * (1 if side is Side.BUY else -1)
            pending[*key, side] += quantity - traded

    strategy = where.get("strategy_id", "*")

    def books(symbol: str) -> list[tuple[Decimal, Decimal, Decimal]]:
        found = []
        for portfolio_id in where.get("portfolio_id", "pq"):
            key = (portfolio_id, strategy, symbol)
            found.append((held[key], pending[*key, Side.BUY], pending[*key, Side.SELL]))
        return found

    symbols = where.get("symbol", "ABF")
    unit = {symbol: PRICES[symbol] * INSTRUMENTS[symbol].contract_multiplier for symbol in "ABF"}
    units = {symbol: sum(max(abs(h + b), abs(h - s)) for h, b, s in books(symbol)) for symbol in symbols}
    net = {
        side: sum(
            (h + b if side is Side.BUY else s - h) * unit[symbol] for symbol in symbols for h, b, s in books(symbol)
        )
        for side in Side
    }
    equity = D(100_000 * len(where.get("portfolio_id", "pq")))
    expected = {
        "max_position_quantity": max(units.values()),
        "max_position_notional": max(units[symbol] * unit[symbol] for symbol in symbols),
        "max_gross_exposure": sum(units[symbol] * unit[symbol] for symbol in symbols),
        "max_net_exposure": max(0, *net.values()),
    }
    expected["max_leverage"] = expected["max_gross_exposure"] / equity
    expected["max_concentration"] = expected["max_position_notional"] / equity
    expected |= {"max_daily_loss": D(0), "max_drawdown": D(0)}
    if frozenset(where) not in SETTABLE[name].places:
        return
    room.limit(name, "1", **where)
    found = [usage.standing.value for usage in room.gate.usages() if usage.limit.name == name]
    assert found == ([expected[name]] if name in expected else [])


@settings(max_examples=150, deadline=None)
@given(
    steps=steps,
    place=st.sampled_from(sorted(WHERES)),
    name=st.sampled_from(sorted(set(SETTABLE) - {"short_sale", "restricted", "initial_margin", "maintenance_margin"})),
    side=st.sampled_from(list(Side)),
    quantity=st.integers(1, 9),
)
def test_the_very_value_passes_and_any_less_refuses_and_what_reduces_alone_always_passes(
    steps: list[tuple[str, str, str, Side, int, int]], place: str, name: str, side: Side, quantity: int
) -> None:
    if frozenset(WHERES[place]) not in SETTABLE[name].places:
        return
    room = Room()
    room.limit("short_sale", "1")
    for portfolio_id, strategy_id, symbol, other, units, filled in steps:
        order = room.place(units, symbol, portfolio_id, strategy_id, other)
        if filled:
            room.fill(order, D(min(units, filled)))
    terms = {"symbol": "A", "portfolio_id": "p", "strategy_id": "s", "side": side, "limit_price": D(101)}
    room.limit(name, "0", **WHERES[place])
    refusal = room.asks(quantity, **terms).refusal
    if refusal is None:
        return
    assert (refusal.limit, refusal.bound) == (name, 0)
    room.limit(name, refusal.value, **WHERES[place])
    assert room.asks(quantity, **terms).refusal is None
    less = refusal.value - (1 if SETTABLE[name].whole else D("1e-9"))
    room.limit(name, less, **WHERES[place])
    assert room.asks(quantity, **terms).refusal == refusal._replace(bound=less)
    known = [each for funds in room.gate.funds.values() for each in funds.holdings.values()]
    alone = not any(each.pending_buy or each.pending_sell for each in known)
    if alone and name not in {"max_order_rate", "price_band"}:
        assert room.asks(quantity, "A", "p", "s", side, reduce_only=True).refusal is None


@pytest.mark.parametrize("place", sorted(map(sorted, PLACES)))
def test_a_refusal_says_whose_bound_it_was(place: list[str]) -> None:
    room, named = Room(), {"portfolio_id": "p", "strategy_id": "s", "symbol": "A"}
    where = {name: named[name] for name in place}
    room.limit("max_order_quantity", "5", **where)
    refusal = room.asks(6, strategy_id="s").refusal
    assert refusal is not None
    assert (refusal.limit, refusal[5:8]) == ("max_order_quantity", Where(**where))


def test_what_always_holds_is_the_portfolios_own() -> None:
    refusal = Room().asks(5000, strategy_id="s").refusal
    assert refusal is not None
    assert (refusal.limit, refusal[5:8]) == ("buying_power", Where("p"))
