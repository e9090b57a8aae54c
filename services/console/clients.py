"""The mesh as the console sees it: health, the calls that make a demonstration, and the streams that show it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from decimal import Decimal
from typing import Any, Self

from google.protobuf.duration_pb2 import Duration
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tickmesh.common.v1 import money_pb2
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2, market_data_pb2, market_data_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub
from tickmesh.order.v1 import order_service_pb2
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1 import portfolio_pb2, portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.strategy.v1 import strategy_service_pb2
from tickmesh.strategy.v1.strategy_service_pb2_grpc import StrategyServiceStub

from services.chassis.calls.channel import Channel, connect
from services.chassis.catalog import SERVICES
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from services.console.mapping import (
    deployment_from_proto,
    market_news_from_proto,
    order_news_from_proto,
    portfolio_from_proto,
    replay_from_proto,
    signal_news_from_proto,
    strategy_from_proto,
)
from services.console.records import Deployment, MarketNews, OrderNews, Portfolio, Replay, SignalNews, Strategy
from services.wire.pages import pages

HEALTH_SECONDS = 1.0
# The view changes four times a second.
MARKET_DELAY = Duration(nanos=250_000_000)
EVERYTHING = tuple(name for each in SERVICES.values() for name in each.public)


class Mesh:
    """The five services, called directly."""

    def __init__(self, settings: ServiceSettings) -> None:
        self.channels: dict[str, Channel] = {
            name: connect(settings.peer(name), idempotent=EVERYTHING, deadline_seconds=settings.call_deadline_seconds)
            for name in SERVICES
        }
        # The stub's types know nothing of its methods.
        stub: Any = health_pb2_grpc.HealthStub
        self._health = {name: stub(channel) for name, channel in self.channels.items()}
        self._environments = EnvironmentServiceStub(self.channels["marketdata"])
        self._market = MarketDataServiceStub(self.channels["marketdata"])
        self._strategies = StrategyServiceStub(self.channels["strategy"])
        self._orders = OrderServiceStub(self.channels["order"])
        self._portfolios = PortfolioServiceStub(self.channels["portfolio"])

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        for channel in self.channels.values():
            await channel.close()

    async def serving(self, service: str) -> bool:
        """Whether one service says that it serves."""
        try:
            answer = await self._health[service].Check(health_pb2.HealthCheckRequest(), timeout=HEALTH_SECONDS)
        except ApiError:
            return False
        return bool(answer.status == health_pb2.HealthCheckResponse.SERVING)

    # --- environments

    async def replays(self) -> list[Replay]:
        """All, newest first."""
        messages = await pages(
            self._environments.ListEnvironments, environment_service_pb2.ListEnvironmentsRequest(), "environments"
        )
        return [replay_from_proto(each) for each in messages]

    async def replay(self, environment_id: str) -> Replay:
        """One; ApiError NOT_FOUND `ENVIRONMENT_NOT_FOUND` if there is none."""
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=environment_id)
        return replay_from_proto(await self._environments.GetEnvironment(request))

    async def create_replay(
        self,
        environment_id: str,
        *,
        display_name: str,
        data_set_id: str,
        symbols: tuple[str, ...],
        warm_up_sessions: int,
        sessions_per_second: float,
        request_id: str,
    ) -> Replay:
        """A new one, or that of the same request. A first one compiles its calendars, which takes some seconds."""
        request = environment_service_pb2.CreateReplayRequest(
            environment_id=environment_id,
            display_name=display_name,
            data_set_id=data_set_id,
            symbols=symbols,
            warm_up_sessions=warm_up_sessions,
            pace=environment_pb2.Pace(sessions_per_second=sessions_per_second),
            request_id=request_id,
        )
        return replay_from_proto(await self._environments.CreateReplay(request, timeout=60.0))

    async def start(self, environment_id: str) -> Replay:
        """Lets time begin."""
        request = environment_service_pb2.StartReplayRequest(environment_id=environment_id)
        return replay_from_proto(await self._environments.StartReplay(request))

    async def pause(self, environment_id: str) -> Replay:
        """Holds time; returns when it stands."""
        request = environment_service_pb2.PauseReplayRequest(environment_id=environment_id)
        return replay_from_proto(await self._environments.PauseReplay(request))

    async def resume(self, environment_id: str) -> Replay:
        """Lets time go on."""
        request = environment_service_pb2.ResumeReplayRequest(environment_id=environment_id)
        return replay_from_proto(await self._environments.ResumeReplay(request))

    # --- portfolios and strategies

    async def portfolios(self, environment_id: str) -> list[Portfolio]:
        """Those of an environment, oldest first, without their positions."""
        request = portfolio_service_pb2.ListPortfoliosRequest(environment_id=environment_id)
        messages = await pages(self._portfolios.ListPortfolios, request, "portfolios")
        return [portfolio_from_proto(each, {}) for each in messages]

    async def create_portfolio(
        self, portfolio_id: str, environment_id: str, *, label: str, cash: Decimal, currency_code: str, request_id: str
    ) -> None:
        """A new one with its first deposit, or that of the same request."""
        request = portfolio_service_pb2.CreatePortfolioRequest(
            portfolio_id=portfolio_id,
            environment_id=environment_id,
            display_name=label,
            initial_cash=money_pb2.Money(currency_code=currency_code, amount=str(cash)),
            request_id=request_id,
        )
        await self._portfolios.CreatePortfolio(request)

    async def strategies(self) -> list[Strategy]:
        """All, oldest first."""
        request = strategy_service_pb2.ListStrategiesRequest()
        return [
            strategy_from_proto(each) for each in await pages(self._strategies.ListStrategies, request, "strategies")
        ]

    async def create_strategy(self, plan: Strategy) -> None:
        """A new one; ApiError ALREADY_EXISTS where its id is taken."""
        request = strategy_service_pb2.CreateStrategyRequest(
            strategy_id=plan.strategy_id, kind=plan.kind, parameters=plan.parameters, symbols=plan.symbols
        )
        await self._strategies.CreateStrategy(request)

    async def deploy(self, deployment_id: str, strategy_id: str, portfolio_id: str, request_id: str) -> Deployment:
        """A new deployment, or that of the same request."""
        request = strategy_service_pb2.DeployStrategyRequest(
            deployment_id=deployment_id, strategy_id=strategy_id, portfolio_id=portfolio_id, request_id=request_id
        )
        return deployment_from_proto(await self._strategies.DeployStrategy(request))

    async def deployments(self, environment_id: str) -> list[Deployment]:
        """Those of an environment, oldest first."""
        request = strategy_service_pb2.ListDeploymentsRequest(environment_id=environment_id)
        messages = await pages(self._strategies.ListDeployments, request, "deployments")
        return [deployment_from_proto(each) for each in messages]

    # --- streams; each ends with ApiError or when the service drains, and is asked for again after what was seen

    async def market_news(self, environment_id: str) -> AsyncIterator[MarketNews]:
        """The latest prices, then records as time passes them."""
        request = market_data_service_pb2.StreamMarketDataRequest(
            environment_id=environment_id,
            encoding=market_data_pb2.ENCODING_COLUMNS,
            max_delay=MARKET_DELAY,
        )
        symbols: list[str] = []
        async for message in self._market.StreamMarketData(request):
            if message.HasField("snapshot"):
                symbols = list(message.snapshot.symbols)
            news = market_news_from_proto(message, symbols)
            if news is not None:
                yield news

    async def order_news(self, environment_id: str, after: int) -> AsyncIterator[list[OrderNews]]:
        """Order events after a number."""
        request = order_service_pb2.StreamOrderEventsRequest(environment_id=environment_id, after_sequence=after)
        async for message in self._orders.StreamOrderEvents(request):
            if message.HasField("order_events"):
                yield [order_news_from_proto(each) for each in message.order_events.events]

    async def signal_news(self, environment_id: str, after: int) -> AsyncIterator[list[SignalNews]]:
        """Signals after a number."""
        request = strategy_service_pb2.StreamSignalsRequest(environment_id=environment_id, after_sequence=after)
        async for message in self._strategies.StreamSignals(request):
            if message.HasField("signals"):
                yield [signal_news_from_proto(each) for each in message.signals.signals]

    async def portfolio_news(self, portfolio_id: str) -> AsyncIterator[Portfolio]:
        """A portfolio now, and after each change."""
        request = portfolio_service_pb2.StreamPortfolioRequest(portfolio_id=portfolio_id)
        held: dict[str, Decimal] = {}
        async for message in self._portfolios.StreamPortfolio(request):
            kind = message.WhichOneof("event")
            if kind not in {"snapshot", "update"}:
                continue
            part: Any = getattr(message, kind)
            held |= _units(part.positions)
            yield portfolio_from_proto(part.portfolio, held)


def _units(positions: list[portfolio_pb2.Position]) -> Mapping[str, Decimal]:
    return {each.symbol: Decimal(each.quantity) for each in positions}
