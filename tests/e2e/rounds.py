"""Rounds of killing under order load: an environment that stands, one that moves, customers in both, and a strategy."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from tickmesh.common.v1 import money_pb2
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.strategy.v1 import strategy_service_pb2

from services.domain.order import TERMINAL, OrderState
from tests.e2e.books import account, check_books, check_events, check_orders, check_risk, list_all
from tests.e2e.load import Customer
from tests.e2e.mesh import NAMES, Clients, Mesh, repeated
from tests.e2e.witness import Witness

SYMBOLS = ("AAPL", "IBM", "MSFT")
# Each is passed within a round of load and a few cycles; the number says at which passing of it to die, at most.
POINTS = {
    "order.after_reserve": 3,
    "order.before_commit": 4,
    "order.after_commit": 4,
    "order.after_reached_commit": 1,
    "risk.after_verdict": 3,
    "risk.mid_fold": 3,
    "portfolio.mid_fold": 1,
    "portfolio.after_commit": 1,
    "strategy.before_command": 1,
    "strategy.after_command": 1,
    "strategy.before_done": 2,
    "marketdata.after_reached": 2,
    "marketdata.after_fold": 3,
    "marketdata.before_store": 2,
    "marketdata.after_store": 2,
}
SESSIONS_PER_SECOND = 30.0
KINDS = (*NAMES, "all", *POINTS)
# An armed point is waited for: a strategy may have nothing to do for some sessions. One of 74 was not reached by then;
# more load brings every one, so that a round without a death at its point is a fault.
PASSING_SECONDS = 2.0
LOADS = 5


@dataclass
class World:
    """One environment with its customers."""

    clients: Clients
    environment_id: str
    customers: list[Customer]
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
        await self._check()
        after = await self.state()
        stood = (before.state, before.cycle, before.tape_sequence)
        assert (after.state, after.cycle, after.tape_sequence) == stood, f"time moved: {before} {after}"

    async def _check(self) -> None:
        for customer in self.customers:
            await customer.settle()
        request = order_service_pb2.ListOrdersRequest(environment_id=self.environment_id)
        orders = await list_all(self.clients.orders.ListOrders, request, "orders")
        head = max((each.last_event_sequence for each in orders), default=0)  # type: ignore[attr-defined]
        for customer in self.customers:
            seen = await account(self.clients, customer.portfolio_id, head)
            check_books(seen)
            check_risk(seen)
            if customer.told or customer.symbols:
                check_orders(seen, customer)
        everything, *filtered = self.witnesses
        await everything.come_to(head)
        check_events(everything, orders, head)  # type: ignore[arg-type]
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
        for witness in self.witnesses:
            await witness.close()


async def create(clients: Clients, environment_id: str, chance: random.Random, *, moving: bool) -> World:
    """An environment with two customers; one that moves has a strategy as well, with a portfolio of its own."""
    request = environment_service_pb2.CreateReplayRequest(
        environment_id=environment_id,
        data_set_id="us-daily",
        symbols=SYMBOLS,
        warm_up_sessions=20,
        pace=environment_pb2.Pace(sessions_per_second=SESSIONS_PER_SECOND),
    )
    await repeated(clients.environments.CreateReplay, request, each=60.0)
    customers = []
    for name in ("ann", "bob", *(["auto"] if moving else [])):
        portfolio_id = f"{environment_id}-{name}"
        cash = money_pb2.Money(currency_code="USD", amount="200000")
        opening = portfolio_service_pb2.CreatePortfolioRequest(
            portfolio_id=portfolio_id, environment_id=environment_id, initial_cash=cash
        )
        await repeated(clients.portfolios.CreatePortfolio, opening)
        symbols = () if name == "auto" else SYMBOLS
        customers.append(
            Customer(clients, environment_id, portfolio_id, symbols, random.Random(chance.randrange(10**9)))
        )
    if moving:
        await _deploy(clients, environment_id)
        begin = environment_service_pb2.StartReplayRequest(environment_id=environment_id)
        await repeated(clients.environments.StartReplay, begin)
    world = World(clients, environment_id, customers)
    world.witnesses = [
        Witness(clients, environment_id),
        *(Witness(clients, environment_id, each.portfolio_id) for each in customers),
    ]
    return world


async def _deploy(clients: Clients, environment_id: str) -> None:
    strategy_id = f"{environment_id}-cross"
    making = strategy_service_pb2.CreateStrategyRequest(
        strategy_id=strategy_id,
        kind="sma_cross",
        parameters={"fast": "2", "slow": "4", "quantity": "10"},
        symbols=SYMBOLS,
    )
    await repeated(clients.strategies.CreateStrategy, making)
    deploying = strategy_service_pb2.DeployStrategyRequest(
        strategy_id=strategy_id, portfolio_id=f"{environment_id}-auto", deployment_id=strategy_id
    )
    await repeated(clients.strategies.DeployStrategy, deploying)


@dataclass(frozen=True)
class Blow:
    """What a round does to whom.

    Attributes:
        kind: a service, "all" of them, or a point at which to die.
        passing: of the point, at which it dies.
        delay: seconds from the start of the load until the kill.
    """

    kind: str
    passing: int = 0
    delay: float = 0.0

    @property
    def names(self) -> tuple[str, ...]:
        """Whom it kills."""
        return NAMES if self.kind == "all" else (self.kind.partition(".")[0],)

    @classmethod
    def draw(cls, kind: str, chance: random.Random) -> Blow:
        """One of that kind."""
        if kind in POINTS:
            return cls(kind, passing=chance.randint(1, POINTS[kind]))
        return cls(kind, delay=chance.uniform(0.0, 0.15))

    async def fall(self, mesh: Mesh) -> bool:
        """Kills; whether all of them ran until then."""
        await asyncio.sleep(self.delay)
        return await asyncio.to_thread(mesh.kill, *self.names) == set(self.names)

    async def fall_at_point(self, mesh: Mesh, load: Callable[[], Awaitable[object]]) -> bool:
        """Loads until the service has died at its point; whether it did."""
        (name,) = self.names
        await asyncio.to_thread(mesh.arm, name, f"{self.kind}=kill-once:{self.passing}")
        await mesh.serving([name])
        for _ in range(LOADS):
            await load()
            if await asyncio.to_thread(mesh.wait_for_hit, self.kind, PASSING_SECONDS):
                return True
        return False


def blows(chance: random.Random, count: int) -> list[Blow]:
    """What each round does to whom: every one of `KINDS` comes up equally often."""
    made: list[Blow] = []
    while len(made) < count:
        made += [Blow.draw(kind, chance) for kind in chance.sample(KINDS, len(KINDS))]
    return made[:count]


@dataclass
class Tally:
    """What rounds have shown.

    Attributes:
        answers: that customers had, and that were held against what was there afterwards.
        meant: how often each of `KINDS` was a round's blow.
        fallen: how often it killed as it was meant to: a service that ran, all of them at once, one at its point.
    """

    rounds: int = 0
    orders: int = 0
    answers: int = 0
    fills: int = 0
    refused: int = 0
    canceled: int = 0
    deaths: int = 0
    seconds: float = 0.0
    meant: Counter[str] = field(default_factory=Counter, repr=False)
    fallen: Counter[str] = field(default_factory=Counter, repr=False)


async def kill_rounds(mesh: Mesh, clients: Clients, seed: int, count: int, *, name: str = "w") -> Tally:
    """So many rounds in two new environments, checked after each."""
    chance, tally, began = random.Random(seed), Tally(), time.monotonic()
    deaths = mesh.deaths.total()
    standing = await create(clients, f"{name}-standing", chance, moving=False)
    moving = await create(clients, f"{name}-moving", chance, moving=True)
    worlds = (standing, moving)
    for world in worlds:
        for customer in world.customers:
            await customer.learn_prices()
    for number, blow in enumerate(blows(chance, count), 1):
        try:
            tally.meant[blow.kind] += 1
            tally.fallen[blow.kind] += await _round(mesh, worlds, blow)
        except BaseException:
            print(f"seed {seed}, round {number} of {count}, {blow}")
            raise
        tally.rounds += 1
    for world in worlds:
        await world.end()
    every = [event for world in worlds for event in world.witnesses[0].events]
    kinds = Counter(event.exec_type for event in every)
    tally.fills, tally.refused = kinds[order_pb2.EXEC_TYPE_TRADE], kinds[order_pb2.EXEC_TYPE_REJECTED]
    tally.canceled = sum(told.canceled for world in worlds for each in world.customers for told in each.told.values())
    tally.deaths = mesh.deaths.total() - deaths
    tally.orders = len({event.order.order_id for event in every})
    tally.answers = sum(customer.answers for world in worlds for customer in world.customers)
    tally.seconds = time.monotonic() - began
    return tally


async def _round(mesh: Mesh, worlds: tuple[World, World], blow: Blow) -> bool:
    """Load, and a blow in its midst; then peace, and a look at everything. Whether the blow fell as it was meant."""
    _, moving = worlds
    traders = [customer for world in worlds for customer in world.customers if customer.symbols]

    async def load() -> None:
        await asyncio.gather(*(customer.trade(9) for customer in traders))

    if blow.kind in POINTS:
        fell = await blow.fall_at_point(mesh, load)
    else:
        fell, _ = await asyncio.gather(blow.fall(mesh), load())
    await mesh.serving()
    await moving.pause()
    for world in worlds:
        await world.check()
    await moving.resume()
    return fell
