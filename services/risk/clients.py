"""What risk asks of the others: environments and tapes, order events, ledger entries."""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple

from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.portfolio.v1.portfolio_service_pb2 import GetPortfolioRequest
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.strategy.v1.strategy_service_pb2 import GetStrategyRequest
from tickmesh.strategy.v1.strategy_service_pb2_grpc import StrategyServiceStub

from services.chassis.calls.channel import Channel
from services.chassis.errors import ApiError
from services.domain.timeline import Timeline
from services.risk.gate.folding import NumberedEntry, NumberedEvent, Scene
from services.risk.mapping import entry_from_wire, events_from_wire
from services.wire import feeds
from services.wire.environments import Environment
from services.wire.market import Market

# A kill switch waits for this, and is to have done its work within a second.
STRATEGY_SECONDS: Final = 0.25
IDEMPOTENT_PORTFOLIO: Final = ("tickmesh.portfolio.v1.PortfolioService/GetPortfolio",)


class Opening(NamedTuple):
    """Where a portfolio lives, and the ledger entry that opened it."""

    environment_id: str
    ledger_sequence: int


class Peers:
    """The other services, as risk sees them. All of its calls but `has_strategy` raise `ApiError`."""

    def __init__(self, marketdata: Channel, strategy: Channel, order: Channel, portfolio: Channel) -> None:
        self._market = Market(marketdata)
        self._strategies = StrategyServiceStub(strategy)
        self._orders = OrderServiceStub(order)
        self._portfolios = PortfolioServiceStub(portfolio)

    async def environment(self, environment_id: str) -> Environment:
        """An environment; NOT_FOUND `ENVIRONMENT_NOT_FOUND` if there is none."""
        return await self._market.environment(environment_id)

    async def default_environment(self) -> str:
        """The environment that is meant by who names none; NOT_FOUND `ENVIRONMENT_NOT_FOUND` if there is none."""
        return (await self._market.default()).environment_id

    async def scene(self, environment: Environment) -> Scene:
        """The whole tape of an environment and its instruments."""
        instruments = await self._market.instruments(environment.symbols)
        return Scene(Timeline(await self._market.tape(environment)), instruments, environment.start_sequence)

    async def opening(self, portfolio_id: str) -> Opening:
        """Where a portfolio lives; NOT_FOUND `PORTFOLIO_NOT_FOUND` if there is none."""
        found = await self._portfolios.GetPortfolio(GetPortfolioRequest(portfolio_id=portfolio_id))
        return Opening(found.environment_id, found.opening_ledger_sequence)

    async def has_strategy(self, strategy_id: str) -> bool:
        """Whether the strategy service has a strategy; one that it cannot be asked about may be there."""
        try:
            request = GetStrategyRequest(strategy_id=strategy_id)
            await self._strategies.GetStrategy(request, timeout=STRATEGY_SECONDS)
        except ApiError as error:
            return error.reason != "STRATEGY_NOT_FOUND"
        return True

    async def order_events(
        self, environment_id: str, arrived: Callable[[], int]
    ) -> AsyncGenerator[list[NumberedEvent]]:
        """Those after what arrived, whichever way, in order; an empty list says that there are no more for now."""
        async with aclosing(feeds.order_events(self._orders, environment_id, arrived())) as stream:
            async for events in stream:
                missing = events_from_wire(events, arrived())
                if missing or not events:
                    yield missing

    async def ledger_entries(self, environment_id: str, after: int) -> AsyncGenerator[list[NumberedEntry]]:
        """Ledger entries after a number, in order; an empty list says that there are no more for now.

        All kinds are asked for, although fills' own count nothing: a cycle's fold names the last entry of all, and a
        filtered stream would say only with its heartbeats that it has come so far.
        """
        async with aclosing(feeds.ledger_entries(self._portfolios, environment_id, after)) as stream:
            async for entries in stream:
                yield [entry_from_wire(each) for each in entries]
