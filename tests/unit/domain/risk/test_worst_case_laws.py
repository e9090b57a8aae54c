"""No fills of what passed its check lead beyond a position limit, whatever fills before what (rule 4)."""

from decimal import Decimal

from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.money import ZERO
from services.domain.orders.claim import only_closes
from services.domain.orders.lists import listed
from services.domain.orders.order import TERMINAL, ContingencyType, ExecType, Order, OrderState, Side
from tests.unit.domain.risk.gates import restarted
from tests.unit.domain.risk.room import INSTRUMENTS, PRICES, D, Room

_BRACKET, _HELD = ContingencyType.BRACKET, OrderState.HELD
LIMITS = {
    "quantity": "max_position_quantity",
    "notional": "max_position_notional",
    "gross": "max_gross_exposure",
    "net": "max_net_exposure",
}
SYMBOLS, UNITS = st.sampled_from("AAB"), st.integers(1, 60)
ORDERS = st.tuples(
    st.sampled_from(["plain", "plain", "reducing", "reducing", "bracket"]), SYMBOLS, st.sampled_from(Side)
)
WAYS = st.sampled_from(["fill", "fill", "fill", "fill", "end", "replace", "restart"])


class Venue:
    """Trades what passed its check, in any order as far as the paper venue lets it; what only closes is cut."""

    def __init__(self, name: str, held: dict[str, int], place: dict[str, str]) -> None:
        self.room, self.open, self.name = Room(cash="1000000"), dict[str, Order](), name
        self.room.limit("short_sale", 1)
        self.room.gate.mark("B", PRICES["A"])
        for symbol, units in held.items():
            if units:
                self.room.fill(self.room.place(abs(units), symbol, side=Side.BUY if units > 0 else Side.SELL))
        self.symbols = "A" if "symbol" in place else "AB"

    def reached(self) -> Decimal:
        """Where the figure is without open orders."""
        held = [each for each in self.room.gate.exposure("p").positions if each.symbol in self.symbols]
        values = [each.market_value for each in held]
        return {
            "quantity": max((abs(each.quantity) for each in held), default=ZERO),
            "notional": max(map(abs, values), default=ZERO),
            "gross": sum(map(abs, values), ZERO),
            "net": abs(sum(values, ZERO)),
        }[self.name]

    def standing(self) -> Decimal:
        return next(each.standing.value for each in self.room.gate.usages() if each.limit.name == LIMITS[self.name])

    def place(self, kind: str, symbol: str, side: Side, units: int, strategy_id: str) -> None:
        if kind == "bracket":
            self.place_bracket(symbol, side, units)
            return
        order = self.room.order(units, symbol, "p", strategy_id, side, reduce_only=kind == "reducing")
        verdict = self.room.check(order)
        if verdict.reservation is not None:
            self.become(ExecType.NEW, order._replace(reservation=verdict.reservation), OrderState.NEW)

    def place_bracket(self, symbol: str, side: Side, units: int) -> None:
        other = Side.SELL if side is Side.BUY else Side.BUY
        orders = [self.room.order(0 if place else units, symbol, side=other if place else side) for place in range(3)]
        checked = [(order, self.room.check(order)) for order in listed(_BRACKET, orders)]
        if checked[0][1].reservation is None:
            self.room.gate.drop_unconfirmed()
            return
        for order, verdict in checked:
            assert verdict.reservation is not None, "exits wait for what the entry brings"
            state = _HELD if order.parent_order_id else OrderState.NEW
            self.become(ExecType.NEW, order._replace(reservation=verdict.reservation), state)

    def fill(self, order: Order, most: int) -> None:
        units = min(D(most), order.leaves_quantity)
        if only_closes(order):
            held = self.room.gate.funds["p"].holdings[order.symbol].quantity
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
    st.sampled_from([dict[str, str](), {"portfolio_id": "p"}, {"symbol": "A"}]),
    st.fixed_dictionaries({"A": st.integers(-60, 60), "B": st.integers(-60, 60)}),
    st.lists(st.tuples(ORDERS, UNITS, st.sampled_from(["", "s"])), min_size=2, max_size=6),
    st.lists(st.tuples(WAYS, st.integers(0, 9), UNITS), min_size=4, max_size=16),
)
def test_rule_4_no_fills_of_what_passed_lead_beyond_a_limit(
    name: str,
    bound: int,
    place: dict[str, str],
    held: dict[str, int],
    orders: list[tuple[tuple[str, str, Side], int, str]],
    then: list[tuple[str, int, int]],
) -> None:
    """What is beyond it from the start goes no further. A way out may, to more net exposure, if it asks nobody else."""
    venue = Venue(name, held, place)
    venue.room.limit(LIMITS[name], bound if name == "quantity" else bound * 100, **place)
    highest = max(D(bound if name == "quantity" else bound * 100), venue.reached())
    for (kind, symbol, side), units, strategy_id in orders:
        venue.place(kind, symbol, side, units, strategy_id)
        if name == "net" and kind == "reducing":
            highest = max(highest, venue.standing())
        assert venue.standing() <= highest
    for way, number, units in then:
        if way == "restart":
            venue.room.gate = restarted(venue.room.gate, INSTRUMENTS)
        elif venue.open:
            order = venue.open[sorted(venue.open)[number % len(venue.open)]]
            if way == "fill":
                venue.fill(order, units)
            elif way == "end":
                venue.end(order)
            else:
                venue.replace(order, units)
                if name == "net" and order.reduce_only:
                    highest = max(highest, venue.standing())
        assert venue.reached() <= venue.standing() <= highest
