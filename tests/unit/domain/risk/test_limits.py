"""Every limit at its bound passes, and one increment beyond refuses with the bound it hit (rules 4, 5 and 19)."""

from decimal import Decimal
from typing import Any

import pytest

from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderState, OrderType, Refusal, Side, TimeInForce
from services.domain.risk.gate import Gate, Verdict
from services.domain.risk.limits import ORDERED, KillScope, KillSwitch, NoSuchLimit, make_limit
from tests.unit.domain.risk.gates import state

D = Decimal
STOCK = Instrument("AAPL")
OTHER = Instrument("MSFT")
COIN = Instrument("BTC/USD", quantity_increment=D("0.001"))
FUTURE = Instrument("ES", contract_multiplier=D(50))
SECOND = 1_000_000_000


class Desk:
    """A gate with portfolios p and q, and short words to ask it."""

    def __init__(self, cash: int = 10_000) -> None:
        self.gate = Gate()
        self.orders = 0
        for portfolio_id in ("p", "q"):
            self.gate.open_portfolio(portfolio_id, D(cash))

    def limit(self, name: str, bound: str, portfolio_id: str = "p") -> None:
        self.gate.set_limit(make_limit(name, D(bound), portfolio_id))

    def check(
        self,
        side: Side = Side.BUY,
        quantity: str = "1",
        *,
        price: str = "100",
        time: int = 0,
        instrument: Instrument = STOCK,
        **terms: Any,
    ) -> Verdict:
        self.orders += 1
        decimals = ("price", "cash_quantity", "trailing_amount", "trailing_percent")
        own = {name: D(value) for name, value in terms.items() if name.endswith(decimals)}
        rest = {name: value for name, value in terms.items() if name not in own}
        kinds = {"limit": OrderType.LIMIT, "stop": OrderType.STOP, "trailing": OrderType.TRAILING_STOP}
        order_type = next((kind for word, kind in kinds.items() if any(name.startswith(word) for name in own)), None)
        order = Order(
            f"e-{self.orders}",
            f"c-{self.orders}",
            rest.pop("portfolio_id", "p"),
            instrument.symbol,
            side,
            order_type or OrderType.MARKET,
            TimeInForce.DAY,
            quantity=D(0) if "cash_quantity" in own else D(quantity),
            **own,
            **rest,
        )
        return self.gate.check(order, instrument, D(price), time)

    def standing(self, name: str) -> Decimal:
        """Where the figure of the one limit of that name stands."""
        [value] = [usage.standing.value for usage in self.gate.usages({"p"}) if usage.limit.name == name]
        return value

    def refusal(self, *args: Any, **kwargs: Any) -> tuple[str, str, Decimal, Decimal, Decimal]:
        verdict = self.check(*args, **kwargs)
        assert verdict.reservation is None
        assert verdict.refusal is not None
        r = verdict.refusal
        return r.reason, r.limit, r.bound, r.value, r.missing

    def passes(self, *args: Any, **kwargs: Any) -> bool:
        verdict = self.check(*args, **kwargs)
        assert (verdict.refusal is None) != (verdict.reservation is None)
        return verdict.refusal is None


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_rule_19_scenario_i_a_buy_beyond_cash_is_refused_with_the_amount_missing(desk: Desk) -> None:
    assert desk.refusal(quantity="150") == ("INSUFFICIENT_BUYING_POWER", "buying_power", 10_000, 15_000, 5_000)
    assert desk.gate.exposure("p").reserved_cash == 0


def test_rule_19_all_the_cash_passes_and_a_unit_more_is_refused(desk: Desk) -> None:
    assert desk.refusal(quantity="101")[4] == 100
    assert desk.passes(quantity="100")
    assert desk.gate.exposure("p").spendable == 0
    assert desk.refusal(quantity="1", price="0.01")[4] == D("0.01")


@pytest.mark.parametrize(
    ("terms", "cash"),
    [
        ({}, "1000"),
        ({"limit_price": "95.50"}, "955"),
        ({"limit_price": "120"}, "1200"),
        ({"stop_price": "110"}, "1100"),
        ({"stop_price": "90"}, "1000"),
        ({"cash_quantity": "512.34"}, "512.34"),
        ({"instrument": FUTURE, "price": "12.5"}, "6250"),
    ],
)
def test_rule_4_a_buy_reserves_what_it_pays_at_most_as_far_as_known(
    desk: Desk, terms: dict[str, Any], cash: str
) -> None:
    reservation = desk.check(quantity="10", **terms).reservation
    assert reservation is not None
    assert reservation.cash == D(cash)
    assert reservation.headroom == 10_000 - D(cash) == desk.gate.exposure("p").spendable
    assert reservation.quantity == (5 if "cash_quantity" in terms else 10)


def test_rule_4_a_reservation_has_the_wires_places_and_is_never_too_small(desk: Desk) -> None:
    reservation = desk.check(quantity="0.001", price="0.0000001", instrument=COIN).reservation
    assert reservation is not None
    assert reservation.cash == D("1e-9")
    reservation = desk.check(quantity="0.123", price="0.0000001", instrument=COIN).reservation
    assert reservation is not None
    assert reservation.cash == D("13e-9")


@pytest.mark.parametrize(
    ("name", "reason", "bound", "fits", "beyond", "value"),
    [
        ("max_order_notional", "LIMIT_EXCEEDED", "1000", {"quantity": "10"}, {"quantity": "11"}, "1100"),
        (
            "max_order_notional",
            "LIMIT_EXCEEDED",
            "1000",
            {"cash_quantity": "1000"},
            {"cash_quantity": "1000.01"},
            "1000.01",
        ),
        ("max_order_notional", "LIMIT_EXCEEDED", "500", {"limit_price": "500"}, {"limit_price": "500.01"}, "500.01"),
        ("max_order_quantity", "LIMIT_EXCEEDED", "10", {"quantity": "10"}, {"quantity": "11"}, "11"),
        ("max_position_quantity", "LIMIT_EXCEEDED", "10", {"quantity": "10"}, {"quantity": "11"}, "11"),
        ("max_position_notional", "LIMIT_EXCEEDED", "1000", {"quantity": "10"}, {"quantity": "11"}, "1100"),
        ("max_gross_exposure", "LIMIT_EXCEEDED", "1000", {"quantity": "10"}, {"quantity": "11"}, "1100"),
        ("price_band", "PRICE_OUT_OF_BAND", "0.05", {"limit_price": "105"}, {"limit_price": "105.01"}, "0.0501"),
        ("price_band", "PRICE_OUT_OF_BAND", "0.05", {"limit_price": "95"}, {"limit_price": "94.99"}, "0.0501"),
        ("price_band", "PRICE_OUT_OF_BAND", "0.05", {"stop_price": "105"}, {"stop_price": "105.01"}, "0.0501"),
        ("price_band", "PRICE_OUT_OF_BAND", "0.05", {"trailing_amount": "5"}, {"trailing_amount": "5.01"}, "0.0501"),
        ("price_band", "PRICE_OUT_OF_BAND", "0.05", {"trailing_percent": "5"}, {"trailing_percent": "5.1"}, "0.051"),
        ("price_band", "PRICE_OUT_OF_BAND", "0", {}, {"limit_price": "100.01"}, "0.0001"),
    ],
)
@pytest.mark.parametrize("portfolio_id", ["p", ""], ids=["own", "environment"])
def test_rule_4_a_limit_passes_at_its_bound_and_refuses_beyond(
    name: str, reason: str, bound: str, fits: dict[str, str], beyond: dict[str, str], value: str, portfolio_id: str
) -> None:
    desk = Desk()
    desk.limit(name, bound, portfolio_id)
    assert desk.refusal(**beyond) == (reason, name, D(bound), D(value), 0)
    assert desk.passes(**fits)
    assert desk.gate.delete_limit(name, portfolio_id)
    assert desk.passes(**beyond)


def test_no_bound_on_units_or_values_stops_a_reduce_only_order(desk: Desk) -> None:
    for name in ("order_notional", "order_quantity", "position_quantity", "position_notional", "gross_exposure"):
        desk.limit(f"max_{name}", "1")
    assert not desk.passes(quantity="10")
    for side in Side:
        assert desk.passes(side, quantity="10", reduce_only=True)
    desk.limit("price_band", "0.05")
    assert not desk.passes(Side.SELL, quantity="10", limit_price="106", reduce_only=True)


def test_a_limit_holds_for_its_portfolio_alone_and_the_environments_for_all(desk: Desk) -> None:
    desk.limit("max_order_quantity", "1", "p")
    assert desk.passes(quantity="5", portfolio_id="q")
    desk.limit("max_order_quantity", "3", "")
    assert desk.refusal(quantity="5", portfolio_id="q")[2] == 3
    assert desk.refusal(quantity="2", portfolio_id="p")[2] == 1


@pytest.mark.parametrize("name", ["max_position_quantity", "max_position_notional", "max_gross_exposure"])
def test_the_environments_limits_count_all_portfolios(desk: Desk, name: str) -> None:
    desk.limit(name, "10" if name.endswith("quantity") else "1000", "")
    assert desk.passes(quantity="6", portfolio_id="p")
    assert desk.refusal(quantity="5", portfolio_id="q")[3] == (11 if name.endswith("quantity") else 1100)
    assert desk.passes(quantity="4", portfolio_id="q")


def test_rule_4_position_and_exposure_count_what_is_pending(desk: Desk) -> None:
    desk.limit("max_position_quantity", "10")
    desk.limit("max_gross_exposure", "1500")
    assert desk.passes(quantity="6")
    assert desk.refusal(quantity="5")[1] == "max_position_quantity"
    assert desk.passes(quantity="4")
    assert desk.refusal(quantity="6", instrument=OTHER)[1] == "max_gross_exposure"
    assert desk.passes(quantity="5", instrument=OTHER)
    exposure = desk.gate.exposure("p")
    assert (exposure.gross, desk.standing("max_gross_exposure")) == (0, 1500)
    assert [(p.symbol, p.pending_buy) for p in exposure.positions] == [("AAPL", 10), ("MSFT", 5)]


def test_exposure_is_taken_at_the_last_marks(desk: Desk) -> None:
    desk.limit("max_gross_exposure", "1000")
    assert desk.passes(quantity="5")
    desk.gate.mark("AAPL", 180.0)
    assert desk.refusal(quantity="1", price="180")[3] == 1080
    assert desk.standing("max_gross_exposure") == 900


class TestOrderRate:
    """``max_order_rate`` counts orders of a market minute, deterministically (rule 23)."""

    def test_checked_orders_count_before_their_events_come(self, desk: Desk) -> None:
        desk.limit("max_order_rate", "2")
        assert desk.passes(time=0)
        assert desk.passes(time=0)
        assert desk.refusal(time=0) == ("ORDER_RATE_EXCEEDED", "max_order_rate", 2, 3, 0)

    def test_refused_orders_do_not_count(self, desk: Desk) -> None:
        desk.limit("max_order_rate", "1")
        assert not desk.passes(quantity="1000")
        assert desk.passes()
        assert not desk.passes()

    def test_the_environments_counts_all_portfolios(self, desk: Desk) -> None:
        desk.limit("max_order_rate", "1", "")
        assert desk.passes(portfolio_id="q")
        assert desk.refusal(portfolio_id="p")[3] == 2


class TestShortSale:
    """Shorts are refused unless allowed, then they need margin (rule 19)."""

    def test_selling_what_is_not_held_is_refused_with_what_is_missing(self, desk: Desk) -> None:
        assert desk.refusal(Side.SELL, "5") == ("SHORT_NOT_ALLOWED", "short_sale", 0, 5, 5)

    def test_it_can_be_lifted_for_a_portfolio_and_forbidden_for_all(self, desk: Desk) -> None:
        desk.limit("short_sale", "1")
        assert desk.passes(Side.SELL, "5")
        assert not desk.passes(Side.SELL, "5", portfolio_id="q")
        desk.limit("short_sale", "0", "")
        assert not desk.passes(Side.SELL, "5")
        desk.gate.delete_limit("short_sale", "")
        desk.gate.delete_limit("short_sale", "p")
        assert not desk.passes(Side.SELL, "5")

    def test_it_can_be_lifted_for_all_and_forbidden_for_a_portfolio(self, desk: Desk) -> None:
        desk.limit("short_sale", "1", "")
        assert desk.passes(Side.SELL, "5")
        assert desk.passes(Side.SELL, "5", portfolio_id="q")
        desk.limit("short_sale", "0")
        assert not desk.passes(Side.SELL, "5")
        assert desk.passes(Side.SELL, "5", portfolio_id="q")

    def test_a_short_reserves_half_its_value(self, desk: Desk) -> None:
        desk.limit("short_sale", "1")
        assert desk.refusal(Side.SELL, "201") == (
            "INSUFFICIENT_BUYING_POWER",
            "buying_power",
            10_000,
            10_050,
            50,
        )
        reservation = desk.check(Side.SELL, "200").reservation
        assert reservation is not None
        assert (reservation.cash, reservation.quantity, reservation.headroom) == (10_000, -200, 0)


class TestKillSwitch:
    """It stops new orders of its scope until released (rule 5)."""

    REFUSED = Refusal("KILL_SWITCH_ENGAGED", "kill_switch", D(0), D(0))

    @pytest.mark.parametrize("scope", [KillScope(), KillScope("p"), KillScope("", "s"), KillScope("p", "s")])
    def test_it_stops_the_orders_it_covers(self, desk: Desk, scope: KillScope) -> None:
        desk.gate.engage(scope, reason="drill")
        whose = {"portfolio_id": scope.portfolio_id, "strategy_id": scope.strategy_id}
        assert desk.check(strategy_id="s").refusal == self.REFUSED._replace(**whose, kill_switch_reason="drill")
        assert desk.passes(portfolio_id="q", strategy_id="t") == (scope != KillScope())
        assert desk.gate.kill_switches() == {scope: KillSwitch(reason="drill")}
        assert desk.gate.release(scope)
        assert not desk.gate.release(scope)
        assert desk.passes(strategy_id="s")

    def test_releasing_one_leaves_the_other_engaged(self, desk: Desk) -> None:
        desk.gate.engage(KillScope("p"))
        desk.gate.engage(KillScope())
        desk.gate.release(KillScope())
        assert not desk.passes()

    def test_it_comes_before_every_limit(self, desk: Desk) -> None:
        desk.gate.engage(KillScope())
        desk.limit("price_band", "0")
        assert desk.check(limit_price="1").refusal == self.REFUSED


def test_an_unknown_portfolio_is_refused_and_leaves_nothing_behind(desk: Desk) -> None:
    before = state(desk.gate)
    assert desk.refusal(portfolio_id="r")[0] == "PORTFOLIO_NOT_FOUND"
    assert state(desk.gate) == before


def test_the_first_limit_in_the_fixed_order_is_the_refusal(desk: Desk) -> None:
    # Lost since the day began, and below the highest point; a short that needs more than the equity.
    desk.gate = Gate(detailed=True)
    desk.gate.open_portfolio("p", D(10_000))
    desk.gate.close(lambda symbol: D(0))
    desk.limit("short_sale", "1")
    sold = desk.check(Side.SELL, "10").reservation
    assert sold is not None
    order = Order("e-1", "c", "p", "AAPL", Side.SELL, OrderType.MARKET, TimeInForce.DAY, D(10), reservation=sold)
    filled = order._replace(state=OrderState.FILLED, cum_quantity=D(10))
    desk.gate.fold(OrderEvent(ExecType.TRADE, filled, 0, 1, D(10), D(100)), STOCK)
    desk.gate.mark("AAPL", D(900))
    desk.limit("short_sale", "0")
    unset = {"short_sale", "initial_margin", "maintenance_margin", "buying_power"}
    for kind in ORDERED:
        if kind.name == "restricted":
            desk.gate.set_limit(make_limit(kind.name, D(1), "p", symbol="AAPL"))
        elif kind.name not in unset:
            desk.limit(kind.name, "0")
    seen = []
    for _ in range(len(ORDERED) - 1):
        limit = desk.refusal(Side.SELL, "1000", limit_price="200")[1]
        seen.append(limit)
        if limit == "short_sale":
            desk.limit("short_sale", "1")
        elif limit == "maintenance_margin":
            desk.limit(limit, "0")
        else:
            desk.gate.delete_limit(limit, "p", symbol="AAPL" if limit == "restricted" else "")
    # What a short sale reserves by the initial margin is for buying power to refuse.
    assert seen == [kind.name for kind in ORDERED if kind.name != "initial_margin"]


def test_both_a_portfolios_and_the_environments_bound_hold_its_own_first(desk: Desk) -> None:
    desk.limit("max_order_quantity", "5", "")
    desk.limit("max_order_quantity", "3", "p")
    assert desk.refusal(quantity="9")[2] == 3
    assert [limit.where.portfolio_id for limit in desk.gate.limits()] == ["", "p"]


@pytest.mark.parametrize(
    ("name", "bound"), [("max_luck", "1"), ("buying_power", "1"), ("price_band", "-1"), ("initial_margin", "0.0")]
)
def test_a_limit_that_cannot_be_set_is_refused(name: str, bound: str) -> None:
    with pytest.raises(ValueError, match=f"{name}"):
        make_limit(name, D(bound))


@pytest.mark.parametrize("price", [{}, {"limit_price": "100000"}, {"stop_price": "100000"}, {"limit_price": "100"}])
@pytest.mark.parametrize("limit", ["max_order_quantity", "max_position_quantity"])
def test_rule_12_an_order_by_cash_counts_as_what_it_may_buy_at_the_lowest_of_its_prices(
    desk: Desk, limit: str, price: dict[str, str]
) -> None:
    desk.limit(limit, "5")
    assert desk.refusal(cash_quantity="600", **price)[:4] == ("LIMIT_EXCEEDED", limit, 5, 6)
    assert desk.passes(cash_quantity="599.99", **price)


def test_rule_12_an_order_by_cash_is_one_increment_at_least(desk: Desk) -> None:
    desk.limit("max_position_quantity", "0")
    assert desk.refusal(cash_quantity="1")[2:4] == (0, 1)


def test_rule_12_an_order_that_its_fill_sizes_is_not_one_that_only_reduces(desk: Desk) -> None:
    desk.gate.set_limit(make_limit("restricted", D(1), symbol="AAPL"))
    assert desk.refusal(cash_quantity="9000", limit_price="100000")[0] == "SYMBOL_RESTRICTED"
    desk.gate.engage(KillScope("q"), allow_reducing=True)
    assert desk.refusal(cash_quantity="500", portfolio_id="q", instrument=OTHER)[0] == "KILL_SWITCH_ENGAGED"


def test_an_initial_margin_of_nothing_is_read_where_it_was_set_before() -> None:
    assert make_limit("initial_margin", D(0), stored=True).bound == 0
    with pytest.raises(NoSuchLimit, match="the bound of initial_margin is above 0, not -1"):
        make_limit("initial_margin", D(-1), stored=True)
