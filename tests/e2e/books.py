"""What must hold of an environment whenever its time stands still, whatever happened before."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2
from tickmesh.risk.v1 import risk_pb2, risk_service_pb2

from services.domain.order import TERMINAL, OrderState, reserved_cash
from services.wire.orders import order_from_proto
from services.wire.pages import pages
from tests.e2e.load import Customer, check_later
from tests.e2e.mesh import Clients, repeated
from tests.e2e.witness import Witness

ZERO = Decimal(0)


@dataclass
class Account:
    """A portfolio as the order service, the books and risk each see it."""

    portfolio: portfolio_pb2.Portfolio
    positions: dict[str, portfolio_pb2.Position]
    lots: Sequence[portfolio_pb2.Lot]
    entries: Sequence[portfolio_pb2.LedgerEntry]
    executions: Sequence[order_pb2.Execution]
    orders: Sequence[order_pb2.Order]
    risk: risk_pb2.PortfolioRisk


async def list_all(call: object, request: object, name: str) -> list[object]:
    """Every page, over broken connections."""
    return await pages(lambda wanted: repeated(call, wanted), request, name)  # type: ignore[arg-type]


async def risk_at(clients: Clients, portfolio_id: str, head: int) -> risk_pb2.PortfolioRisk:
    """Risk's view once it has folded the events up to `head`, which it does soon after they were acknowledged."""
    request, deadline = risk_service_pb2.GetPortfolioRiskRequest(portfolio_id=portfolio_id), time.monotonic() + 30
    found = risk_pb2.PortfolioRisk()
    while (found := await repeated(clients.risk.GetPortfolioRisk, request)).order_sequence < head:
        assert time.monotonic() < deadline, f"risk stays at {found.order_sequence} of {head}"
        await asyncio.sleep(0.02)
    return found


async def account(clients: Clients, portfolio_id: str, head: int) -> Account:
    """Reads everything once risk has folded the events up to `head`."""
    risk = await risk_at(clients, portfolio_id, head)
    books, orders = clients.portfolios, clients.orders
    of = {"portfolio_id": portfolio_id}
    positions = await list_all(books.ListPositions, portfolio_service_pb2.ListPositionsRequest(**of), "positions")
    return Account(
        portfolio=await repeated(books.GetPortfolio, portfolio_service_pb2.GetPortfolioRequest(**of)),
        positions={each.symbol: each for each in positions},  # type: ignore[attr-defined, misc]
        lots=await list_all(books.ListLots, portfolio_service_pb2.ListLotsRequest(**of), "lots"),  # type: ignore[arg-type]
        entries=await list_all(  # type: ignore[arg-type]
            books.ListLedgerEntries, portfolio_service_pb2.ListLedgerEntriesRequest(**of), "ledger_entries"
        ),
        executions=await list_all(  # type: ignore[arg-type]
            orders.ListExecutions, order_service_pb2.ListExecutionsRequest(**of), "executions"
        ),
        orders=await list_all(orders.ListOrders, order_service_pb2.ListOrdersRequest(**of), "orders"),  # type: ignore[arg-type]
        risk=risk,
    )


def check_books(seen: Account) -> None:
    """Double entry holds, each fill is entered once, and balances are the sums of entries (rule 16)."""
    by_transaction: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    by_account: dict[tuple[int, str], Decimal] = defaultdict(Decimal)
    for entry in seen.entries:
        by_transaction[entry.transaction_id, entry.asset] += Decimal(entry.amount)
        by_account[entry.account, entry.asset] += Decimal(entry.amount)
    assert not {key: total for key, total in by_transaction.items() if total}
    sequences = [entry.sequence for entry in seen.entries]
    assert sequences == sorted(set(sequences))

    money = seen.portfolio.cash[0]
    assert Decimal(money.amount) == by_account[portfolio_pb2.LEDGER_ACCOUNT_CASH, money.currency_code]
    assert Decimal(money.amount) >= 0
    held = {
        asset: total
        for (kind, asset), total in by_account.items()
        if kind == portfolio_pb2.LEDGER_ACCOUNT_POSITION and total
    }
    assert held == {symbol: Decimal(each.quantity) for symbol, each in seen.positions.items() if Decimal(each.quantity)}
    lots: dict[str, Decimal] = defaultdict(Decimal)
    for lot in seen.lots:
        lots[lot.symbol] += Decimal(lot.quantity)
    assert held == {symbol: total for symbol, total in lots.items() if total}

    entered = {
        entry.exec_id: -Decimal(entry.amount)
        for entry in seen.entries
        if entry.kind == portfolio_pb2.LEDGER_ENTRY_KIND_TRADE and entry.account == portfolio_pb2.LEDGER_ACCOUNT_CASH
    }
    signs = {1: 1, 2: -1}
    traded = {each.exec_id: signs[each.side] * Decimal(each.quantity) * Decimal(each.price) for each in seen.executions}
    assert entered == traded
    assert len(traded) == len(seen.executions)


def check_risk(seen: Account) -> None:
    """Risk's exposure is the books', and it reserves for the open orders and for nothing else (rule 4)."""
    risk, portfolio = seen.risk, seen.portfolio
    still_open = [each for each in seen.orders if OrderState(each.state) not in TERMINAL]
    assert Decimal(risk.cash) == Decimal(portfolio.cash[0].amount)
    assert Decimal(risk.reserved_cash) == sum((reserved_cash(order_from_proto(each)) for each in still_open), ZERO)
    assert risk.reservation_count == len(still_open)
    held = {each.symbol: each for each in seen.positions.values() if Decimal(each.quantity)}
    exposed = {each.symbol: each for each in risk.symbols if Decimal(each.quantity)}
    assert exposed.keys() == held.keys()
    for symbol, exposure in exposed.items():
        assert Decimal(exposure.quantity) == Decimal(held[symbol].quantity)
        assert Decimal(exposure.market_value) == Decimal(held[symbol].market_value.amount), symbol
    assert Decimal(risk.equity) == Decimal(portfolio.equity.amount)
    for each in risk.symbols:
        pending = {1: ZERO, 2: ZERO}
        for order in still_open:
            # An order by cash is sized when it fills; until then it may buy what its cash affords.
            if order.symbol == each.symbol and not order.cash_quantity:
                pending[order.side] += Decimal(order.leaves_quantity)
        by_cash = any(order.symbol == each.symbol and order.cash_quantity for order in still_open)
        assert by_cash or Decimal(each.pending_buy_quantity) == pending[1]
        assert Decimal(each.pending_sell_quantity) == pending[2]


def check_orders(seen: Account, customer: Customer) -> None:
    """Everything acknowledged is there, as it was said; nothing is twice, nothing was invented (rule 2)."""
    by_client_id = {each.client_order_id: each for each in seen.orders}
    assert len(by_client_id) == len(seen.orders)
    assert by_client_id.keys() == customer.told.keys()
    for client_order_id, told in customer.told.items():
        order = by_client_id[client_order_id]
        assert told.known
        assert order.order_id == told.order_id
        if told.order is not None:
            check_later(told.order, order)
        else:
            assert order.state == order_pb2.ORDER_STATE_REJECTED
            assert order.refusal.reason == told.refusal.reason  # type: ignore[union-attr]
            bounds = told.refusal.metadata  # type: ignore[union-attr]
            assert (order.refusal.limit, order.refusal.bound) == (bounds.get("limit", ""), bounds.get("bound", ""))
        if told.canceled:
            assert order.state == order_pb2.ORDER_STATE_CANCELED
        working = OrderState(order.state) not in TERMINAL and not order.cash_quantity
        if working:
            assert Decimal(order.leaves_quantity) + Decimal(order.cum_quantity) == Decimal(order.quantity)


def check_events(witness: Witness, orders: Iterable[order_pb2.Order], head: int) -> None:
    """A follower saw every event once; the last of each order says what the order now is."""
    assert [event.sequence for event in witness.events] == list(range(1, head + 1))
    assert len({event.exec_id for event in witness.events}) == head
    last = {event.order.order_id: event.order for event in witness.events}
    counts: dict[str, int] = defaultdict(int)
    for event in witness.events:
        counts[event.order.order_id] += 1
        assert event.exec_id == f"{event.order.order_id}-{counts[event.order.order_id]}"
    listed = {each.order_id: each for each in orders}
    assert listed == last
    # Numbers have no gaps either.
    assert {int(order_id.rpartition("-")[2]) for order_id in listed} == set(range(1, len(listed) + 1))
