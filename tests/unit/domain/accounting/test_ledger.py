"""The books keep their laws whatever happens to them (rules 14 and 16 to 21)."""

import json
from collections import defaultdict
from decimal import Decimal
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.accounting.ledger import PLACE, Account, Entry, EntryKind, Ledger, Posting
from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderState, OrderType, Side, TimeInForce

D = Decimal
STOCK = Instrument("AAPL")
COIN = Instrument("BTC/USD", quantity_increment=D("0.0001"), price_increment=D("0.01"))
FUTURE = Instrument("ES", contract_multiplier=D(50))
INSTRUMENTS = {i.symbol: i for i in (STOCK, COIN, FUTURE)}


def order(instrument: Instrument, side: Side, quantity: Decimal) -> Order:
    kinds = (side, OrderType.MARKET, TimeInForce.DAY)
    return Order("e-1", "c", "p", instrument.symbol, *kinds, quantity=quantity, state=OrderState.FILLED)


def fill(n: int, instrument: Instrument, side: Side, quantity: str, price: str, commission: str = "0") -> OrderEvent:
    terms = (D(quantity), D(price), D(commission))
    filled = order(instrument, side, D(quantity))._replace(event_count=n)
    return OrderEvent(ExecType.TRADE, filled, n * 1000, n, *terms)


class Fill(NamedTuple):
    instrument: Instrument
    side: Side
    increments: int
    price: Decimal
    commission: Decimal

    def __call__(self, ledger: Ledger, n: int) -> Posting:
        quantity = self.increments * self.instrument.quantity_increment
        terms = (str(quantity), str(self.price), str(self.commission))
        return ledger.apply(fill(n, self.instrument, self.side, *terms), self.instrument)


class Split(NamedTuple):
    instrument: Instrument
    numerator: int
    denominator: int
    mark: Decimal

    def __call__(self, ledger: Ledger, n: int) -> Posting:
        terms = (self.instrument.symbol, float(self.numerator), float(self.denominator))
        return ledger.split(*terms, time=n, tape_sequence=n, instrument=self.instrument, mark=self.mark)


class Transfer(NamedTuple):
    amount: Decimal

    def __call__(self, ledger: Ledger, n: int) -> Posting:
        return ledger.deposit(self.amount, n, n, f"t-{n}")


PRICES = st.decimals(D("0.0001"), D("99999"), places=4)
COMMISSIONS = st.decimals(D(0), D(10), places=2)
STEPS = st.one_of(
    st.builds(
        Fill, st.sampled_from((STOCK, COIN, FUTURE)), st.sampled_from(Side), st.integers(1, 50), PRICES, COMMISSIONS
    ),
    st.builds(Split, st.sampled_from((STOCK, COIN)), st.integers(1, 20), st.integers(1, 20), PRICES),
    st.builds(Transfer, st.decimals(D("0.01"), D(10**6), places=2)),
)
HISTORIES = st.lists(STEPS, max_size=25)


def run(
    steps: list[Fill | Split | Transfer], ledger: Ledger | None = None, first: int = 1
) -> tuple[Ledger, list[Entry]]:
    ledger = ledger or Ledger("p")
    return ledger, [entry for n, step in enumerate(steps, first) for entry in step(ledger, n)]


def test_rule_16_a_fill_moves_units_and_cash_and_both_sum_to_zero() -> None:
    ledger = Ledger("p")
    ledger.deposit(D(10_000), 0, 0, "t-1")
    posting = ledger.apply(fill(7, STOCK, Side.BUY, "10", "100.25", "1.50"), STOCK)
    assert [(e.sequence, e.kind, e.account, e.asset, e.amount) for e in posting] == [
        (3, EntryKind.TRADE, Account.POSITION, "AAPL", D(10)),
        (4, EntryKind.TRADE, Account.MARKET, "AAPL", D(-10)),
        (5, EntryKind.TRADE, Account.CASH, "USD", D("-1002.5")),
        (6, EntryKind.TRADE, Account.MARKET, "USD", D("1002.5")),
        (7, EntryKind.COMMISSION, Account.CASH, "USD", D("-1.5")),
        (8, EntryKind.COMMISSION, Account.FEES, "USD", D("1.5")),
    ]
    assert {(e.transaction_id, e.exec_id, e.order_id, e.time, e.tape_sequence) for e in posting} == {
        ("e-1-7", "e-1-7", "e-1", 7000, 7)
    }
    assert ledger.cash == D("8996.00")
    assert ledger.commission == D("1.5")


@given(HISTORIES)
def test_rule_16_entries_are_gapless_sum_to_zero_and_to_the_balances(steps: list[Fill | Split | Transfer]) -> None:
    ledger, entries = run(steps)
    assert [entry.sequence for entry in entries] == list(range(1, len(entries) + 1))
    by_transaction: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    by_account: dict[tuple[Account, str], Decimal] = defaultdict(Decimal)
    for entry in entries:
        by_transaction[entry.transaction_id, entry.asset] += entry.amount
        by_account[entry.account, entry.asset] += entry.amount
    assert not any(by_transaction.values())
    assert all(ledger.balance(account, asset) == amount for (account, asset), amount in by_account.items())
    assert ledger.cash == by_account[Account.CASH, "USD"]


@given(HISTORIES, PRICES)
def test_rules_14_and_17_equity_less_deposits_is_the_profit_less_commission(
    steps: list[Fill | Split | Transfer], mark: Decimal
) -> None:
    ledger, _ = run(steps)
    marks = dict.fromkeys(INSTRUMENTS, mark)
    deposits = sum((step.amount for step in steps if isinstance(step, Transfer)), D(0))
    profit = ledger.realized_pnl + ledger.unrealized_pnl(marks) - ledger.commission
    assert ledger.equity(marks) - deposits == profit
    values = (p.market_value(mark) for p in ledger.positions.values())
    assert ledger.equity(marks) == ledger.cash + sum(values, D(0))
    assert ledger.realized_pnl == sum((p.realized_pnl for p in ledger.positions.values()), D(0))


@given(HISTORIES)
def test_rule_18_lots_sum_to_the_position_in_units_and_cost(steps: list[Fill | Split | Transfer]) -> None:
    ledger, _ = run(steps)
    for symbol, position in ledger.positions.items():
        lots = ledger.lots(symbol)
        assert sum((lot.quantity for lot in lots), D(0)) == position.quantity
        assert sum((lot.cost for lot in lots), D(0)) == position.cost
        assert position.quantity == ledger.balance(Account.POSITION, symbol)
        assert [lot.lot_id for lot in lots] == sorted({lot.lot_id for lot in lots})
        assert all((lot.quantity > 0) == (position.quantity > 0) or not lot.quantity for lot in lots)
        assert bool(lots) == bool(position.quantity)


@given(HISTORIES)
def test_rule_21_no_residue_below_the_increment_is_ever_held(steps: list[Fill | Split | Transfer]) -> None:
    ledger, _ = run(steps)
    for symbol, position in ledger.positions.items():
        assert position.quantity % INSTRUMENTS[symbol].quantity_increment == 0


@given(HISTORIES, HISTORIES)
def test_rule_2_a_restored_ledger_goes_on_as_if_never_stopped(
    before: list[Fill | Split | Transfer], after: list[Fill | Split | Transfer]
) -> None:
    ledger, _ = run(before)
    restored = Ledger.restore(json.loads(json.dumps(ledger.snapshot())))
    assert restored.snapshot() == ledger.snapshot()
    _, entries = run(after, ledger, len(before) + 1)
    _, again = run(after, restored, len(before) + 1)
    assert entries == again
    assert restored.snapshot() == ledger.snapshot()


@given(HISTORIES)
def test_what_a_posting_says_has_changed_is_all_that_a_store_needs(steps: list[Fill | Split | Transfer]) -> None:
    ledger, positions, lots = Ledger("p"), {}, {}
    for n, step in enumerate(steps, 1):
        posting = step(ledger, n)
        if posting.position is not None:
            positions[posting.position.symbol] = posting.position
        for lot in posting.closed_lots:
            del lots[lot.lot_id]
        lots.update({lot.lot_id: lot for lot in posting.lots})
    assert positions == ledger.positions
    assert lots == {lot.lot_id: lot for symbol in positions for lot in ledger.lots(symbol)}


def test_rule_17_scenario_g_only_the_closed_part_is_realised_at_the_flip() -> None:
    ledger = Ledger("p")
    ledger.deposit(D(10_000), 0, 0, "t-1")
    ledger.apply(fill(1, STOCK, Side.BUY, "10", "100"), STOCK)
    flip = ledger.apply(fill(2, STOCK, Side.SELL, "25", "110"), STOCK)
    assert flip.realized_pnl == 100
    assert flip.position is not None
    assert (flip.position.quantity, flip.position.avg_price) == (-15, 110)
    assert [lot.lot_id for lot in flip.closed_lots] == [1]
    [short] = flip.lots
    assert (short.lot_id, short.quantity, short.open_price, short.open_exec_id) == (2, -15, 110, "e-1-2")
    cover = ledger.apply(fill(3, STOCK, Side.BUY, "15", "105"), STOCK)
    assert cover.realized_pnl == 75
    assert ledger.realized_pnl == 175
    assert ledger.equity({}) == ledger.cash == 10_175
    assert ledger.lots("AAPL") == []


def test_rule_18_lots_close_first_in_first_out_and_a_part_keeps_its_place() -> None:
    ledger = Ledger("p")
    for n, price in enumerate(("10", "20", "30"), 1):
        ledger.apply(fill(n, STOCK, Side.BUY, "10", price), STOCK)
    posting = ledger.apply(fill(4, STOCK, Side.SELL, "15", "40"), STOCK)
    assert posting.realized_pnl == 10 * 30 + 5 * 20
    assert [lot.lot_id for lot in posting.closed_lots] == [1]
    assert [(lot.lot_id, lot.quantity, lot.open_price) for lot in ledger.lots("AAPL")] == [(2, 5, 20), (3, 10, 30)]
    assert ledger.positions["AAPL"].avg_price == D(400) / 15


def test_rule_18_another_matching_takes_other_lots() -> None:
    class Lifo:
        def choose(self, lots: object) -> int:
            return -1

    ledger = Ledger("p", matching=Lifo())
    for n, price in enumerate(("10", "20"), 1):
        ledger.apply(fill(n, STOCK, Side.BUY, "10", price), STOCK)
    assert ledger.apply(fill(3, STOCK, Side.SELL, "10", "40"), STOCK).realized_pnl == 200


def test_rule_21_a_contract_multiplier_is_in_cash_cost_and_profit() -> None:
    ledger = Ledger("p")
    ledger.apply(fill(1, FUTURE, Side.BUY, "2", "4000"), FUTURE)
    assert ledger.cash == -400_000
    assert ledger.positions["ES"].avg_price == 4000
    assert ledger.positions["ES"].unrealized_pnl(4010.0) == 1000
    assert ledger.apply(fill(2, FUTURE, Side.SELL, "2", "4010"), FUTURE).realized_pnl == 1000


@given(
    st.lists(st.tuples(st.integers(1, 99), PRICES), min_size=1, max_size=6),
    st.sampled_from(Side),
    st.integers(1, 30),
    st.integers(1, 30),
    PRICES,
)
def test_rule_20_a_split_keeps_cost_and_value(
    fills: list[tuple[int, Decimal]], side: Side, numerator: int, denominator: int, mark: Decimal
) -> None:
    ledger, _ = run([Fill(STOCK, side, units, price, D(0)) for units, price in fills])
    before, equity = ledger.positions["AAPL"], ledger.equity({"AAPL": mark})
    posting = Split(STOCK, numerator, denominator, mark)(ledger, 9)
    after = ledger.positions["AAPL"]
    new_mark = mark * denominator / numerator
    rounding = (after.quantity.copy_abs() + new_mark + 1) * PLACE
    assert abs(ledger.equity({"AAPL": new_mark}) - equity) <= rounding, "cash in lieu keeps what units lose"
    assert after.cost + (ledger.cash - posting.realized_pnl) == before.cost + sum_of(fills, side)
    exact = before.quantity * numerator / denominator
    assert abs(after.quantity) <= abs(exact.quantize(D("1e-9")))
    assert abs(after.quantity - exact) < 1


def sum_of(fills: list[tuple[int, Decimal]], side: Side) -> Decimal:
    """The cash that the fills moved."""
    total = sum((units * price for units, price in fills), D(0))
    return total if side is Side.SELL else -total


def test_rule_20_a_fraction_is_paid_in_cash_at_the_last_mark() -> None:
    ledger = Ledger("p")
    ledger.apply(fill(1, STOCK, Side.BUY, "1", "100"), STOCK)
    ledger.apply(fill(2, STOCK, Side.BUY, "2", "120"), STOCK)
    cash = ledger.cash
    posting = ledger.split("AAPL", 3, 2, time=5, tape_sequence=9, instrument=STOCK, mark=120.0)
    assert [(e.kind, e.account, e.asset, e.amount) for e in posting] == [
        (EntryKind.SPLIT, Account.POSITION, "AAPL", D("1.5")),
        (EntryKind.SPLIT, Account.MARKET, "AAPL", D("-1.5")),
        (EntryKind.CASH_IN_LIEU, Account.POSITION, "AAPL", D("-0.5")),
        (EntryKind.CASH_IN_LIEU, Account.MARKET, "AAPL", D("0.5")),
        (EntryKind.CASH_IN_LIEU, Account.CASH, "USD", D(40)),
        (EntryKind.CASH_IN_LIEU, Account.MARKET, "USD", D(-40)),
    ]
    assert {e.transaction_id for e in posting} == {"split-AAPL-9"}
    assert ledger.positions["AAPL"].quantity == 4
    assert ledger.cash == cash + 40
    assert abs(posting.realized_pnl - D(20) / 3) < D("1e-20"), "half a unit of the first lot, which cost 100 / 3"
    assert [(lot.quantity, lot.open_time) for lot in ledger.lots("AAPL")] == [(1, 1000), (3, 2000)]


def test_rule_20_a_three_for_one_split_leaves_no_third_of_a_cent_behind() -> None:
    ledger = Ledger("p")
    ledger.apply(fill(1, STOCK, Side.BUY, "10", "100"), STOCK)
    ledger.split("AAPL", 3, 1, time=5, tape_sequence=9, instrument=STOCK)
    for n in range(2, 32):
        ledger.apply(fill(n, STOCK, Side.SELL, "1", "40"), STOCK)
    assert ledger.realized_pnl == 200
    assert ledger.positions["AAPL"].cost == 0


def test_rule_20_a_position_too_small_for_a_reverse_split_is_paid_out() -> None:
    ledger = Ledger("p")
    ledger.apply(fill(1, STOCK, Side.SELL, "3", "1"), STOCK)
    posting = ledger.split("AAPL", 1, 10, time=5, tape_sequence=9, instrument=STOCK, mark=D(2))
    assert ledger.positions["AAPL"].quantity == 0
    assert posting.realized_pnl == -3
    assert ledger.cash == -3
    assert [lot.lot_id for lot in posting.closed_lots] == [1]


def test_rule_20_a_split_of_what_is_not_held_moves_nothing() -> None:
    ledger = Ledger("p")
    assert not ledger.split("AAPL", 2, 1, time=5, tape_sequence=9, instrument=STOCK).entries
    ledger.apply(fill(1, STOCK, Side.BUY, "1", "100"), STOCK)
    ledger.apply(fill(2, STOCK, Side.SELL, "1", "100"), STOCK)
    assert not ledger.split("AAPL", 2, 1, time=5, tape_sequence=9, instrument=STOCK).entries


@pytest.mark.parametrize("ratio", [(0, 1), (1, 0), (-2, 1)])
def test_rule_20_a_ratio_that_is_none_is_refused(ratio: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="a split of"):
        Ledger("p").split("AAPL", *ratio, time=1, tape_sequence=1, instrument=STOCK)


@pytest.mark.parametrize(
    "exec_type", [kind for kind in ExecType if kind is not ExecType.TRADE], ids=lambda kind: kind.name
)
def test_rule_16_events_that_are_no_fills_move_nothing(exec_type: ExecType) -> None:
    ledger = Ledger("p")
    event = OrderEvent(exec_type, order(STOCK, Side.BUY, D(1)), 1, 1)
    assert ledger.apply(event, STOCK).entries == []
    assert ledger.sequence == 0


def test_rule_22_a_fill_in_another_currency_is_refused() -> None:
    euro = Instrument("SAP", currency_code="EUR")
    with pytest.raises(ValueError, match="SAP trades in EUR, not USD"):
        Ledger("p").apply(fill(1, euro, Side.BUY, "1", "1"), euro)


def test_rule_19_a_withdrawal_leaves_no_negative_cash() -> None:
    ledger = Ledger("p")
    ledger.deposit(D(100), 0, 0, "t-1")
    with pytest.raises(ValueError, match="cannot be withdrawn"):
        ledger.withdraw(D("100.01"), 1, 1, "t-2")
    posting = ledger.withdraw(D(100), 1, 1, "t-2")
    assert [(e.account, e.amount) for e in posting] == [(Account.CASH, -100), (Account.EXTERNAL, 100)]
    assert ledger.cash == 0
    for amount in (D(0), D(-1)):
        with pytest.raises(ValueError, match="a transfer of"):
            ledger.deposit(amount, 1, 1, "t-3")


@given(st.integers(1, 10**18 - 1), st.decimals(D("1e-9"), D(10**6), places=9))
def test_rule_16_no_digit_of_the_largest_wire_decimals_is_lost(units: int, price: Decimal) -> None:
    coin = Instrument("X", quantity_increment=D("1e-9"))
    quantity = units * D("1e-9") + 10**17
    ledger = Ledger("p")
    ledger.apply(fill(1, coin, Side.BUY, str(quantity), str(price)), coin)
    ledger.apply(fill(2, coin, Side.SELL, str(quantity), str(price)), coin)
    assert ledger.cash == ledger.realized_pnl == 0
