"""No fills of what passed its check lead beyond a position limit, whatever fills before what (rule 4)."""

from decimal import Decimal
from itertools import product

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.money import ZERO
from services.domain.orders.claim import only_closes
from services.domain.orders.lists import listed
from services.domain.orders.order import TERMINAL, ContingencyType, ExecType, Order, OrderState, Side
from services.domain.risk.limits import ORDERED
from tests.unit.domain.risk.gates import restarted
from tests.unit.domain.risk.room import INSTRUMENTS, PRICES, D, Room

_BRACKET, _HELD = ContingencyType.BRACKET, OrderState.HELD
LIMITS = {
    "quantity": "max_position_quantity",
    "notional": "max_position_notional",
    "gross": "max_gross_exposure",
    "net": "max_net_exposure",
}
PLACED: list[dict[str, str]] = [
    {},
    {"portfolio_id": "p"},
    {"symbol": "A"},
    {"strategy_id": "s"},
    {"strategy_id": "s", "symbol": "A"},
]
STRATEGIES = ["", "s", "t"]
# What bounds how often somebody orders, and what is no bound.
RATES = frozenset({"max_order_rate", "initial_margin"})
SYMBOLS, UNITS = st.sampled_from("AAB"), st.integers(1, 60)
ORDERS = st.tuples(
    st.sampled_from(["plain", "plain", "reducing", "reducing", "bracket"]), SYMBOLS, st.sampled_from(Side)
)
WAYS = st.sampled_from(["fill", "fill", "fill", "fill", "end", "replace", "restart"])


class Venue:
    """Trades what passed its check, in any order as far as the paper venue lets it; what only closes is cut."""

    def __init__(self, held: dict[tuple[str, str], int], name: str = "", place: dict[str, str] | None = None) -> None:
        """By symbol and strategy what is held; the limit that is looked at, and what it is set for."""
        self.room, self.open, self.name, self.where = Room(cash="1000000"), dict[str, Order](), name, place or {}
        self.room.limit("short_sale", 1)
        self.room.gate.mark("B", PRICES["A"])
        for (symbol, strategy_id), units in held.items():
            if units:
                side = Side.BUY if units > 0 else Side.SELL
                self.room.fill(self.room.place(abs(units), symbol, strategy_id=strategy_id, side=side))

    def held(self, symbol: str) -> Decimal:
        return self.room.gate.funds["p"].holding(symbol).quantity

    def reached(self) -> Decimal:
        """Where the figure is without open orders."""
        funds = self.room.gate.funds["p"]
        own = funds.sleeve(self.where["strategy_id"]) if "strategy_id" in self.where else funds
        units = [each.quantity for symbol, each in own.holdings.items() if symbol in self.where.get("symbol", "AB")]
        price = PRICES["A"]
        return {
            "quantity": max(map(abs, units), default=ZERO),
            "notional": max(map(abs, units), default=ZERO) * price,
            "gross": sum(map(abs, units), ZERO) * price,
            "net": abs(sum(units, ZERO)) * price,
        }[self.name]

    def standing(self) -> Decimal:
        return next(each.standing.value for each in self.room.gate.usages() if each.limit.name == LIMITS[self.name])

    def place(self, kind: str, symbol: str, side: Side, units: int, strategy_id: str) -> Order | None:
        """The order as it passed, of a bracket its entry; None where it did not."""
        if kind == "bracket":
            return self.place_bracket(symbol, side, units, strategy_id)
        order = self.room.order(units, symbol, "p", strategy_id, side, reduce_only=kind == "reducing")
        verdict = self.room.check(order)
        if verdict.reservation is None:
            return None
        self.become(ExecType.NEW, order._replace(reservation=verdict.reservation), OrderState.NEW)
        return self.open[order.order_id]

    def place_bracket(self, symbol: str, side: Side, units: int, strategy_id: str) -> Order | None:
        other = Side.SELL if side is Side.BUY else Side.BUY
        sides = [(units, side), (0, other), (0, other)]
        orders = [self.room.order(size, symbol, "p", strategy_id, each) for size, each in sides]
        checked = [(order, self.room.check(order)) for order in listed(_BRACKET, orders)]
        if checked[0][1].reservation is None:
            self.room.gate.drop_unconfirmed()
            return None
        for order, verdict in checked:
            assert verdict.reservation is not None, "exits wait for what the entry brings"
            state = _HELD if order.parent_order_id else OrderState.NEW
            self.become(ExecType.NEW, order._replace(reservation=verdict.reservation), state)
        return self.open[checked[0][0].order_id]

    def fill(self, order: Order, most: int) -> None:
        units = min(D(most), order.leaves_quantity)
        if only_closes(order):
            held = self.held(order.symbol)
            units = min(units, max(ZERO, held if order.side is Side.SELL else -held))
        if not units or order.state is _HELD:
            self.end(order)
            return
        for twin in self.twins(order):
            self.become(ExecType.RESTATED, twin, twin.state, -units)
        order = self.open[order.order_id] = self.room.fill(order, units)
        if order.state in TERMINAL:
            del self.open[order.order_id]
        for child in [each for each in self.open.values() if each.parent_order_id == order.order_id]:
            waits = child.state is _HELD
            exec_type = ExecType.NEW if waits else ExecType.RESTATED
            self.become(exec_type, child, OrderState.NEW, units - child.quantity if waits else units)

    def replace(self, order: Order, units: int) -> None:
        """New terms; every other time risk's answer comes to nothing."""
        if order.order_list_id:
            return
        after = order._replace(quantity=order.cum_quantity + units, leaves_quantity=D(units))
        verdict = self.room.gate.check_replacement(after, INSTRUMENTS[order.symbol], PRICES[order.symbol], 0)
        if verdict.reservation is not None and units % 2:
            self.become(ExecType.REPLACED, after._replace(reservation=verdict.reservation), order.state)
        self.room.gate.drop_unconfirmed()

    def become(self, exec_type: ExecType, order: Order, state: OrderState, more: Decimal = ZERO) -> None:
        quantity = order.quantity + more
        order = order._replace(quantity=quantity, leaves_quantity=quantity - order.cum_quantity, state=state)
        if state is not _HELD and not order.leaves_quantity:
            self.end(order)
        else:
            self.open[order.order_id] = order
            self.room.tell(exec_type, order)

    def end(self, order: Order) -> None:
        """With a bracket's order end those that wait for it, or for the same units."""
        del self.open[order.order_id]
        self.room.tell(ExecType.CANCELED, order._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))
        waiting = [
            each for each in self.open.values() if each.parent_order_id == order.order_id and each.state is _HELD
        ]
        for each in waiting + self.twins(order):
            if each.order_id in self.open:
                self.end(each)

    def twins(self, order: Order) -> list[Order]:
        parent_id, own_id = order.parent_order_id, order.order_id
        return [
            each for each in self.open.values() if parent_id == each.parent_order_id != "" and each.order_id != own_id
        ]


@settings(max_examples=400)
@given(
    st.sampled_from(sorted(LIMITS)),
    st.integers(10, 60),
    st.sampled_from(PLACED),
    st.fixed_dictionaries({each: st.integers(-60, 60) for each in product("AB", STRATEGIES)}),
    st.lists(st.tuples(ORDERS, UNITS, st.sampled_from(STRATEGIES)), min_size=2, max_size=6),
    st.lists(st.tuples(WAYS, st.integers(0, 9), UNITS), min_size=4, max_size=16),
)
def test_rule_4_no_fills_of_what_passed_lead_beyond_a_limit(
    name: str,
    bound: int,
    place: dict[str, str],
    held: dict[tuple[str, str], int],
    orders: list[tuple[tuple[str, str, Side], int, str]],
    then: list[tuple[str, int, int]],
) -> None:
    """What is beyond it from the start goes no further.

    A way out may, to more net exposure. A strategy's figure may, where another's fill lets its own orders close more.
    """
    venue = Venue(held, name, place)
    venue.room.limit(LIMITS[name], bound if name == "quantity" else bound * 100, **place)
    highest = max(D(bound if name == "quantity" else bound * 100), venue.reached())
    for (kind, symbol, side), units, strategy_id in orders:
        placed = venue.place(kind, symbol, side, units, strategy_id)
        if name == "net" and placed is not None and only_closes(placed):
            highest = max(highest, venue.standing())
        assert venue.standing() <= highest
    for way, number, units in then:
        if way == "restart":
            venue.room.gate = restarted(venue.room.gate, INSTRUMENTS)
        elif venue.open:
            order = venue.open[sorted(venue.open)[number % len(venue.open)]]
            if way == "fill":
                venue.fill(order, units)
                opened = venue.held(order.symbol) * (1 if order.side is Side.BUY else -1) > 0
                if "strategy_id" in place and order.strategy_id != "s" and opened:
                    highest = max(highest, venue.standing())
            elif way == "end":
                venue.end(order)
            else:
                venue.replace(order, units)
                if name == "net" and only_closes(venue.open[order.order_id]):
                    highest = max(highest, venue.standing())
        assert venue.reached() <= venue.standing() <= highest


@settings(max_examples=400)
@given(
    st.booleans(),
    st.fixed_dictionaries({each: st.integers(-60, 60) for each in product("AB", STRATEGIES)}),
    st.lists(st.tuples(ORDERS, UNITS, st.sampled_from(STRATEGIES)), max_size=6),
    st.lists(st.tuples(WAYS, st.integers(0, 9), UNITS), max_size=8),
    st.lists(st.tuples(SYMBOLS, st.sampled_from(Side), UNITS, st.sampled_from(STRATEGIES)), min_size=1, max_size=4),
    st.integers(50, 150),
)
def test_where_no_open_order_may_open_a_way_out_always_stays(
    alone: bool,
    held: dict[tuple[str, str], int],
    orders: list[tuple[tuple[str, str, Side], int, str]],
    then: list[tuple[str, int, int]],
    asked: list[tuple[str, Side, int, str]],
    price: int,
) -> None:
    """However far beyond every bound things are: of a strategy that is alone, and where no limit is a strategy's."""
    venue = Venue({key: 0 if alone and key[1] != "s" else units for key, units in held.items()})
    gate = venue.room.gate
    gate.delete_limit("short_sale")
    for (kind, symbol, side), units, strategy_id in orders:
        placed = venue.place(kind, symbol, side, units, "s" if alone else strategy_id)
        if placed is not None and kind == "bracket":
            venue.fill(placed, units)
        elif placed is not None and not only_closes(placed):
            venue.end(placed)
    for order in [each for each in venue.open.values() if not only_closes(each)]:
        venue.end(order)
    for way, number, units in then:
        if way == "restart":
            gate = venue.room.gate = restarted(gate, INSTRUMENTS)
        elif venue.open:
            order = venue.open[sorted(venue.open)[number % len(venue.open)]]
            if way == "fill":
                venue.fill(order, units)
            elif way == "end":
                venue.end(order)
    gate.close(gate._marks)
    for symbol in "AB":
        gate.mark(symbol, D(price))
    for kind_of, where in product(ORDERED, PLACED):
        name = kind_of.name
        if name not in RATES and frozenset(where) in kind_of.places and (alone or "strategy_id" not in where):
            venue.room.limit(name, 1 if name == "restricted" else 0, **where)
    for symbol, side, units, strategy_id in asked:
        order = venue.room.order(units, symbol, "p", "s" if alone else strategy_id, side, reduce_only=True)
        assert venue.room.check(order).refusal is None
        gate.drop_unconfirmed()
    for order in [each for each in venue.open.values() if each.reduce_only]:
        for units in (order.cum_quantity + 1, order.quantity, order.quantity + 9):
            after = order._replace(quantity=units, leaves_quantity=units - order.cum_quantity)
            assert gate.check_replacement(after, INSTRUMENTS[order.symbol], PRICES["A"], 0).refusal is None
            gate.drop_unconfirmed()
