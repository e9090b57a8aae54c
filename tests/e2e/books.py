"""What must hold of an environment whenever its time stands still, whatever happened before."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal

from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2
from tickmesh.risk.v1 import risk_pb2, risk_service_pb2

from services.domain.orders.claim import Claim, claim_of, pair_of, together
from services.domain.orders.order import TERMINAL, OrderState
from services.wire.orders import order_from_proto
from services.wire.pages import pages
from tests.e2e.chronicle import Chronicle
from tests.e2e.client import Client
from tests.e2e.mesh import Clients, repeated
from tests.e2e.told import Told
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
    claims = claims_of(still_open)
    assert Decimal(risk.reserved_cash) == sum((claim.cash for claim in claims), ZERO)
    assert risk.reservation_count == len(still_open)
    held = {each.symbol: each for each in seen.positions.values() if Decimal(each.quantity)}
    exposed = {each.symbol: each for each in risk.symbols if Decimal(each.quantity)}
    assert exposed.keys() == held.keys()
    for symbol, exposure in exposed.items():
        assert Decimal(exposure.quantity) == Decimal(held[symbol].quantity)
        assert Decimal(exposure.market_value) == Decimal(held[symbol].market_value.amount), symbol
    assert Decimal(risk.equity) == Decimal(portfolio.equity.amount)
    for each in risk.symbols:
        pending = [claim.quantity for claim in claims if claim.symbol == each.symbol]
        # An order by cash is sized when it fills; until then it may buy what its cash affords.
        by_cash = any(order.symbol == each.symbol and order.cash_quantity for order in still_open)
        assert by_cash or Decimal(each.pending_buy_quantity) == sum((units for units in pending if units > 0), ZERO)
        assert Decimal(each.pending_sell_quantity) == -sum((units for units in pending if units < 0), ZERO)


def claims_of(still_open: Iterable[order_pb2.Order]) -> list[Claim]:
    """What open orders lay claim to: of two of which only one can fill, the larger (rule 4)."""
    by_list: dict[str, list[Claim]] = defaultdict(list)
    for order in map(order_from_proto, still_open):
        by_list[pair_of(order) or order.order_id].append(claim_of(order))
    return [claim for claims in by_list.values() if (claim := together(claims)) is not None]


def check_ledger(seen: Account, chronicle: Chronicle) -> None:
    """The books, and so risk's exposure, are what the order events come to by themselves."""
    ledger = chronicle.books.ledgers[seen.portfolio.portfolio_id]
    assert Decimal(seen.portfolio.cash[0].amount) == ledger.cash
    held = {symbol: position.quantity for symbol, position in ledger.positions.items() if position.quantity}
    assert {symbol: Decimal(each.quantity) for symbol, each in seen.positions.items() if Decimal(each.quantity)} == held
    assert {each.symbol: Decimal(each.quantity) for each in seen.risk.symbols if Decimal(each.quantity)} == held


def check_orders(seen: Account, told: Mapping[str, Told], chronicle: Chronicle) -> None:
    """Everything acknowledged is there, as it was said; nothing is twice, nothing was invented (rule 2)."""
    by_client_id = {each.client_order_id: each for each in seen.orders}
    assert len(by_client_id) == len(seen.orders)
    assert by_client_id.keys() == told.keys()
    for client_order_id, each in told.items():
        each.check(by_client_id[client_order_id], chronicle)


def check_events(witness: Witness, orders: Iterable[order_pb2.Order], head: int, chronicle: Chronicle) -> None:
    """A follower saw every event once, each fit the one before it, and the last of each order is what it now is."""
    assert [event.sequence for event in witness.events] == list(range(1, head + 1))
    assert len({event.exec_id for event in witness.events}) == head
    chronicle.read(witness.events)
    listed = {each.order_id: each for each in orders}
    assert listed == {order_id: life[-1] for order_id, life in chronicle.lives.items()}
    # Numbers have no gaps either.
    assert {int(order_id.rpartition("-")[2]) for order_id in listed} == set(range(1, len(listed) + 1))


@dataclass
class World:
    """One environment with its customers."""

    clients: Clients
    environment_id: str
    customers: Sequence[Client]
    chronicle: Chronicle
    witnesses: list[Witness] = field(default_factory=list)

    async def state(self) -> environment_pb2.Environment:
        """As it stands."""
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=self.environment_id)
        found: environment_pb2.Environment = await repeated(self.clients.environments.GetEnvironment, request)
        return found

    async def pause(self) -> None:
        """Returns when time stands still: PAUSED shows once a cycle that somebody left is finished and stored."""
        deadline = time.monotonic() + 60
        request = environment_service_pb2.PauseReplayRequest(environment_id=self.environment_id)
        await repeated(self.clients.environments.PauseReplay, request, seconds=60)
        while (found := await self.state()).state != environment_pb2.ENVIRONMENT_STATE_PAUSED:
            assert time.monotonic() < deadline, f"{self.environment_id} would not pause: {found}"
            await asyncio.sleep(0.05)

    async def resume(self) -> None:
        """Lets time go on."""
        request = environment_service_pb2.ResumeReplayRequest(environment_id=self.environment_id)
        await repeated(self.clients.environments.ResumeReplay, request)

    async def check(self) -> None:
        """Everything that must hold while time stands still; that it does is held against it too."""
        before = await self.state()
        await self._check(before.tape_sequence)
        after = await self.state()
        stood = (before.state, before.cycle, before.tape_sequence)
        assert (after.state, after.cycle, after.tape_sequence) == stood, f"time moved: {before} {after}"

    async def _check(self, tape_sequence: int) -> None:
        for customer in self.customers:
            await customer.settle()
        request = order_service_pb2.ListOrdersRequest(environment_id=self.environment_id)
        orders = await list_all(self.clients.orders.ListOrders, request, "orders")
        head = max((each.last_event_sequence for each in orders), default=0)  # type: ignore[attr-defined]
        everything, *filtered = self.witnesses
        await everything.come_to(head)
        check_events(everything, orders, head, self.chronicle)  # type: ignore[arg-type]
        self.chronicle.come_to(tape_sequence)
        for customer in self.customers:
            seen = await account(self.clients, customer.portfolio_id, head)
            check_books(seen)
            check_risk(seen)
            check_ledger(seen, self.chronicle)
            if customer.alone:
                check_orders(seen, customer.told, self.chronicle)
        for witness, customer in zip(filtered, self.customers, strict=True):
            own = [each for each in everything.events if each.order.portfolio_id == customer.portfolio_id]
            await witness.come_to(own[-1].sequence if own else 0)
            assert witness.events == own

    async def end(self) -> None:
        """Cancels what is open, stops time for good, and checks that nothing is held for nobody."""
        for customer in self.customers:
            await customer.settle()
            await customer.cancel_all()
        request = environment_service_pb2.StopReplayRequest(environment_id=self.environment_id)
        await repeated(self.clients.environments.StopReplay, request, seconds=60)
        deadline = time.monotonic() + 60
        while (await self.state()).state != environment_pb2.ENVIRONMENT_STATE_STOPPED:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        await self.check()
        for customer in self.customers:
            seen = await account(self.clients, customer.portfolio_id, 0)
            assert all(OrderState(each.state) in TERMINAL for each in seen.orders)
            assert (float(seen.risk.reserved_cash), seen.risk.reservation_count) == (0.0, 0)

    async def close(self) -> None:
        """Lets the witnesses go."""
        for witness in self.witnesses:
            await witness.close()
