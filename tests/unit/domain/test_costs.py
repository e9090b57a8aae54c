"""What trading costs: commission, slippage, latency, and for whom each is set (rules 12, 14 and 19)."""

from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.accounting.ledger import Account, Ledger
from services.domain.backtest.simulation import Result, Simulation
from services.domain.costs import (
    Commission,
    Costs,
    Latency,
    ModelChange,
    Scope,
    Slippage,
    Terms,
    Tier,
    VenueModel,
    VenueModels,
    slipped,
)
from services.domain.filling import BarPath, FillModel, VenueSettings
from services.domain.money import ZERO
from services.domain.orders.lists import cut, listed
from services.domain.orders.order import (
    LIMITED,
    TERMINAL,
    CancelReason,
    ContingencyType,
    ExecType,
    Order,
    OrderEvent,
    Reservation,
    Side,
    TimeInForce,
    reserved_cash,
)
from services.domain.risk.gate import Gate
from services.domain.risk.limits import make_limit
from services.domain.risk.preview import Preview, preview
from services.domain.tape import Kind, Tape
from services.domain.venue.matching import Replacement, Venue
from tests.unit.domain.backtest.simulations import OnBars, anything, cross, market, simulate
from tests.unit.domain.venue.matching_reference import (
    INSTRUMENTS,
    MINUTE,
    Command,
    any_costs,
    any_order,
    bars,
    command_lists,
    deep,
    drive,
    merge,
    order,
    series,
    settings_drawn,
    tapes,
)

D = Decimal
money = st.decimals(0, 100_000, places=4)
commissions = st.builds(
    lambda per_order, per_unit, points, tiers, minimum, over, share: Commission(
        per_order, per_unit, points, tuple(sorted(tiers)), minimum, None if over is None else minimum + over, share
    ),
    st.decimals(0, 10, places=2),
    st.decimals(0, 1, places=4),
    st.decimals(0, 100, places=2),
    st.lists(st.builds(Tier, money, st.decimals(0, 50, places=2)), max_size=3),
    st.decimals(0, 10, places=2),
    st.none() | st.decimals(0, 50, places=2),
    st.none() | st.decimals("0.01", 200, places=2),
)
law = settings(max_examples=150, deadline=None)


@given(commissions, st.lists(st.tuples(st.decimals(0, 500, places=3), st.decimals(0, 300, places=2)), min_size=1))
def test_rule_14_commission_is_never_less_for_more_units_and_fills_pay_what_the_whole_costs(
    model: Commission, fills: list[tuple[Decimal, Decimal]]
) -> None:
    units = amount = charged = ZERO
    for quantity, price in fills:
        units, amount = units + quantity, amount + quantity * price
        total, more = model.total(units, amount), Costs(model).charge(charged, units, amount)
        assert more >= 0
        charged += more
        assert charged == total
    share = model.maximum_basis_points
    capped = [each for each in (model.maximum, None if share is None else share * amount / 10_000) if each is not None]
    if units:
        assert charged >= min(model.minimum, *capped, charged)
    assert all(charged <= each + D("1e-9") for each in capped)


@pytest.mark.parametrize(
    ("model", "units", "amount", "expected"),
    [
        (Commission(per_unit=D("0.005"), minimum=D(1)), 100, 10_000, "1"),
        (Commission(per_unit=D("0.005"), minimum=D(1)), 1_000, 10_000, "5"),
        (Commission(basis_points=D(3), maximum=D(20)), 10, 50_000, "15"),
        (Commission(basis_points=D(3), maximum=D(20)), 10, 500_000, "20"),
        (Commission(per_unit=D("0.005"), minimum=D(1), maximum_basis_points=D(100)), 1_000, 10_000, "5"),
        (Commission(per_unit=D("0.005"), minimum=D(1), maximum_basis_points=D(100)), 10_000, 2_000, "20"),
        # The share holds over the minimum: ten at 0.20 cost two cents.
        (Commission(per_unit=D("0.005"), minimum=D(1), maximum_basis_points=D(100)), 10, 2, "0.02"),
        (Commission(per_unit=D(1), maximum=D(20), maximum_basis_points=D(100)), 100, 50_000, "20"),
        (Commission(per_order=D(2)), 1, 1, "2"),
        (Commission(tiers=(Tier(ZERO, D(25)), Tier(D(10_000), D(10)))), 1, 8_000, "20"),
        (Commission(tiers=(Tier(ZERO, D(25)), Tier(D(10_000), D(10)))), 1, 30_000, "45"),
    ],
)
def test_rule_14_commission_by_the_usual_schedules(model: Commission, units: int, amount: int, expected: str) -> None:
    assert model.total(D(units), D(amount)) == D(expected)
    assert model.total(ZERO, ZERO) == 0


@given(
    st.builds(Slippage, *[st.decimals(0, 200, places=2)] * 1, *[st.decimals(0, 2, places=3)] * 2),
    st.integers(1, 100_000),
    st.none() | st.integers(1, 100_000),
    st.decimals(0, 5, places=2),
    st.decimals(0, 1, places=3),
    st.booleans(),
)
def test_rule_14_slippage_never_betters_a_price_and_never_passes_a_limit(
    model: Slippage, ticks: int, limit_ticks: int | None, spread: Decimal, share: Decimal, buys: bool
) -> None:
    step = D("0.05")
    price, limit = ticks * step, None if limit_ticks is None else limit_ticks * step
    got = slipped(price, model.distance(price, spread, share), step, buys=buys, limit=limit)
    assert got % step == 0
    assert got > 0
    assert got >= price if buys else got <= price
    if limit is not None and (price <= limit if buys else price >= limit):
        assert got <= limit if buys else got >= limit


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rules_8_and_14_no_fill_passes_its_limit_whatever_the_slippage(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    for event in drive(Venue(INSTRUMENTS, how), tape, commands):
        sent = event.order
        if event.exec_type is ExecType.TRADE and sent.order_type in LIMITED and sent.limit_price is not None:
            buys = sent.side is Side.BUY
            assert event.last_price <= sent.limit_price if buys else event.last_price >= sent.limit_price


COMMISSIONS = st.builds(
    Commission,
    per_order=st.sampled_from([ZERO, D(1)]),
    per_unit=st.sampled_from([ZERO, D("0.005")]),
    basis_points=st.sampled_from([ZERO, D(2), D("7.5")]),
    tiers=st.sampled_from([(), (Tier(ZERO, D(25)), Tier(D(10_000), D(10))), (Tier(D(500), D(3)), Tier(D(900), ZERO))]),
    minimum=st.sampled_from([ZERO, D("1.5"), D(7)]),
    maximum=st.none() | st.sampled_from([D(7), D(40)]),
    maximum_basis_points=st.none() | st.sampled_from([D(4), D(100)]),
)


@given(COMMISSIONS, st.integers(1, 1_000), st.decimals(0, 100_000, places=2))
def test_rule_14_what_may_be_traded_for_a_commission_costs_that_and_more_of_it_more(
    model: Commission, units: int, amount: Decimal
) -> None:
    total = model.total(D(units), amount)
    most = model.most_traded(D(units), total)
    assert most >= amount
    assert model.total(D(units), most) == total
    if most < 10**20:
        assert model.total(D(units), most + D("0.01")) > total


class Books:
    """A venue and a gate side by side, as a desk has them."""

    def __init__(self, tape: Tape, how: VenueSettings, cash: Decimal, *, shorts: bool) -> None:
        self.tape, self.venue, self.gate, self.position = tape, Venue(INSTRUMENTS, how), Gate(), 0
        self.events: list[OrderEvent] = []
        self.gate.open_portfolio("P", cash)
        if shorts:
            self.gate.set_limit(make_limit("short_sale", D(1), "P"))
        self.venue.prime(tape, 0)

    def fold(self, events: Sequence[OrderEvent]) -> None:
        self.events += events
        for event in events:
            self.gate.fold(event, INSTRUMENTS[event.order.symbol])
            assert self.gate.exposure("P").cash >= 0
        assert self.gate.exposure("P").reserved_cash == sum(map(reserved_cash, self.venue.open_orders()))

    def go(self, through: int) -> None:
        while self.position < through:
            self.position, events = self.venue.advance(self.tape, self.position, through)
            self.fold(events)

    def send(self, sent: Order) -> Order | None:
        """The order as it was taken."""
        time = int(self.tape.time[self.position - 1]) if self.position else 0
        reference = self.venue.reference_price(sent.symbol, sent.side)
        if reference is None:
            return None
        sent = sent._replace(basis_sequence=self.position, basis_time=time)
        verdict = self.gate.check(sent, INSTRUMENTS[sent.symbol], reference, time, slip=self.venue.slip(sent))
        if verdict.reservation is None:
            return None
        self.fold(self.venue.accept(sent._replace(reservation=verdict.reservation), self.position, time))
        return sent._replace(reservation=verdict.reservation)

    def largest(self, sent: Order) -> Preview:
        """What would become of it."""
        reference = self.venue.reference_price(sent.symbol, sent.side)
        assert reference is not None
        slip = self.venue.slip(sent)
        return preview(self.gate, sent, INSTRUMENTS[sent.symbol], reference, 0, slip=slip)


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 2**32), tapes(), settings_drawn, st.integers(0, 4_000))
def test_rules_4_14_and_19_cash_is_never_below_zero_and_no_reservation_leaks(
    seed: int, tape: Tape, how: VenueSettings, cash: int
) -> None:
    """Splits aside, whose units the books would have to be told of."""
    tape = merge_without_splits(tape)
    rng, books = Random(seed), Books(tape, how, D(cash), shorts=False)
    for number in range(1, 9):
        books.go(rng.randint(books.position, len(tape)))
        sent = any_order(rng, number)
        books.send(sent._replace(costs=sent.costs or any_costs(rng, iceberg=True)))
    books.go(len(tape))
    books.fold(books.venue.expire_all(len(tape), int(tape.time[-1]) if len(tape) else 0))
    assert books.gate.exposure("P").reserved_cash == 0
    assert all(each.state not in TERMINAL for each in books.venue.open_orders())


def merge_without_splits(tape: Tape) -> Tape:
    rows = [i for i, number in enumerate(tape.source) if tape.sources[number].kind is not Kind.SPLIT]
    return Tape(tape.sources, tape.source[rows], tape.time[rows], tape.start[rows], tape.values[rows])


def test_rule_19_an_order_for_all_the_cash_fills_in_parts_though_its_first_pays_the_whole_minimum() -> None:
    tape = merge([bars([(100, 100, 100, 100, v) for v in (40, 40, 40, 40)])])
    books = Books(tape, VenueSettings(), D(1005), shorts=False)
    books.go(1)
    costs = Costs(Commission(per_order=D(2), minimum=D(5)))
    books.send(order(1, "B", "L", "9.5", 100.5, costs=costs))
    sent = books.venue.open_orders()[0]
    assert (sent.reservation.cash, sent.reservation.commission, sent.reservation.headroom) == (
        D("954.75"),
        5,
        D("45.25"),
    )
    books.go(4)
    assert books.gate.exposure("P").cash == D(1005) - 950 - 5


def test_rule_19_what_a_market_order_for_all_the_cash_cannot_pay_with_its_commission_is_canceled() -> None:
    tape = merge([bars([(100, 100, 100, 100, 1), (101, 101, 101, 101, 1)])])
    books = Books(tape, VenueSettings(volume_share=None), D(1010), shorts=False)
    books.go(1)
    books.send(order(1, "B", "M", 10, costs=Costs(Commission(basis_points=D(100)))))
    books.go(2)
    # 9.5 units cost 959.5 and 9.595; with ten the commission would be missing.
    assert books.gate.exposure("P").cash == D(1010) - D("959.5") - D("9.595")
    assert not books.venue.open_orders()


SLIPPING = [
    None,
    Slippage(basis_points=D(40)),
    Slippage(impact=D(2)),
    Slippage(basis_points=D(7), impact=D("0.5")),
    Slippage(spread_share=D("0.75")),
    Slippage(basis_points=D(3), spread_share=D(2), impact=D(1)),
]


@pytest.mark.parametrize("share", [D("0.1"), D("0.25"), None])
@pytest.mark.parametrize("slippage", SLIPPING)
@pytest.mark.parametrize("still", ["bars", "quotes", "deep"])
def test_rules_4_11_and_14_a_market_order_of_all_the_cash_is_not_cut_for_want_of_its_walk_or_slippage(
    slippage: Slippage | None, share: Decimal | None, still: str
) -> None:
    """The prices stand still, so that nothing but the walk, the slippage and the commission come on top of the best."""
    quotes = series(Kind.QUOTE, "BBB", [(minute, minute, (100, 101, 40, 40)) for minute in range(40)])
    of = {
        "bars": bars([(101, 101, 101, 101, 40)] * 40),
        "quotes": quotes,
        "deep": deep(quotes, [[(0, 0, 101.5, 20), (0, 0, 104, 12)]] * 40),
    }
    books = Books(merge([of[still]]), VenueSettings(volume_share=share), D(5_000), shorts=False)
    books.go(1)
    sent = order(1, "B", "M", 1, costs=Costs(Commission(basis_points=D(10), minimum=D(1)), slippage))
    found = books.largest(sent)
    assert found.largest
    assert found.beyond is not None
    assert found.beyond.limit == "buying_power"
    taken = books.send(sent._replace(quantity=found.largest))
    assert taken is not None
    books.go(40)
    assert not books.venue.open_orders()
    assert books.gate.exposure("P").positions[0].quantity == found.largest


@pytest.mark.parametrize(
    ("type_", "price", "slippage", "expected"),
    [
        ("M", None, Slippage(basis_points=D(50)), "5"),
        # To the next step of 0.5: 100 + 0.55.
        ("M", None, Slippage(basis_points=D(55)), "10"),
        # A quarter of a record's size at most: 100 x 0.8 x 0.25 x 0.25.
        ("M", None, Slippage(impact=D("0.8")), "50"),
        ("S", 120, Slippage(basis_points=D(50)), "10"),
        # Never past its limit, which it reserves at.
        ("L", 101, Slippage(basis_points=D(50)), "0"),
        # Bars have no spread.
        ("M", None, Slippage(spread_share=D(1)), "0"),
    ],
)
def test_rule_14_what_a_check_foresees_of_slippage(
    type_: str, price: float | None, slippage: Slippage, expected: str
) -> None:
    books = Books(
        merge([bars([(100, 100, 100, 100, 1000)])]), VenueSettings(volume_share=D("0.25")), D(9_000), shorts=False
    )
    books.go(1)
    sent = order(1, "B", type_, 10, *(() if price is None else (price,)), costs=Costs(None, slippage))
    found = books.largest(sent)
    assert found.slippage == D(expected)
    assert found.verdict.reservation is not None
    assert found.verdict.reservation.cash == found.notional + found.slippage
    assert books.largest(sent._replace(time_in_force=TimeInForce.OPG)).slippage == 0
    reducing = books.largest(sent._replace(reduce_only=True))
    assert (reducing.slippage, reducing.verdict.reservation and reducing.verdict.reservation.cash) == (D(expected), 0)


def test_rule_14_an_order_by_cash_and_sources_without_sizes_foresee_no_slippage() -> None:
    unsized = bars([(100, 100, 100, 100, 0)])
    books = Books(merge([unsized]), VenueSettings(), D(9_000), shorts=True)
    books.go(1)
    costs = Costs(None, Slippage(impact=D(3)))
    assert books.largest(order(1, "B", "M", 10, costs=costs)).slippage == 0
    sized = Books(merge([bars([(100, 100, 100, 100, 10)])]), VenueSettings(), D(9_000), shorts=True)
    sized.go(1)
    assert sized.largest(order(1, "B", "M", 10, costs=costs)).slippage > 0
    # An order's own share goes before the venue's: 100 x 3 x a quarter.
    half = order(1, "B", "M", 10, costs=costs, fill_settings=VenueSettings(volume_share=D("0.5")))
    assert sized.largest(half).slippage == 750
    by_cash = order(1, "B", "M", 0, costs=costs)._replace(cash_quantity=D(500))
    assert sized.largest(by_cash).slippage == 0
    short = sized.largest(order(1, "S", "M", 10, costs=costs))
    assert (short.slippage, short.initial_margin) == (30, 500)


def test_rule_4_a_check_counts_the_commission() -> None:
    costs = Costs(Commission(minimum=D(1)))
    tape = merge([bars([(100, 100, 100, 100, 1)])])
    for cash, passes in ((1000, False), (1001, True)):
        books = Books(tape, VenueSettings(), D(cash), shorts=False)
        books.go(1)
        books.send(order(1, "B", "M", 10, costs=costs))
        assert bool(books.venue.open_orders()) is passes


@pytest.mark.parametrize(
    ("side", "model", "before", "after"),
    [
        ("B", Commission(basis_points=D(10), minimum=D(1)), "10", "2"),
        ("B", Commission(basis_points=D(10), minimum=D(4)), "10", "4"),
        ("B", Commission(per_order=D(3), per_unit=D("0.1")), "13", "5"),
        ("B", Commission(basis_points=D(100), maximum=D(30)), "30", "20"),
        ("B", Commission(basis_points=D(10), tiers=(Tier(D(3000), D(90)),)), "73", "2"),
        ("S", Commission(basis_points=D(10)), "10", "2"),
        ("S", Commission(per_order=D(3), per_unit=D("0.1"), minimum=D(4)), "13", "5"),
        ("S", Commission(per_unit=D(1), maximum_basis_points=D(10)), "10", "2"),
        # Nobody knows how much more than its maximum it would have been.
        ("S", Commission(basis_points=D(100), maximum=D(30)), "30", "30"),
    ],
)
def test_rule_4_what_shrinks_gives_back_the_commission_of_what_it_no_longer_asks_for(
    side: str, model: Commission, before: str, after: str
) -> None:
    books = Books(merge([bars([(100, 100, 100, 100, 1)])]), VenueSettings(), D(20_000), shorts=True)
    books.go(1)
    sent = books.send(order(1, side, "M", 100, costs=Costs(model)))
    assert sent is not None
    assert sent.reservation.commission == D(before)
    books.fold(books.venue.replace("env-1", Replacement(quantity=D(20)), 1, 0))
    (left,) = books.venue.open_orders()
    assert left.reservation.commission == D(after)
    assert books.gate.exposure("P").reserved_cash == reserved_cash(left) == left.reservation.cash + D(after)


def test_rule_4_an_order_by_cash_gives_it_back_too() -> None:
    books = Books(merge([bars([(100, 100, 100, 100, 1)])]), VenueSettings(), D(20_000), shorts=False)
    books.go(1)
    model = Commission(basis_points=D(10), minimum=D(1))
    sent = books.send(order(1, "B", "M", 0, costs=Costs(model), cash_quantity=D(6000)))
    assert sent is not None
    assert sent.reservation.commission == 6
    books.fold(books.venue.replace("env-1", Replacement(cash_quantity=D("0.000000001")), 1, 0))
    assert books.venue.open_orders()[0].reservation.commission == 1
    assert books.gate.exposure("P").reserved_cash == D("1.000000001")


def test_rules_4_and_13_the_leg_of_an_oco_gives_back_the_commission_of_what_its_twin_has_filled() -> None:
    legs = [order(1, "B", "L", 10, 99), order(2, "B", "S", 10, 110)]
    costs = Costs(Commission(basis_points=D(10)))
    waits, triggered = (
        each._replace(reservation=Reservation(D(100) * 10, D(10), ZERO, D(1)), costs=costs)
        for each in listed(ContingencyType.OCO, legs)
    )
    assert cut(triggered, D(4)).reservation == Reservation(D(600), D(6), ZERO, D("0.6"))
    # What it was charged stays.
    paid = waits._replace(commission=D("0.8"), cum_quantity=D(2), leaves_quantity=D(8), gross_amount=D(800))
    assert cut(paid, D(8)).reservation.commission == D("0.8")


@law
@given(COMMISSIONS, st.integers(2, 400), st.data(), st.booleans())
def test_rules_4_and_19_what_has_shrunk_still_pays_for_all_of_itself(
    model: Commission, units: int, data: st.DataObject, in_parts: bool
) -> None:
    """The price stands still, and what shrinking sets free goes to others."""
    needed = D(units) * 101 + model.total(D(units), D(units) * 101)
    tape = merge([bars([(101, 101, 101, 101, 40 if in_parts else 10**6)] * 110)])
    books = Books(tape, VenueSettings(), needed, shorts=False)
    books.go(1)
    assert books.send(order(1, "B", "M", units, costs=Costs(model))) is not None
    books.go(2)
    fewer = data.draw(st.integers(1, units - 1))
    open_orders = books.venue.open_orders()
    if open_orders and open_orders[0].cum_quantity < fewer:
        books.fold(books.venue.replace("env-1", Replacement(quantity=D(fewer)), 2, 2 * MINUTE))
    books.venue.restore([], {"P": ZERO})
    books.go(len(tape))
    assert not books.venue.open_orders()
    assert {event.order.cancel_reason for event in books.events} == {CancelReason.NONE}


def test_rule_19_a_sale_that_does_not_bring_its_commission_is_canceled() -> None:
    tape = merge([bars([(1, 1, 1, 1, 100)] * 3)])
    books = Books(tape, VenueSettings(volume_share=None), D(1), shorts=False)
    books.go(1)
    books.send(order(1, "B", "M", 1))
    books.go(2)
    books.send(order(2, "S", "M", 1, costs=Costs(Commission(minimum=D(5)))))
    books.go(3)
    assert not books.venue.open_orders()
    assert books.gate.exposure("P").cash == 0


def test_rule_14_the_narrowest_scope_that_has_a_part_gives_it() -> None:
    models, per_order = VenueModels(), [Commission(per_order=D(n)) for n in range(4)]
    slow, wide = Latency(fixed=5), Slippage(basis_points=D(1))
    models.put(Scope(), VenueModel(per_order[0], wide, slow))
    models.put(Scope("", "AAA"), VenueModel(per_order[1]))
    models.put(Scope("P"), VenueModel(per_order[2]))
    models.put(Scope("P", "AAA"), VenueModel(per_order[3]))
    for portfolio, symbol, expected in (("Q", "BBB", 0), ("Q", "AAA", 1), ("P", "BBB", 2), ("P", "AAA", 3)):
        assert models.terms(portfolio, INSTRUMENTS[symbol], "c") == Terms(Costs(per_order[expected], wide), 5)
    models.put(Scope("P", "AAA"), None)
    assert models.terms("P", INSTRUMENTS["AAA"], "c").costs == Costs(per_order[2], wide)


def test_rules_12_and_34_latency_is_drawn_by_seed_and_order() -> None:
    model = Latency(fixed=1_000, jitter=500, seed=7)
    drawn = [model.of(f"1-{n}-1") for n in range(200)]
    assert drawn == [model.of(f"1-{n}-1") for n in range(200)]
    assert drawn != [Latency(1_000, 500, 8).of(f"1-{n}-1") for n in range(200)]
    assert 1_000 <= min(drawn) < 1_050
    assert 1_450 < max(drawn) <= 1_500


MODELS = [
    ModelChange(0, Scope(), VenueModel(Commission(per_unit=D("0.01"), minimum=D(1)), None, None)),
    ModelChange(4, Scope("p1"), VenueModel(None, Slippage(basis_points=D(7)), Latency(10**9, 10**12, 3))),
    ModelChange(4, Scope("", "B"), VenueModel(Commission(basis_points=D(5)))),
    ModelChange(9, Scope(), None),
]


def trade(models: Sequence[ModelChange], *, express: bool) -> tuple[Simulation, Result]:
    simulation = simulate(market(5, 90), cross(), lambda: OnBars(anything, ("A", "B")), models=models, express=express)
    return simulation, simulation.run()


@pytest.mark.parametrize("models", [[], MODELS[:1], MODELS])
def test_rule_34_with_costs_the_express_way_is_the_plain_one(models: list[ModelChange]) -> None:
    (_, fast), (_, plain) = trade(models, express=True), trade(models, express=False)
    assert fast.events == plain.events
    assert fast.digest() == plain.digest()
    assert any(event.last_commission for event in fast.events) is bool(models)


def test_models_hold_for_the_orders_that_come_after_they_were_set() -> None:
    simulation, result = trade(MODELS, express=True)
    first = {event.order.order_id: event.order for event in result.events if event.exec_id.endswith("-1")}
    numbers = {int(each.order_id.rpartition("-")[2]): each for each in first.values()}
    assert all(numbers[n].costs == Costs(MODELS[0].model.commission) for n in range(1, 5))  # type: ignore[union-attr]
    assert all((numbers[n].latency > 0) is (numbers[n].portfolio_id == "p1") for n in range(5, len(numbers) + 1))
    after = [each for n, each in numbers.items() if n > 9 and (each.portfolio_id, each.symbol) == ("p2", "A")]
    assert after
    assert all(each.costs is None for each in after)
    ledgers = simulation.books.ledgers
    for portfolio_id, ledger in ledgers.items():
        paid = sum((e.last_commission for e in result.fills if e.order.portfolio_id == portfolio_id), ZERO)
        assert ledger.commission == paid > 0


def test_each_setting_of_how_an_order_fills_is_that_of_the_narrowest_scope_that_says_it() -> None:
    models = VenueModels(settings=VenueSettings(volume_share=D("0.2")))
    assert models.terms("P", INSTRUMENTS["AAA"], "c").fill_settings is None
    models.put(Scope("P", "AAA"), VenueModel(Commission()))
    assert models.terms("P", INSTRUMENTS["AAA"], "c").fill_settings is None, "nothing is said of it"
    models.put(Scope(), VenueModel(fills=FillModel(True, D(0), False, BarPath.BY_DIRECTION)))
    models.put(Scope("", "AAA"), VenueModel(fills=FillModel(hold_day_orders=True)))
    models.put(Scope("P"), VenueModel(fills=FillModel(fill_on_touch=False, volume_share=D("0.5"))))
    models.put(Scope("P", "AAA"), VenueModel(fills=FillModel(bar_path=BarPath.UNKNOWN)))
    aaa, bbb = INSTRUMENTS["AAA"], INSTRUMENTS["BBB"]
    assert models.terms("P", aaa, "c").fill_settings == VenueSettings(False, D("0.5"), True, BarPath.UNKNOWN)
    assert models.terms("Q", bbb, "c").fill_settings == VenueSettings(True, None, False, BarPath.BY_DIRECTION)
    models.put(Scope(), None)
    assert models.terms("Q", INSTRUMENTS["AAA"], "c").fill_settings == VenueSettings(volume_share=D("0.2"))


IN_UNITS = Costs(Commission(basis_points=D(1000), in_units=True))


def test_rule_14_a_commission_in_units_takes_some_of_what_was_bought_and_no_cash() -> None:
    tape = merge([bars([(100, 100, 100, 100, v) for v in (100, 40, 60, 100, 100)])])
    books, ledger = Books(tape, VenueSettings(), D(1000), shorts=False), Ledger("P")
    ledger.deposit(D(1000), 0, 0, "deposit")
    books.go(1)
    books.send(order(1, "B", "M", 10, costs=IN_UNITS))
    (sent,) = books.venue.open_orders()
    assert (sent.reservation.cash, sent.reservation.commission) == (1000, 0), "all the cash buys"
    books.go(3)
    # Of the first 4 units a tenth is no whole step of 0.5; of all 10 it is one unit.
    fills = [each for each in books.events if each.last_quantity]
    assert [(e.last_quantity, e.last_commission_quantity, e.last_commission) for e in fills] == [(4, 0, 0), (6, 1, 100)]
    assert (fills[-1].order.commission_quantity, fills[-1].order.commission) == (1, 100)
    for fill in fills:
        ledger.apply(fill, INSTRUMENTS["BBB"])
    exposure = books.gate.exposure("P")
    assert (exposure.cash, exposure.reserved_cash, ledger.cash) == (0, 0, 0)
    assert (ledger.positions["BBB"].quantity, books.venue.held("P", "BBB")) == (9, 9)
    assert (ledger.commission, ledger.realized_pnl, ledger.balance(Account.FEES, "BBB")) == (100, 0, 1)
    # What was bought can be sold, and no more; a sale pays money.
    books.send(order(2, "S", "M", 9, costs=IN_UNITS))
    books.send(order(3, "S", "M", "0.5", costs=IN_UNITS))
    assert [each.order_id for each in books.venue.open_orders()] == ["env-2"]
    books.go(4)
    assert (books.gate.exposure("P").cash, books.venue.held("P", "BBB")) == (810, 0)


@given(
    st.integers(0, 9_999), st.integers(1, 400), st.integers(0, 400), st.integers(0, 40), st.sampled_from(["0.5", "3"])
)
def test_rule_21_a_buy_trades_the_fewest_units_that_leave_it_what_it_wants(
    points: int, wanted: int, traded: int, kept: int, increment: str
) -> None:
    step, costs = D(increment), Costs(Commission(basis_points=D(points) / 10, in_units=True))
    units, before = wanted * step, (min(kept, traded) * step, traded * step)

    def gets(trades: Decimal) -> Decimal:
        return trades - costs.keep(before[0], before[1] + trades, step)

    trades = costs.gross(units, step, before[1], before[0])
    assert (trades % step, gets(trades)) == (0, units)
    assert trades == units or gets(trades - step) < units, "no fewer would do"


def test_rule_21_a_commission_that_is_all_units_or_paid_in_money_asks_for_no_more() -> None:
    for model in (None, Commission(basis_points=D(1000)), Commission(basis_points=D(10_000), in_units=True)):
        assert Costs(model).gross(D(10), D("0.5")) == 10


@pytest.mark.parametrize(("volumes", "fills"), [([1000], [11]), ([40, 30, 1000], [4, 3, 4])])
def test_rule_21_a_buy_that_only_reduces_leaves_nothing_of_a_short(volumes: list[int], fills: list[int]) -> None:
    """A tenth of what it trades is its commission, in whole steps of a half: of 11 units, 10 come."""
    tape = merge([bars([(100, 100, 100, 100, v) for v in (100, 100, *volumes, 1000)])])
    books, ledger = Books(tape, VenueSettings(), D(3000), shorts=True), Ledger("P")
    ledger.deposit(D(3000), 0, 0, "deposit")
    books.go(1)
    books.send(order(1, "S", "M", 10))
    books.go(2)
    assert books.venue.held("P", "BBB") == -10
    books.send(order(2, "B", "M", 20, reduce_only=True, costs=IN_UNITS))
    books.go(len(tape))
    for event in books.events:
        ledger.apply(event, INSTRUMENTS["BBB"])
    own = [event for event in books.events if event.order.order_id == "env-2"]
    assert [event.last_quantity for event in own if event.last_quantity] == fills
    assert own[-1].order.cancel_reason is CancelReason.NOTHING_TO_REDUCE
    exposure = books.gate.exposure("P")
    assert (books.venue.held("P", "BBB"), ledger.positions["BBB"].quantity, exposure.collateral) == (0, 0, 0)
    assert (exposure.cash, ledger.cash, ledger.commission) == (2900, 2900, 100)


def test_rule_14_whole_units_are_not_kept_their_worth_is_paid_in_money() -> None:
    model = Commission(basis_points=D(15), in_units=True)
    models = VenueModels([ModelChange(0, Scope(), VenueModel(model))])
    models.reach(0)
    for step, in_units in (("1", False), ("100", False), ("0.1", True)):
        instrument = replace(INSTRUMENTS["BBB"], quantity_increment=D(step))
        assert models.terms("P", instrument, "c").costs == Costs(replace(model, in_units=in_units))


def test_rules_14_and_20_a_split_restates_the_units_that_were_kept() -> None:
    rows = [(0, 1, [100] * 5), (1, 2, [100] * 5), (3, 4, [50, 50, 50, 50, 1000])]
    tape = merge([series(Kind.SPLIT, "BBB", [(3, 3, (2, 1))]), series(Kind.BAR, "BBB", rows, "1m")])
    events = drive(Venue(INSTRUMENTS, VenueSettings()), tape, [Command(1, order(1, "B", "M", 30, costs=IN_UNITS))])
    fills = [each for each in events if each.last_quantity]
    assert [(e.last_quantity, e.last_commission_quantity) for e in fills] == [(10, 1), (40, 4)]
    assert (fills[-1].order.cum_quantity, fills[-1].order.commission_quantity) == (60, 6)
