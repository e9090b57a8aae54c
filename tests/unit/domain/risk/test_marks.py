"""Running sums are those of all holdings to the last digit, whatever changed in whatever order."""

from decimal import Decimal

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from services.domain.accounting.ledger import Account, Entry, EntryKind
from services.domain.money import ZERO
from services.domain.orders.order import ExecType, Order, OrderState, Side
from services.domain.risk.buying_power import Funds
from services.domain.risk.marks import Marks
from services.domain.risk.tally import Sums
from tests.unit.domain.risk.gates import restarted
from tests.unit.domain.risk.room import INSTRUMENTS, PRICES, D, Room

# Mostly one symbol of one portfolio, where several strategies meet.
SYMBOLS, PORTFOLIOS = st.sampled_from("AAAABF"), st.sampled_from("pppq")
_LIMITS = ("max_gross_exposure", "max_net_exposure", "max_leverage", "max_daily_loss", "max_drawdown")


def _added_up(funds: Funds, marks: Marks) -> Sums:
    each = [(holding, holding.multiplier * marks(symbol)) for symbol, holding in funds.holdings.items()]
    return Sums(
        sum((holding.worst * price for holding, price in each), ZERO),
        sum((holding.reach(Side.BUY) * price for holding, price in each), ZERO),
        sum((holding.reach(Side.SELL) * price for holding, price in each), ZERO),
        sum((holding.quantity * price for holding, price in each), ZERO),
        sum((abs(holding.quantity) * price for holding, price in each), ZERO),
    )


class SumsMachine(RuleBasedStateMachine):
    """Prices move, orders come, fill and end, splits change what is held; now and then somebody asks."""

    @initialize(bounds=st.lists(st.integers(1, 60_000), min_size=len(_LIMITS), max_size=len(_LIMITS)))
    def start(self, bounds: list[int]) -> None:
        self.room, self.open, self.at = Room(cash="20000"), dict[str, Order](), 1
        self.room.limit("short_sale", 1)
        for name, bound, place in zip(_LIMITS, bounds, ("portfolio_id", "strategy_id", "", "", ""), strict=True):
            scale = 10_000 if name in {"max_leverage", "max_drawdown"} else 1
            self.room.limit(name, D(bound) / scale, **({place: place[0]} if place else {}))

    @rule(symbol=SYMBOLS, price=st.decimals(D("0.01"), D(200), places=2))
    def move(self, symbol: str, price: Decimal) -> None:
        self.room.gate.mark(symbol, price)

    @rule(
        symbol=SYMBOLS,
        side=st.sampled_from(Side),
        units=st.integers(1, 60),
        portfolio_id=PORTFOLIOS,
        strategy_id=st.sampled_from(["", "s", "t"]),
        reducing=st.booleans(),
    )
    def place(self, symbol: str, side: Side, units: int, portfolio_id: str, strategy_id: str, reducing: bool) -> None:
        room = self.room
        order = room.order(units, symbol, portfolio_id, strategy_id, side, reduce_only=reducing)
        verdict = room.check(order)
        if verdict.reservation is not None:
            terms = {"state": OrderState.NEW, "leaves_quantity": order.quantity, "event_count": 1}
            order = self.open[order.order_id] = order._replace(reservation=verdict.reservation, **terms)
            room.tell(ExecType.NEW, order, self.at)

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def fill(self, data: st.DataObject) -> None:
        order = self.open[data.draw(st.sampled_from(sorted(self.open)))]
        most = int(order.leaves_quantity)
        if order.reduce_only:
            held = self.room.gate.funds[order.portfolio_id].holdings[order.symbol].quantity
            most = min(most, int(held if order.side is Side.SELL else -held))
        if most > 0:
            self.look()
            order = self.room.fill(order, D(data.draw(st.integers(1, most))), self.at)
            self.open[order.order_id] = order
            self.look()
        if not order.leaves_quantity:
            del self.open[order.order_id]

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def end(self, data: st.DataObject) -> None:
        order = self.open.pop(data.draw(st.sampled_from(sorted(self.open))))
        self.room.tell(ExecType.CANCELED, order._replace(state=OrderState.CANCELED, leaves_quantity=ZERO), self.at)

    @rule(symbol=SYMBOLS, portfolio_id=PORTFOLIOS, closes=st.booleans())
    def halve(self, symbol: str, portfolio_id: str, closes: bool) -> None:
        """A split, or what is closed for cash."""
        held = self.room.gate.funds[portfolio_id].holdings.get(symbol)
        if held is not None and held.quantity:
            self.at += 1
            kind = EntryKind.CASH_IN_LIEU if closes else EntryKind.SPLIT
            entry = Entry(1, "x", kind, Account.POSITION, symbol, -held.quantity / 2, 0, self.at)
            self.room.gate.fold_entry(portfolio_id, entry)

    @rule()
    def restart(self) -> None:
        self.room.gate = restarted(self.room.gate, INSTRUMENTS)

    @rule(
        symbol=SYMBOLS,
        side=st.sampled_from(Side),
        units=st.integers(1, 60),
        portfolio_id=PORTFOLIOS,
        reducing=st.booleans(),
    )
    def ask(self, symbol: str, side: Side, units: int, portfolio_id: str, reducing: bool) -> None:
        """One that begins now says the same, to the last digit."""
        room = self.room
        verdict = room.check(order := room.order(units, symbol, portfolio_id, "s", side, reduce_only=reducing))
        room.gate.drop_unconfirmed()
        fresh = restarted(room.gate, INSTRUMENTS)
        assert fresh.check(order, INSTRUMENTS[symbol], PRICES[symbol], 0) == verdict

    @rule()
    def look(self) -> None:
        gate = self.room.gate
        for funds in gate.funds.values():
            for each in (funds, *funds.sleeves.values()):
                assert gate._marks.sums(each) == _added_up(each, gate._marks)
            pledged = sum((holding.pledged() for holding in funds.holdings.values()), ZERO)
            assert funds.held == funds.collateral - pledged
            assert set(funds.buying) == {symbol for symbol, each in funds.holdings.items() if each.pending_buy}
            assert funds.collateral == sum((holding.collateral for holding in funds.holdings.values()), ZERO)


TestSums = SumsMachine.TestCase
TestSums.settings = settings(max_examples=60, stateful_step_count=40)


def test_only_what_changed_is_counted_anew() -> None:
    """Ten thousand holdings, one price: the others are not looked at."""
    room = Room(cash="100000000")
    room.limit("max_gross_exposure", 10**9)
    funds = room.gate.funds["p"]
    for number in range(10_000):
        funds.trade(f"S{number}", D(1), D(100))
        room.gate.mark(f"S{number}", D(100))
    assert room.asks(1).reservation is not None
    room.gate.mark("S7", D(101))
    assert not funds.tally.stale - {"A"}
    funds.holdings["S9"].multiplier = D(10**9)
    assert room.asks(1).checks[0].value == 1_000_101
    funds.holding("S9")
    refusal = room.asks(1).refusal
    assert refusal is not None
    assert refusal.value == 100 * 10**9 + 1_000_001


def test_rule_20_what_a_split_changes_is_counted_anew_of_a_strategy_too() -> None:
    room = Room()
    room.fill(room.place(10, strategy_id="s"))
    funds, marks = room.gate.funds["p"], room.gate._marks
    assert [marks.sums(each).value for each in (funds, funds.sleeves["s"])] == [1000, 1000]
    room.gate.fold_entry("p", Entry(1, "x", EntryKind.SPLIT, Account.POSITION, "A", D(-5), 0, 2))
    assert [marks.sums(each).value for each in (funds, funds.sleeves["s"])] == [500, 500]


def test_what_changes_the_portfolios_holding_is_counted_anew_of_strategies_whose_orders_may_close_it() -> None:
    room = Room()
    room.limit("short_sale", 1)
    room.fill(room.place(50, strategy_id="s"))
    room.place(80, side=Side.SELL, strategy_id="s", reduce_only=True)
    funds, marks = room.gate.funds["p"], room.gate._marks
    assert marks.sums(funds.sleeves["s"]).short == 0
    room.fill(room.place(20, strategy_id="t"))
    assert marks.sums(funds.sleeves["s"]).short == 2000
    room.fill(room.place(60, side=Side.SELL))
    assert marks.sums(funds.sleeves["s"]).short == -4000
    room.gate.fold_entry("p", Entry(1, "x", EntryKind.SPLIT, Account.POSITION, "A", D(10), 0, 2))
    assert marks.sums(funds.sleeves["s"]).short == -8000
