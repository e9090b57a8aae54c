"""The same trading twice: through the running services, and as a backtest of the same tape in this process."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field
from decimal import Decimal
from functools import cached_property
from itertools import zip_longest

from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1 import money_pb2
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.order.v1 import order_service_pb2, venue_model_pb2, venue_model_service_pb2
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.risk.v1 import risk_pb2, risk_service_pb2
from tickmesh.strategy.v1 import strategy_service_pb2

from services.console.clients import Mesh as Console
from services.console.scenario import Scenario, Trader
from services.console.trial.repeat import histories_to, mesh_digest, repeat
from services.console.trial.trial import market_of
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.costs import ModelChange
from services.domain.money import format_decimal
from services.domain.orders.order import CancelReason, ExecType, OrderEvent, OrderType, Side, TimeInForce
from services.domain.risk.limit import Limit
from services.domain.risk.limits import LimitChange, make_limit
from services.domain.tape import Kind
from services.marketdata.settings import Settings as MarketdataSettings
from services.strategy.workshop.kinds import discover
from services.wire.costs import put_model
from services.wire.limits import LIMIT_TYPES
from tests.e2e.mesh import RECOVERY_SECONDS, Clients, Mesh, repeated
from tests.e2e.scenarios import LIMITS

ENDED = (environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED)
RUN_SECONDS = 240.0


RESTED = {OrderType.LIMIT, OrderType.STOP_LIMIT, OrderType.TRAILING_STOP, OrderType.LIMIT_IF_TOUCHED}
REFUSING = ("buying_power", "max_position_quantity")
ENDS = {
    CancelReason.REQUESTED,
    CancelReason.IOC_REMAINDER,
    CancelReason.FOK_UNFILLED,
    CancelReason.POST_ONLY,
    CancelReason.NOTHING_TO_REDUCE,
    CancelReason.END_OF_TIME,
    CancelReason.END_OF_TAPE,
    CancelReason.TWIN_FILLED,
}


@dataclass
class Trial:
    """One scenario, and what it must come to."""

    scenario: Scenario
    simulation: Simulation
    strategy_path: str = ""

    @cached_property
    def result(self) -> Result:
        """The backtest's result."""
        return self.simulation.run()

    @cached_property
    def digest(self) -> str:
        """The backtest's digest."""
        return self.result.digest()

    def check(self) -> None:
        """That one on bars has all that could go wrong: fills, refusals of both kinds, orders cut short by a split."""
        assert len(self.result.fills) > 30
        reasons = Counter(each.refusal.limit for each in self.result.refusals if each.refusal)
        assert {"buying_power", "max_position_quantity", "max_gross_exposure"} <= reasons.keys(), reasons
        assert any(source.kind is Kind.SPLIT for source in self.simulation.timeline.tape.sources)

    def check_quoted(self) -> None:
        """That one on quotes has: rested and partial fills, both strategies of one portfolio refused, every end."""
        result = self.result
        assert len(result.fills) > 100
        parts = Counter(event.order.order_id for event in result.fills)
        assert sum(count > 1 for count in parts.values()) > 20
        rested = [event for event in result.fills if event.tape_sequence > event.order.basis_sequence + 20]
        assert {event.order.order_type for event in rested} >= RESTED
        refused = {(each.strategy_id, each.refusal.limit) for each in result.refusals if each.refusal}
        assert {(who, what) for who in ("make", "take") for what in REFUSING} <= refused, refused
        assert ("make", "max_order_rate") in refused, "its new terms count too"
        assert {bool(event.last_commission) for event in result.fills} == {True, False}
        ends = {event.order.cancel_reason for event in result.events}
        assert ends >= ENDS, ENDS - ends
        assert {ExecType.HELD, ExecType.RESTATED, ExecType.REPLACED} <= {event.exec_type for event in result.events}

    def check_deep(self) -> None:
        """That one on price levels has: orders of several kinds that took more than the best, FOKs that could not."""
        fills: dict[tuple[str, int], list[OrderEvent]] = {}
        for event in self.result.fills:
            fills.setdefault((event.order.order_id, event.tape_sequence), []).append(event)
        walks = [own for own in fills.values() if len({each.last_price for each in own}) > 1]
        assert len(walks) > 20
        kinds = {(own[0].order.order_type, own[0].order.time_in_force) for own in walks}
        limit, fok, ioc = OrderType.LIMIT, TimeInForce.FOK, TimeInForce.IOC
        assert {(limit, fok), (limit, ioc), (OrderType.MARKET, TimeInForce.GTC)} <= kinds, kinds
        assert CancelReason.FOK_UNFILLED in {event.order.cancel_reason for event in self.result.events}
        # At the market nothing but a walk reserves for an order by more than one price.
        by_market = [each.order for each in self.result.events if each.order.order_type is OrderType.MARKET]
        buys = [each for each in by_market if each.side is Side.BUY and each.cash_quantity is None]
        assert any(each.reservation.cash % (each.quantity * Decimal("0.01")) for each in buys)

    def reserved(self) -> dict[str, Decimal]:
        """By client order id, what was set aside for each order at last."""
        return {each.order.client_order_id: each.order.reservation.cash for each in self.result.events}


async def trial(scenario: Scenario, mesh: Mesh, strategy_path: str = "") -> Trial:
    """The backtest of a scenario on the tape that the mesh makes of it; the path names strategies of a test's own."""
    settings = MarketdataSettings(data_directory=mesh.data)
    market = await market_of(scenario, settings)
    kinds = discover(strategy_path)
    portfolios = [
        PortfolioPlan(portfolio_id, label, scenario.cash, _limits(portfolio_id))
        for portfolio_id, label in portfolios_of(scenario).items()
    ]
    deployments = [
        DeploymentPlan(
            number,
            each.strategy_id,
            each.strategy_id,
            kinds.create(each.kind, each.parameters, scenario.symbols),
            each.portfolio_id,
        )
        for number, each in enumerate(scenario.traders, 1)
    ]
    simulation = Simulation(
        market.tape,
        market.instruments,
        portfolios,
        deployments,
        start_sequence=market.start_sequence,
        models=scenario.models,
        limits=scenario.limits,
    )
    return Trial(scenario, simulation, strategy_path)


def portfolios_of(scenario: Scenario) -> dict[str, str]:
    """Labels of the portfolios, which strategies may share, by id."""
    return {each.portfolio_id: each.label for each in scenario.traders}


def _limits(portfolio_id: str) -> tuple[Limit, ...]:
    found = LIMITS.get(portfolio_id, {})
    return tuple(make_limit(name.lower(), Decimal(bound), portfolio_id) for name, bound in found.items())


@dataclass
class Replayed:
    """A scenario in the mesh, under ids that end in `suffix`."""

    clients: Clients
    scenario: Scenario
    suffix: str
    strategy_path: str = ""
    environment_id: str = field(init=False)

    def __post_init__(self) -> None:
        self.environment_id = f"replay-{self.suffix}"

    async def make(self) -> None:
        """Makes the environment, its portfolios with their limits, and deploys the strategies in their order."""
        scenario, clients = self.scenario, self.clients
        create = environment_service_pb2.CreateReplayRequest(
            environment_id=self.environment_id,
            data_set_id=scenario.data_set_id,
            symbols=scenario.symbols,
            start_time=_timestamp(scenario.start_time),
            end_time=_timestamp(scenario.end_time),
            warm_up_sessions=scenario.warm_up_sessions,
            request_id=self._request_id("environment"),
        )
        await repeated(clients.environments.CreateReplay, create, each=60.0)
        for portfolio_id, label in portfolios_of(scenario).items():
            await self._portfolio(portfolio_id, label)
        for number, trader in enumerate(scenario.traders, 1):
            await self._deploy(trader, number)
        for change in scenario.models:
            await self.set_model(change)
        for limit in scenario.limits:
            await self.set_limit(limit)

    async def start(self) -> None:
        """Lets time begin."""
        request = environment_service_pb2.StartReplayRequest(environment_id=self.environment_id)
        await repeated(self.clients.environments.StartReplay, request)

    async def environment(self) -> environment_pb2.Environment:
        """As it stands."""
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=self.environment_id)
        found: environment_pb2.Environment = await repeated(self.clients.environments.GetEnvironment, request)
        return found

    async def ended(self, seconds: float = RUN_SECONDS) -> environment_pb2.Environment:
        """Returns when the tape has ended."""
        deadline = time.monotonic() + seconds
        while (found := await self.environment()).state not in ENDED:
            assert time.monotonic() < deadline, f"not ended: {found}"
            await asyncio.sleep(0.1)
        return found

    async def reserved(self) -> dict[str, Decimal]:
        """By client order id, what was set aside for each order at last."""
        request, found = order_service_pb2.ListOrdersRequest(environment_id=self.environment_id, page_size=1000), {}
        while True:
            page = await self.clients.orders.ListOrders(request)
            found |= {each.client_order_id: Decimal(each.reservation.cash or 0) for each in page.orders}
            request.page_token = page.next_page_token
            if not request.page_token:
                return found

    async def digest(self, mesh: Mesh) -> str:
        """What the services list of it, in one number."""
        async with Console(mesh.settings) as console:
            return await mesh_digest(console, await console.replay(self.environment_id))

    async def repeats(self, mesh: Mesh) -> bool:
        """Whether `tickmesh backtest --environment` finds the same again; says what it does not."""
        async with Console(mesh.settings) as console:
            compared = await repeat(console, self.environment_id, discover(self.strategy_path))
        if not compared.equal:
            print(*compared.caveats, sep="\n")
            again = histories_to(compared.result, compared.replay.tape_sequence)
            for there, here in zip((each.history for each in compared.accounts), again, strict=True):
                for name in ("fills", "refusals", "entries"):
                    pairs = zip_longest(getattr(there, name), getattr(here, name))
                    differing = [pair for pair in pairs if pair[0] != pair[1]]
                    print(f"{there.label}: {len(differing)} {name} differ, first {differing[:1]}")
        return compared.equal

    async def set_model(self, change: ModelChange) -> None:
        """Sets a venue model of the scenario's, or takes it away."""
        scope, message = change.scope, venue_model_pb2.VenueModel()
        portfolio_id = f"{scope.portfolio_id}-{self.suffix}" if scope.portfolio_id else ""
        if change.model is None:
            name = f"{self.environment_id}~{portfolio_id}~{scope.symbol}"
            delete = venue_model_service_pb2.DeleteVenueModelRequest(venue_model_id=name)
            await repeated(self.clients.models.DeleteVenueModel, delete)
            return
        put_model(message, change.model)
        parts = {field.name: value for field, value in message.ListFields()}
        of = {"environment_id": self.environment_id, "portfolio_id": portfolio_id, "symbol": scope.symbol}
        request = venue_model_service_pb2.SetVenueModelRequest(**of, **parts)
        await repeated(self.clients.models.SetVenueModel, request)

    async def set_limit(self, change: LimitChange) -> None:
        """Sets a limit of the scenario's, or takes it away."""
        limit_type, where = LIMIT_TYPES[change.limit.name], change.limit.where
        own = {name: f"{each}-{self.suffix}" if each else "" for name, each in where._asdict().items()}
        own["symbol"] = where.symbol
        if change.deleted:
            kind = risk_pb2.LimitType.Name(limit_type).removeprefix("LIMIT_TYPE_")
            narrower = f"~{own['strategy_id']}~{own['symbol']}" if own["strategy_id"] or own["symbol"] else ""
            name = f"{self.environment_id}~{own['portfolio_id']}~{kind}{narrower}"
            await repeated(self.clients.risk.DeleteLimit, risk_service_pb2.DeleteLimitRequest(limit_id=name))
            return
        bound = format_decimal(change.limit.bound)
        of = {"environment_id": self.environment_id, "limit_type": limit_type, "bound": bound}
        await repeated(self.clients.risk.SetLimit, risk_service_pb2.SetLimitRequest(**of, **own))

    async def _portfolio(self, name: str, label: str) -> None:
        portfolio_id = f"{name}-{self.suffix}"
        cash = money_pb2.Money(currency_code="USD", amount=str(self.scenario.cash))
        create = portfolio_service_pb2.CreatePortfolioRequest(
            portfolio_id=portfolio_id,
            environment_id=self.environment_id,
            display_name=label,
            initial_cash=cash,
            request_id=self._request_id(portfolio_id),
        )
        await repeated(self.clients.portfolios.CreatePortfolio, create)
        for limit, bound in LIMITS.get(name, {}).items():
            request = risk_service_pb2.SetLimitRequest(
                environment_id=self.environment_id,
                portfolio_id=portfolio_id,
                limit_type=risk_pb2.LimitType.Value(f"LIMIT_TYPE_{limit}"),
                bound=bound,
            )
            await repeated(self.clients.risk.SetLimit, request)

    async def _deploy(self, trader: Trader, number: int) -> None:
        strategies, strategy_id = self.clients.strategies, f"{trader.strategy_id}-{self.suffix}"
        create = strategy_service_pb2.CreateStrategyRequest(
            strategy_id=strategy_id,
            kind=trader.kind,
            parameters=trader.parameters,
            symbols=self.scenario.symbols,
            request_id=self._request_id(strategy_id),
        )
        await repeated(strategies.CreateStrategy, create)
        deploy = strategy_service_pb2.DeployStrategyRequest(
            strategy_id=strategy_id,
            portfolio_id=f"{trader.portfolio_id}-{self.suffix}",
            deployment_id=f"{strategy_id}-1",
            request_id=self._request_id(f"{strategy_id}-1"),
        )
        found = await repeated(strategies.DeployStrategy, deploy)
        deadline = time.monotonic() + RECOVERY_SECONDS
        while found.deployment_number != number:
            assert time.monotonic() < deadline, f"{strategy_id} got no place: {found}"
            await asyncio.sleep(0.02)
            request = strategy_service_pb2.GetDeploymentRequest(deployment_id=f"{strategy_id}-1")
            found = await repeated(strategies.GetDeployment, request)

    def _request_id(self, what: str) -> str:
        return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{self.suffix}/{what}"))


def _timestamp(time_ns: int | None) -> Timestamp | None:
    if time_ns is None:
        return None
    made = Timestamp()
    made.FromNanoseconds(time_ns)
    return made
