"""Rounds of killing under order load: an environment that stands, one that moves, customers in both, and a strategy."""

from __future__ import annotations

import asyncio
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal

from tickmesh.common.v1 import money_pb2
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.order.v1 import order_pb2, venue_model_pb2, venue_model_service_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.risk.v1 import risk_pb2, risk_service_pb2
from tickmesh.strategy.v1 import strategy_service_pb2

from services.console.scenario import Scenario
from services.console.trial.trial import Market, market_of
from services.marketdata.settings import Settings as MarketdataSettings
from tests.e2e.blows import Blow, blows
from tests.e2e.books import World
from tests.e2e.chronicle import Chronicle
from tests.e2e.load import Customer
from tests.e2e.mesh import Clients, Mesh, repeated
from tests.e2e.witness import Witness

SYMBOLS = ("AAPL", "IBM", "MSFT")
CASH = "200000"
WARM_UP_SESSIONS = 20
SESSIONS_PER_SECOND = 30.0
# Of the rounds of a customer.
STOPPED_SHARE = 0.1


async def create(
    clients: Clients, environment_id: str, chance: random.Random, market: Market, *, moving: bool
) -> World:
    """An environment with two customers; one that moves has a strategy as well, with a portfolio of its own."""
    request = environment_service_pb2.CreateReplayRequest(
        environment_id=environment_id,
        data_set_id="us-daily",
        symbols=SYMBOLS,
        warm_up_sessions=WARM_UP_SESSIONS,
        pace=environment_pb2.Pace(sessions_per_second=SESSIONS_PER_SECOND),
    )
    await repeated(clients.environments.CreateReplay, request, each=60.0)
    costs = venue_model_pb2.CommissionModel(per_order="0.5", basis_points="3", minimum="1")
    slippage = venue_model_pb2.SlippageModel(basis_points="2")
    setting = venue_model_service_pb2.SetVenueModelRequest(
        environment_id=environment_id, commission=costs, slippage=slippage
    )
    await repeated(clients.models.SetVenueModel, setting)
    customers = []
    for name in ("ann", "bob", *(["auto"] if moving else [])):
        portfolio_id = f"{environment_id}-{name}"
        cash = money_pb2.Money(currency_code="USD", amount=CASH)
        opening = portfolio_service_pb2.CreatePortfolioRequest(
            portfolio_id=portfolio_id, environment_id=environment_id, initial_cash=cash
        )
        await repeated(clients.portfolios.CreatePortfolio, opening)
        if name == "bob":
            short = risk_service_pb2.SetLimitRequest(
                environment_id=environment_id,
                portfolio_id=portfolio_id,
                limit_type=risk_pb2.LIMIT_TYPE_SHORT_SALES,
                bound="1",
            )
            await repeated(clients.risk.SetLimit, short)
        own = random.Random(chance.randrange(10**9))
        trades = name != "auto"
        customers.append(
            Customer(clients, environment_id, portfolio_id, own, trades, symbols=SYMBOLS if trades else ())
        )
    if moving:
        await _deploy(clients, environment_id)
        begin = environment_service_pb2.StartReplayRequest(environment_id=environment_id)
        await repeated(clients.environments.StartReplay, begin)
    chronicle = Chronicle(market, {each.portfolio_id: Decimal(CASH) for each in customers})
    world = World(clients, environment_id, customers, chronicle)
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
    replaced: int = 0
    disconnected: int = 0
    listed: int = 0
    stopped: int = 0
    deaths: int = 0
    seconds: float = 0.0
    meant: Counter[str] = field(default_factory=Counter, repr=False)
    fallen: Counter[str] = field(default_factory=Counter, repr=False)


async def kill_rounds(mesh: Mesh, clients: Clients, seed: int, count: int, *, name: str = "w") -> Tally:
    """So many rounds in two new environments, checked after each."""
    chance, tally, began = random.Random(seed), Tally(), time.monotonic()
    deaths = mesh.deaths.total()
    tape = Scenario("us-daily", (), symbols=SYMBOLS, warm_up_sessions=WARM_UP_SESSIONS)
    market = await market_of(tape, MarketdataSettings(data_directory=mesh.data))
    standing = await create(clients, f"{name}-standing", chance, market, moving=False)
    moving = await create(clients, f"{name}-moving", chance, market, moving=True)
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
        await world.close()
    every = [event for world in worlds for event in world.witnesses[0].events]
    kinds = Counter(event.exec_type for event in every)
    tally.fills, tally.refused = kinds[order_pb2.EXEC_TYPE_TRADE], kinds[order_pb2.EXEC_TYPE_REJECTED]
    tally.canceled = sum(told.canceled for world in worlds for each in world.customers for told in each.told.values())
    tally.replaced = kinds[order_pb2.EXEC_TYPE_REPLACED]
    reasons = Counter(event.order.cancel_reason for event in every)
    tally.disconnected = reasons[order_pb2.CANCEL_REASON_DISCONNECTED]
    tally.stopped = reasons[order_pb2.CANCEL_REASON_KILL_SWITCH]
    tally.listed = len({event.order.order_list_id for event in every} - {""})
    tally.deaths = mesh.deaths.total() - deaths
    tally.orders = len({event.order.order_id for event in every})
    tally.answers = sum(customer.answers for world in worlds for customer in world.customers)
    tally.seconds = time.monotonic() - began
    return tally


async def _stop_for_a_while(customer: Customer) -> None:
    """Now and then somebody stops a portfolio, perhaps but for what reduces, and lets it go on."""
    chance = customer.chance
    if chance.random() > STOPPED_SHARE:
        return
    what = {
        "environment_id": customer.environment_id,
        "scope": risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO,
        "target_id": customer.portfolio_id,
    }
    await asyncio.sleep(chance.uniform(0.0, 0.2))
    engaging = risk_service_pb2.EngageKillSwitchRequest(**what, allow_reducing=chance.random() < 0.7)
    await repeated(customer.clients.risk.EngageKillSwitch, engaging)
    await asyncio.sleep(chance.uniform(0.0, 0.1))
    await repeated(customer.clients.risk.ReleaseKillSwitch, risk_service_pb2.ReleaseKillSwitchRequest(**what))


async def _round(mesh: Mesh, worlds: tuple[World, World], blow: Blow) -> bool:
    """Load, and a blow in its midst; then peace, and a look at everything. Whether the blow fell as it was meant."""
    _, moving = worlds
    traders = [customer for world in worlds for customer in world.customers if customer.alone]

    async def load() -> None:
        await asyncio.gather(*(customer.trade(9) for customer in traders), *map(_stop_for_a_while, traders))

    if blow.passing:
        fell = await blow.fall_at_point(mesh, load)
    else:
        fell, _ = await asyncio.gather(blow.fall(mesh), load())
    await mesh.serving()
    await moving.pause()
    for world in worlds:
        await world.check()
    await moving.resume()
    return fell
