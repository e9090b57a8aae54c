"""What other services know of an order's story."""

from __future__ import annotations

from typing import Any, Final

from tickmesh.marketdata.v1 import market_data_service_pb2
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.strategy.v1 import strategy_service_pb2
from tickmesh.strategy.v1.strategy_service_pb2_grpc import StrategyServiceStub

from services.chassis.calls.channel import Channel
from services.domain.market import Record
from services.wire.market import Market
from services.wire.pages import pages

IDEMPOTENT_STRATEGY: Final = ("tickmesh.strategy.v1.StrategyService",)


class Witnesses:
    """Asked anew at each call. All of it raises ApiError: UNAVAILABLE while who knows it is away."""

    def __init__(self, marketdata: Channel, strategy: Channel, portfolio: Channel) -> None:
        self._market = Market(marketdata)
        self._notices = MarketDataServiceStub(marketdata)
        self._strategies = StrategyServiceStub(strategy)
        self._portfolios = PortfolioServiceStub(portfolio)

    async def record(self, environment_id: str, sequence: int) -> Record | None:
        """A record of an environment's tape."""
        return await self._market.record(environment_id, sequence)

    async def halts(self, environment_id: str, symbol: str, until: Any) -> list[Any]:
        """When trading in a symbol stopped and went on before a time; None for up to now."""
        request = market_data_service_pb2.ListHaltsRequest(environment_id=environment_id, symbol=symbol, end_time=until)
        return await pages(self._notices.ListHalts, request, "halts")

    async def signal(self, environment_id: str, signal_id: str) -> Any:
        """A signal as it is listed; None where it is not stored, or not yet."""
        request = strategy_service_pb2.ListSignalsRequest(environment_id=environment_id, signal_id=signal_id)
        return next(iter((await self._strategies.ListSignals(request)).signals), None)

    async def strategy(self, strategy_id: str) -> Any:
        """A strategy as it was created."""
        return await self._strategies.GetStrategy(strategy_service_pb2.GetStrategyRequest(strategy_id=strategy_id))

    async def entries(self, portfolio_id: str, order_id: str) -> list[Any]:
        """The ledger entries that an order caused."""
        request = portfolio_service_pb2.ListLedgerEntriesRequest(portfolio_id=portfolio_id, order_id=order_id)
        return await pages(self._portfolios.ListLedgerEntries, request, "ledger_entries")
