"""Order lists: what makes one, what it reserves, and that it gives back all of it (rules 4, 5, 10 and 13)."""

from collections.abc import Mapping
from decimal import Decimal
from random import Random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from services.domain.money import ZERO
from services.domain.orders.claim import only_closes
from services.domain.orders.lists import BadList, check_list, inverted, listed
from services.domain.orders.order import (
    TERMINAL,
    CancelReason,
    ContingencyType,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.risk.gate import Gate
from services.domain.risk.limits import KillScope, make_limit
from services.domain.tape import Kind, Tape, merge
from services.domain.venue.matching import CannotReplace, Replacement, Venue, VenueSettings
from services.domain.venue.waiting.positions import Holder
from tests.unit.domain.risk.gates import state
from tests.unit.domain.venue.compare_venues import restored
from tests.unit.domain.venue.matching_reference import (
    INSTRUMENTS,
    Command,
    any_commands,
    any_settings,
    any_tape,
    order,
    series,
)

D = Decimal
OCO, OTO, BRACKET = ContingencyType.OCO, ContingencyType.OTO, ContingencyType.BRACKET
LIMIT, STOP = order(1, "S", "L", 10, 105), order(2, "S", "S", 10, 95)
ENTRY = order(1, "B", "M")
TARGET, EXIT = order(2, "S", "L", 0, 105), order(3, "S", "S", 0, 95)


def good_till(order: Order, time: int) -> Order:
    """The same, GTD."""
    return order._replace(time_in_force=TimeInForce.GTD, expire_time=time)


@pytest.mark.parametrize(
    ("kind", "orders", "place", "field"),
    [
        (OCO, [LIMIT], None, ""),
        (OCO, [LIMIT, STOP, order(3, "S", "S", 10, 90)], None, ""),
        (OCO, [LIMIT, STOP._replace(symbol="AAA")], 1, "symbol"),
        (OCO, [LIMIT, order(2, "B", "S", 10, 95)], 1, "side"),
        (OCO, [LIMIT, order(2, "S", "S", 9, 95)], 1, "quantity"),
        (OCO, [LIMIT, STOP._replace(reduce_only=True)], 1, "reduce_only"),
        (OCO, [LIMIT, order(2, "S", "M")], 1, "order_type"),
        (OCO, [LIMIT._replace(time_in_force=TimeInForce.IOC), STOP], 0, "time_in_force"),
        (OCO, [LIMIT._replace(display_quantity=D(2)), STOP], 0, "display_quantity"),
        (OCO, [LIMIT._replace(quantity=ZERO, cash_quantity=D(100)), STOP], 0, "cash_quantity"),
        (OCO, [LIMIT, STOP._replace(client_order_id="client-1")], 1, "client_order_id"),
        (OTO, [ENTRY], None, ""),
        (OTO, [ENTRY, *(order(n, "S", "L", 1, 105) for n in range(2, 12))], None, ""),
        (OTO, [ENTRY, order(2, "S", "M", time_in_force=TimeInForce.FOK)], 1, "time_in_force"),
        (BRACKET, [ENTRY, TARGET], None, ""),
        (BRACKET, [ENTRY, TARGET._replace(symbol="AAA"), EXIT], 1, "symbol"),
        (BRACKET, [ENTRY, TARGET, order(3, "B", "S", 0, 95)], 2, "side"),
        (BRACKET, [ENTRY, TARGET, order(3, "S", "S", 10, 95)], 2, "quantity"),
        (BRACKET, [ENTRY, TARGET, order(3, "S", "M", 0)], 2, "order_type"),
        (BRACKET, [ENTRY, TARGET._replace(time_in_force=TimeInForce.CLS), EXIT], 1, "time_in_force"),
        (BRACKET, [ENTRY._replace(reduce_only=True), TARGET, EXIT], 0, "reduce_only"),
        (BRACKET, [ENTRY, TARGET._replace(time_in_force=TimeInForce.DAY), EXIT], 2, "time_in_force"),
        (BRACKET, [ENTRY, good_till(TARGET, 9), good_till(EXIT, 10)], 2, "expire_time"),
    ],
)
def test_what_makes_no_list_is_refused_by_order_and_field(
    kind: ContingencyType, orders: list[Order], place: int | None, field: str
) -> None:
    with pytest.raises(BadList) as refused:
        check_list(kind, orders)
    assert (refused.value.place, refused.value.field) == (place, field)


def test_a_brackets_children_are_for_what_their_parent_is_and_only_reduce() -> None:
    check_list(BRACKET, [ENTRY, TARGET, EXIT])
    entry, target, stop = listed(BRACKET, [ENTRY, TARGET, EXIT])
    assert {each.order_list_id for each in (entry, target, stop)} == {"env-1"}
    assert (entry.parent_order_id, target.parent_order_id, stop.parent_order_id) == ("", "env-1", "env-1")
    assert (target.quantity, target.reduce_only, entry.reduce_only) == (10, True, False)


PRICED = order(1, "B", "L", 10, 100)
ABOVE, BELOW = TARGET._replace(limit_price=D(110)), EXIT._replace(stop_price=D(90))


def shorted(*orders: Order) -> list[Order]:
    """The same the other way round."""
    return [each._replace(side=Side.SELL if each.side is Side.BUY else Side.BUY) for each in orders]


@pytest.mark.parametrize(
    ("orders", "place", "field"),
    [
        ([ENTRY, ABOVE, EXIT._replace(stop_price=D(110))], 2, "stop_price"),
        ([ENTRY, ABOVE, EXIT._replace(stop_price=D(111))], 2, "stop_price"),
        ([ENTRY, EXIT._replace(stop_price=D(111)), ABOVE], 2, "limit_price"),
        ([ENTRY, order(2, "S", "MIT", 0, 90), order(3, "S", "SL", 0, 95, limit_price=D(80))], 2, "stop_price"),
        ([PRICED, TARGET._replace(limit_price=D(100)), BELOW], 1, "limit_price"),
        ([PRICED, TARGET._replace(limit_price=D(99)), order(3, "S", "TS", 0, 5)], 1, "limit_price"),
        ([PRICED, ABOVE, EXIT._replace(stop_price=D(100))], 2, "stop_price"),
        ([order(1, "B", "S", 10, 100), ABOVE, EXIT._replace(stop_price=D(105))], 2, "stop_price"),
        (
            [order(1, "B", "SL", 10, 100, limit_price=D(102)), TARGET._replace(limit_price=D(101)), BELOW],
            1,
            "limit_price",
        ),
        (
            [order(1, "B", "SL", 10, 120, limit_price=D(130)), TARGET._replace(limit_price=D(125)), BELOW],
            1,
            "limit_price",
        ),
        (
            [
                order(1, "B", "SL", 10, 120, limit_price=D(130)),
                TARGET._replace(limit_price=D(140)),
                order(3, "S", "S", 0, 125),
            ],
            2,
            "stop_price",
        ),
        (shorted(ENTRY, ABOVE, BELOW), 2, "stop_price"),
        (shorted(PRICED, BELOW._replace(stop_price=D(110)), ABOVE), 2, "limit_price"),
    ],
)
def test_rule_13_a_bracket_that_is_inverted_is_refused(orders: list[Order], place: int, field: str) -> None:
    with pytest.raises(BadList) as refused:
        check_list(BRACKET, orders)
    assert (refused.value.place, refused.value.field) == (place, field)


@pytest.mark.parametrize(
    "orders",
    [
        [ENTRY, ABOVE, BELOW],
        [ENTRY, BELOW, ABOVE],
        [PRICED, ABOVE, BELOW],
        [PRICED, ABOVE, order(3, "S", "TS", 0, 5)],
        [PRICED, BELOW, order(2, "S", "TS", 0, 5)],
        [PRICED, order(2, "S", "LIT", 0, 101, limit_price=D(99)), order(3, "S", "SL", 0, 99, limit_price=D(101))],
        shorted(PRICED, TARGET._replace(limit_price=D(90)), EXIT._replace(stop_price=D(110))),
    ],
)
def test_rule_13_a_bracket_whose_exits_lie_on_either_side_of_its_entry(orders: list[Order]) -> None:
    check_list(BRACKET, orders)


@pytest.mark.parametrize(
    ("entry", "name", "terms", "field"),
    [
        (PRICED, "env-3", {"stop_price": D(100)}, "stop_price"),
        (PRICED, "env-3", {"stop_price": D(450)}, "stop_price"),
        (PRICED, "env-2", {"limit_price": D(99)}, "limit_price"),
        (PRICED, "env-1", {"limit_price": D(110)}, "limit_price"),
        (PRICED, "env-1", {"limit_price": D(90)}, "stop_price"),
        (order(1, "B", "SL", 10, 105, limit_price=D(108)), "env-3", {"stop_price": D(106)}, "stop_price"),
        (order(1, "B", "S", 10, 105), "env-1", {"stop_price": D(111)}, "limit_price"),
        (ENTRY, "env-3", {"stop_price": D(100)}, "stop_price"),
        (ENTRY, "env-2", {"limit_price": D(100)}, "limit_price"),
    ],
)
def test_rule_13_new_terms_do_not_invert_a_bracket(
    entry: Order, name: str, terms: dict[str, Decimal], field: str
) -> None:
    """The market stands at 100: an entry at MARKET would fill there."""
    market = Market(bars(100, 100), ALL)
    market.advance(1)
    market.send(*listed(BRACKET, [entry, ABOVE, BELOW]))
    before = market.venue.order(name)
    assert before is not None
    with pytest.raises(CannotReplace) as refused:
        market.venue.replaced(before, Replacement(**terms))  # type: ignore[arg-type]
    assert (refused.value.reason, refused.value.field) == ("BRACKET_INVERTED", "")
    assert f"the {field} " in str(refused.value)


def test_rule_13_the_venue_itself_takes_no_terms_that_invert_a_bracket() -> None:
    market = Market(bars(100, 100), ALL)
    market.advance(1)
    market.send(*listed(BRACKET, [PRICED, ABOVE, BELOW]))
    with pytest.raises(CannotReplace):
        market.venue.replace("env-3", Replacement(stop_price=D(450)), 1, market.time)
    (stop,) = [each for each in market.venue.open_orders() if each.order_id == "env-3"]
    assert stop.stop_price == 90


def test_rule_13_exits_go_beyond_their_entry_once_it_has_filled_but_not_beyond_each_other() -> None:
    market = Market(bars(100, 100, 106, 104), ALL)
    market.advance(1)
    market.send(*listed(BRACKET, [PRICED._replace(limit_price=D(102)), ABOVE, BELOW]))
    market.advance(3)
    market.replace("env-3", stop_price=D(105))
    with pytest.raises(CannotReplace) as refused:
        market.venue.replace("env-2", Replacement(limit_price=D(105)), 3, market.time)
    assert refused.value.reason == "BRACKET_INVERTED"
    assert [(each.order.order_id, each.last_price) for each in market.advance(4) if each.last_quantity] == [
        ("env-3", 104)
    ]


def test_rule_13_an_exits_expiry_stays_its_twins() -> None:
    market = Market(bars(100, 100), ALL)
    market.advance(1)
    market.send(*listed(BRACKET, [PRICED, *(good_till(each, 10**18) for each in (ABOVE, BELOW))]))
    with pytest.raises(CannotReplace) as refused:
        market.venue.replace("env-2", Replacement(expire_time=2 * 10**18), 1, market.time)
    assert refused.value.field == "expire_time"


@pytest.mark.parametrize(
    ("orders", "bound", "value"),
    [
        ([ENTRY, TARGET._replace(limit_price=D(76)), EXIT._replace(stop_price=D(20))], 95, 76),
        ([ENTRY, TARGET, EXIT], 95, 95),
        (shorted(ENTRY, BELOW._replace(stop_price=D(94)), order(2, "S", "L", 0, 80)), 95, 94),
    ],
)
def test_rule_13_an_exit_beyond_the_price_that_its_entry_at_market_meets(
    orders: list[Order], bound: int, value: int
) -> None:
    check_list(BRACKET, orders)
    refusal = inverted(listed(BRACKET, orders), D(95))
    assert refusal is not None
    assert (refusal.reason, refusal.bound, refusal.value) == ("BRACKET_INVERTED", bound, value)
    assert inverted(listed(BRACKET, [ENTRY, ABOVE, BELOW]), D(95)) is None
    assert inverted(listed(OTO, [ENTRY, TARGET]), D(200)) is None


def entry(kind: str, price: float, limit: int | None = None, **terms: object) -> Order:
    return order(1, "B", kind, 10, price, **({} if limit is None else {"limit_price": D(limit)}), **terms)


@pytest.mark.parametrize(
    ("first", "target", "stop", "clashes", "waits"),
    [
        # The entry, its exits, the prices at which it would fill beyond one of them, those at which it does not.
        (entry("L", 110), 115, 105, [95, 104, 105], [106, 110, 111, 200]),
        (entry("S", 90), 95, 85, [95, 96, 100], [80, 89, 90, 94]),
        (entry("MIT", 110), 115, 105, [95, 105], [106, 111]),
        (entry("LIT", 100, 102), 110, 97, [90, 97], [98, 101, 103]),
        # Its limit keeps it out above, its trigger below.
        (entry("SL", 100, 105), 106, 98, [], [90, 99, 101, 105, 107, 110]),
        (entry("TS", 5), 115, 105, [], [100, 104, 116]),
        (entry("L", 110, post_only=True), 115, 105, [], [95, 105]),
    ],
)
def test_rule_13_an_exit_beyond_the_price_at_which_its_entry_would_fill_at_once(
    first: Order, target: int, stop: int, clashes: list[int], waits: list[int]
) -> None:
    orders = [first, TARGET._replace(limit_price=D(target)), EXIT._replace(stop_price=D(stop))]
    check_list(BRACKET, orders)
    found = {at: inverted(listed(BRACKET, orders), D(at)) for at in (*clashes, *waits)}
    assert [at for at, refusal in found.items() if refusal is not None] == clashes
    assert {refusal.bound for refusal in found.values() if refusal is not None} == set(map(D, clashes))


def test_rule_13_a_sale_that_would_fill_at_once_is_held_against_its_exits_likewise() -> None:
    orders = shorted(PRICED, TARGET._replace(limit_price=D(90)), EXIT._replace(stop_price=D(110)))
    refusal = inverted(listed(BRACKET, orders), D(111))
    assert refusal is not None
    assert (refusal.limit, refusal.bound, refusal.value) == ("stop_price", 111, 110)
    assert inverted(listed(BRACKET, orders), D(109)) is None


@pytest.mark.parametrize(
    ("first", "target", "stop", "name", "terms", "field"),
    [
        (entry("L", 108), 115, 90, "env-3", {"stop_price": D(101)}, "stop_price"),
        (entry("L", 108), 115, 101, "env-1", {"limit_price": D(109)}, "stop_price"),
        (entry("S", 90), 110, 85, "env-2", {"limit_price": D(96)}, "limit_price"),
        (entry("S", 90), 96, 85, "env-1", {"stop_price": D(91)}, "limit_price"),
    ],
)
def test_rule_13_new_terms_do_not_let_an_entry_fill_at_once_beyond_an_exit(
    first: Order, target: int, stop: int, name: str, terms: dict[str, Decimal], field: str
) -> None:
    """The market stands at 100, where each of the entries fills."""
    market = Market(bars(100, 100), ALL)
    market.advance(1)
    exits = TARGET._replace(limit_price=D(target)), EXIT._replace(stop_price=D(stop))
    market.send(*listed(BRACKET, [first, *exits]))
    before = market.venue.order(name)
    assert before is not None
    with pytest.raises(CannotReplace) as refused:
        market.venue.replaced(before, Replacement(**terms))  # type: ignore[arg-type]
    assert refused.value.reason == "BRACKET_INVERTED"
    assert f"the {field} " in str(refused.value)


class Market:
    """A venue and a gate that checks what is sent to it, both as the order service and risk have them."""

    def __init__(self, tape: Tape, how: VenueSettings, cash: int = 10_000, shorts: bool = False) -> None:
        self.tape, self.how = tape, how
        self.venue, self.gate = Venue(INSTRUMENTS, how), Gate()
        self.venue.prime(tape, 0)
        self.gate.open_portfolio("P", D(cash))
        if shorts:
            self.gate.set_limit(make_limit("short_sale", D(1), "P"))
        self.position, self.cash, self.shorts = 0, cash, shorts
        self.log: list[OrderEvent] = []

    @property
    def time(self) -> int:
        return int(self.tape.time[self.position - 1]) if self.position else 0

    def advance(self, through: int) -> list[OrderEvent]:
        made = []
        while self.position < through:
            self.position, events = self.venue.advance(self.tape, self.position, through)
            made += self.hear(events)
        return made

    def hear(self, events: list[OrderEvent]) -> list[OrderEvent]:
        for event in events:
            self.gate.fold(event, INSTRUMENTS[event.order.symbol])
        self.log += events
        return events

    def send(self, *orders: Order) -> list[OrderEvent]:
        """One order, or all those of a list: checked together, and taken or refused together."""
        checked, refusal = [], None
        for asked in orders:
            sent = asked._replace(basis_sequence=self.position, basis_time=self.time, reservation=Reservation())
            price = self.venue.reference_price(sent.symbol, sent.side)
            verdict = self.gate.check(sent, INSTRUMENTS[sent.symbol], price or D(100), self.time)
            refusal = refusal or verdict.refusal
            checked.append(sent._replace(reservation=verdict.reservation or Reservation()))
        if refusal is not None:
            refused = (self.venue.refuse(each, refusal, self.position, self.time) for each in checked)
            return self.hear([event for events in refused for event in events])
        return self.hear(self.venue.accept_list(checked, self.position, self.time))

    def replace(self, order_id: str, **terms: Decimal) -> list[OrderEvent]:
        before = self.venue.order(order_id)
        assert before is not None
        after = before._replace(**terms)
        verdict = self.gate.check_replacement(after, INSTRUMENTS[after.symbol], D(100), self.time)
        assert verdict.reservation is not None
        changes = Replacement(**terms)  # type: ignore[arg-type]
        return self.hear(self.venue.replace(order_id, changes, self.position, self.time, verdict.reservation))

    def end(self) -> None:
        self.advance(len(self.tape))
        self.hear(self.venue.expire_all(self.position, self.time))

    def rebuilt(self) -> Gate:
        """Of the events alone, as risk does after a restart (rule 4)."""
        gate = Gate()
        gate.open_portfolio("P", D(self.cash))
        if self.shorts:
            gate.set_limit(make_limit("short_sale", D(1), "P"))
        for event in self.log:
            gate.fold(event, INSTRUMENTS[event.order.symbol])
        return gate

    def money(self) -> tuple[Decimal, Decimal]:
        """What is reserved, and what can be spent beside it, as the gate says and as the venue does."""
        exposure = self.gate.exposure("P")
        assert exposure.spendable == self.venue.headroom["P"]
        return exposure.reserved_cash, exposure.spendable


def bars(*closes: float) -> Tape:
    """Flat bars, each of its price."""
    return merge([series(Kind.BAR, "BBB", [(i, i + 1, [price] * 4) for i, price in enumerate(closes)], "1m")])


def breakout(quantity: int = 10) -> list[Order]:
    """A purchase at 90 or at 110, whichever comes first."""
    return listed(OCO, [order(1, "B", "L", quantity, 90), order(2, "B", "S", quantity, 110)])


ALL = VenueSettings(volume_share=None)


def test_rule_4_an_oco_of_purchases_reserves_its_larger_leg_which_is_there_for_either() -> None:
    market = Market(bars(100, 85), ALL, cash=1_100)
    market.advance(1)
    assert [event.exec_type for event in market.send(*breakout())] == [ExecType.NEW, ExecType.NEW]
    assert market.money() == (1_100, 0)
    restated, filled = market.advance(2)
    assert (restated.order.cancel_reason, filled.last_price) == (CancelReason.TWIN_FILLED, 85)
    assert market.money() == (0, 250)


def test_rule_4_an_oco_whose_larger_leg_is_not_affordable_is_refused_whole() -> None:
    market = Market(bars(100, 85), ALL, cash=1_099)
    market.advance(1)
    events = market.send(*breakout())
    assert [event.order.state for event in events] == [OrderState.REJECTED] * 2
    refusals = {event.order.refusal for event in events}
    assert {refusal.reason for refusal in refusals if refusal} == {"INSUFFICIENT_BUYING_POWER"}
    assert market.gate.exposure("P").reserved_cash == 0
    assert not market.venue.open_orders()


def test_rule_4_each_part_that_one_leg_fills_releases_as_much_of_the_other() -> None:
    thin = merge([series(Kind.BAR, "BBB", [(i, i + 1, [p] * 4 + [40]) for i, p in enumerate([100, 85, 85, 85])], "1m")])
    market = Market(thin, VenueSettings(), cash=1_100)
    market.advance(1)
    market.send(*breakout())
    told = []
    for through in (2, 3, 4):
        market.advance(through)
        told.append(market.money())
    assert told == [(660, 100), (220, 200), (0, 250)]


def test_rule_4_a_purchase_whose_twin_reserved_less_than_it_costs_is_cut_to_what_both_have() -> None:
    """The open jumped: nothing is ever paid that is not there (rule 19)."""
    market = Market(bars(100, 130), ALL, cash=1_150)
    market.advance(1)
    market.send(*breakout())
    events = market.advance(2)
    assert [(e.order.order_id, e.exec_type.name, e.order.cancel_reason.name) for e in events] == [
        ("env-2", "TRIGGERED", "NONE"),
        ("env-1", "RESTATED", "NONE"),
        ("env-2", "TRADE", "NONE"),
        ("env-2", "CANCELED", "INSUFFICIENT_CASH"),
        ("env-1", "CANCELED", "TWIN_ENDED"),
    ]
    assert (events[2].last_quantity, events[2].last_price) == (D("8.5"), 130)
    assert market.money() == (0, D(45))


def test_rule_4_an_oco_of_sales_that_close_sells_what_is_held_only_once() -> None:
    market = Market(bars(100, 100, 106), ALL)
    market.advance(1)
    market.send(order(1, "B", "M"))
    market.advance(2)
    legs = listed(OCO, [order(2, "S", "L", 10, 105), order(3, "S", "S", 10, 95)])
    assert {event.exec_type for event in market.send(*legs)} == {ExecType.NEW}
    held = next(each for each in market.gate.exposure("P").positions if each.symbol == "BBB")
    assert (held.quantity, held.pending_sell) == (10, 10)
    assert market.send(order(4, "S", "M", 1))[0].order.state is OrderState.REJECTED, "they are sold already"
    market.advance(3)
    assert market.venue.positions == {}
    assert market.money() == (0, 10_060)


def test_rule_19_an_oco_that_opens_a_short_sets_its_larger_margin_aside() -> None:
    market = Market(bars(100, 95), ALL, shorts=True)
    market.advance(1)
    legs = listed(OCO, [order(1, "S", "L", 10, 110), order(2, "S", "S", 10, 96)])
    market.send(*legs)
    assert market.money() == (550, 9_450), "half of 1,100 for the limit, of 1,000 for the stop"
    market.advance(2)
    exposure = market.gate.exposure("P")
    assert (exposure.reserved_cash, exposure.collateral, exposure.cash) == (0, 1_425, 10_950)


def test_rule_4_a_shorts_collateral_pays_either_for_its_exits_or_for_another_buy() -> None:
    market = Market(bars(100, 100, 100, 120), ALL, cash=1_000, shorts=True)
    market.advance(1)
    target, stop = order(2, "B", "L", 0, 80), order(3, "B", "S", 0, 115)
    market.send(*listed(BRACKET, [order(1, "S", "M"), target, stop]))
    market.advance(2)
    assert market.gate.exposure("P").spendable == 500, "the short's 1,000 and 500 of margin are held"
    assert market.send(order(4, "B", "L", 12, 90))[0].order.state is OrderState.REJECTED, "what is held is the exits'"
    assert market.send(order(5, "B", "L", 5, 90))[0].order.state is OrderState.NEW
    market.advance(4)
    exposure = market.gate.exposure("P")
    assert (exposure.cash, exposure.reserved_cash, exposure.spendable) == (800, 450, 350)


def test_rule_4_an_exit_cannot_take_the_collateral_that_another_buy_counts_on() -> None:
    market = Market(bars(100, 100, 100), ALL, cash=1_000, shorts=True)
    market.advance(1)
    market.send(order(1, "S", "M"))
    market.advance(2)
    assert market.send(order(2, "B", "L", 12, 90))[0].order.state is OrderState.NEW
    assert market.gate.exposure("P").spendable == 500, "ten of the twelve are paid by the short's collateral"
    exit_ = order(3, "B", "S", 10, 115)._replace(reduce_only=True)
    refused = market.send(exit_)[0].order
    assert (refused.state, refused.refusal.reason) == (OrderState.REJECTED, "INSUFFICIENT_BUYING_POWER")
    market.hear(market.venue.cancel("env-2", 2, market.time))
    assert market.send(exit_._replace(order_id="env-4", client_order_id="client-4"))[0].order.state is OrderState.NEW


def test_rule_4_a_leg_that_is_put_on_a_larger_price_takes_over_what_is_reserved() -> None:
    market = Market(bars(100, 100), ALL, cash=1_300)
    market.advance(1)
    market.send(*breakout())
    for leg, terms, reserved in (
        ("env-1", {"limit_price": D(95)}, 1_100),
        ("env-2", {"stop_price": D(120)}, 1_200),
        ("env-1", {"limit_price": D(125)}, 1_250),
        ("env-2", {"stop_price": D(105)}, 1_250),
        ("env-1", {"limit_price": D(80)}, 1_050),
    ):
        market.replace(leg, **terms)
        assert market.money() == (reserved, 1_300 - reserved)
    market.hear(market.venue.cancel("env-1", 1, market.time))
    assert market.money() == (0, 1_300)


@pytest.mark.parametrize("order_id", ["env-1", "env-2", "env-3"])
def test_rule_7_the_quantity_of_a_lists_order_cannot_be_replaced(order_id: str) -> None:
    market = Market(bars(100, 100), ALL)
    market.advance(1)
    market.send(*listed(BRACKET, [order(1, "B", "L", 10, 90), TARGET, EXIT._replace(stop_price=D(80))]))
    before = market.venue.open_orders()
    with pytest.raises(CannotReplace) as refused:
        market.venue.replace(order_id, Replacement(quantity=D(5)), 1, market.time)
    assert refused.value.reason == "LIST_QUANTITY_FIXED"
    assert market.venue.open_orders() == before


def test_rule_5_orders_that_are_canceled_together_end_for_the_one_reason() -> None:
    market = Market(bars(100, 100), ALL)
    market.advance(1)
    bracket = listed(BRACKET, [order(1, "B", "L", 10, 90), TARGET, EXIT._replace(stop_price=D(80))])
    market.send(*bracket)
    events = market.venue.cancel_all(["env-3", "env-1"], 1, market.time, CancelReason.KILL_SWITCH)
    assert [(event.order.order_id, event.order.cancel_reason) for event in market.hear(events)] == [
        ("env-3", CancelReason.KILL_SWITCH),
        ("env-1", CancelReason.KILL_SWITCH),
        ("env-2", CancelReason.TWIN_ENDED),
    ]
    assert market.money() == (0, 10_000)


def test_rule_5_where_a_switch_lets_orders_reduce_a_buy_that_would_outlive_its_short_goes() -> None:
    market = Market(bars(100, 100, 100, 95), ALL, shorts=True)
    market.advance(1)
    market.send(order(1, "S", "M", 10))
    market.advance(2)
    market.send(order(2, "B", "L", 10, 96))
    assert [each.order.order_id for each in stop(market)] == ["env-2"]
    refused, taken = market.send(order(3, "B", "L", 10, 96)), market.send(order(4, "B", "M", 10, reduce_only=True))
    assert (refused[0].exec_type, taken[0].exec_type) == (ExecType.REJECTED, ExecType.NEW)
    market.advance(4)
    assert market.venue.held("P", "BBB") == 0


@settings(max_examples=300, deadline=None)
@given(seed=st.integers(0, 2**32), at=st.integers(1, 12))
def test_rule_5_where_a_switch_lets_orders_reduce_nothing_opens_or_enlarges_in_whatever_order(
    seed: int, at: int
) -> None:
    rng = Random(seed)
    whole = any_tape(rng, 12, 6)
    market, engaged = Market(whole, any_settings(rng), 100_000, shorts=True), False
    held = [Command(1, order(90 + n, rng.choice("BS"), "M", 20, symbol=each)) for n, each in enumerate(INSTRUMENTS)]
    for command in [*held, *any_commands(rng, 14, len(whole), 6, lists=0.3), Command(len(whole))]:
        while market.position < min(command.position, len(whole)):
            before = market.venue.positions
            market.position, events = market.venue.advance(whole, market.position, market.position + 1)
            kinds = {whole.sources[number].kind for number in whole.source[market.position - 1 : market.position]}
            if engaged and Kind.SPLIT not in kinds:
                _check_reduced(before, market.venue.positions)
            market.hear(events)
            if not engaged and market.position >= at:
                stop(market)
                engaged = True
        if command.sent:
            market.send(*command.sent)


def stop(market: Market) -> list[OrderEvent]:
    """Engages the switch, as risk and the order service do."""
    market.gate.engage(KillScope(), allow_reducing=True)
    going = [each.order_id for each in market.venue.open_orders() if not only_closes(each)]
    return market.hear(market.venue.cancel_all(going, market.position, market.time, CancelReason.KILL_SWITCH))


def _check_reduced(before: Mapping[Holder, Decimal], after: Mapping[Holder, Decimal]) -> None:
    for holder, units in after.items():
        assert units * before.get(holder, D(0)) > 0
        assert abs(units) <= abs(before[holder])


@settings(max_examples=200, deadline=None)
@example(seed=290399295, cash=743, shorts=True)  # a short's collateral, counted on by an OCO and by a bracket's exits
@given(seed=st.integers(0, 2**32), cash=st.integers(100, 20_000), shorts=st.booleans())
def test_rules_2_and_4_reservations_never_leak_whatever_becomes_of_lists(seed: int, cash: int, shorts: bool) -> None:
    """After every step the gate rebuilt of the events is the one that ran; when all has ended nothing is reserved."""
    rng = Random(seed)
    whole = any_tape(rng, 12, 6)
    market = Market(whole, any_settings(rng), cash, shorts)
    # The gate learns of splits from the books, which are not here.
    split = {whole.sources[number].symbol for number in whole.source if whole.sources[number].kind is Kind.SPLIT}
    for command in any_commands(rng, 8, len(whole), 6, lists=0.7):
        at = min(command.position, len(whole))
        market.advance(at)
        if command.sent and split.isdisjoint(each.symbol for each in command.sent):
            market.send(*command.sent)
        elif command.cancels:
            market.hear(market.venue.cancel(command.cancels, market.position, market.time))
        market.venue = restored(whole, market.how)(market.venue, market.position)  # type: ignore[assignment]
        assert state(market.rebuilt()) == state(market.gate)
    market.end()
    last = {event.order.order_id: event.order.state for event in market.log}
    assert set(last.values()) <= TERMINAL
    exposure = market.gate.exposure("P")
    assert exposure.reserved_cash == 0
    assert all(not (each.pending_buy or each.pending_sell) for each in exposure.positions)
    assert exposure.cash >= 0
    if not shorts and market.log:
        assert exposure.spendable == market.venue.headroom.get("P", exposure.spendable)
