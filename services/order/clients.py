"""What the desk asks of other services."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Final

from tickmesh.marketdata.v1 import instrument_pb2, instrument_service_pb2
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.portfolio.v1 import portfolio_service_pb2
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub

from services.chassis.calls.channel import Channel
from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.tape import Tape
from services.order.records import PortfolioRow
from services.order.store import Store
from services.wire.environments import Environment
from services.wire.instruments import instrument_from_proto
from services.wire.market import Market

IDEMPOTENT_MARKETDATA: Final = (
    "tickmesh.marketdata.v1.InstrumentService",
    "tickmesh.marketdata.v1.EnvironmentService",
    "tickmesh.marketdata.v1.MarketDataService/ListHalts",
)
IDEMPOTENT_PORTFOLIO: Final = (
    "tickmesh.portfolio.v1.PortfolioService/GetPortfolio",
    "tickmesh.portfolio.v1.PortfolioService/ListLedgerEntries",
)


class Peers:
    """Reads from marketdata and portfolio. What cannot change is kept: portfolios' environments, and instruments."""

    def __init__(self, store: Store, marketdata: Channel, portfolio: Channel) -> None:
        self._store = store
        self._market = Market(marketdata)
        self._instruments = InstrumentServiceStub(marketdata)
        self._portfolios = PortfolioServiceStub(portfolio)
        self._known: dict[str, PortfolioRow] = {}
        self._asking: dict[str, asyncio.Task[PortfolioRow]] = {}
        self._environments: set[str] = set()
        self.instruments: dict[str, Instrument] = {}

    async def recover(self) -> None:
        """Takes the instruments of the store back."""
        for payload in (await self._store.instruments()).values():
            self._keep(instrument_pb2.Instrument.FromString(payload))

    def known(self, portfolio_id: str) -> PortfolioRow | None:
        """A portfolio, if it was asked for before."""
        return self._known.get(portfolio_id)

    async def portfolio(self, portfolio_id: str) -> PortfolioRow:
        """A portfolio's environment, owner and opening.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`; UNAVAILABLE while it must be asked for and cannot be.
        """
        known = self._known.get(portfolio_id)
        if known is not None:
            return known
        # A flood of orders for a portfolio that was not seen yet asks once.
        asking = self._asking.get(portfolio_id)
        if asking is None:
            asking = self._asking[portfolio_id] = detach(self._find_portfolio(portfolio_id))
            asking.add_done_callback(lambda asked: self._has_asked(portfolio_id, asked))
        return await asyncio.shield(asking)

    def _has_asked(self, portfolio_id: str, asked: asyncio.Task[PortfolioRow]) -> None:
        del self._asking[portfolio_id]
        # Whoever wanted to know may have gone meanwhile.
        _ = asked.cancelled() or asked.exception()

    async def _find_portfolio(self, portfolio_id: str) -> PortfolioRow:
        known = await self._store.portfolio(portfolio_id)
        if known is None:
            request = portfolio_service_pb2.GetPortfolioRequest(portfolio_id=portfolio_id)
            found = await self._portfolios.GetPortfolio(request)
            opening = found.opening_ledger_sequence
            known = PortfolioRow(portfolio_id, found.environment_id, opening, ZERO, found.principal, found.owner)
        self._known[portfolio_id] = known
        return known

    async def instrument(self, symbol: str) -> Instrument:
        """An instrument.

        Raises:
            ApiError: NOT_FOUND `INSTRUMENT_NOT_FOUND`; UNAVAILABLE.
        """
        if symbol not in self.instruments:
            await self.fetch_instruments([symbol])
        return self.instruments[symbol]

    async def fetch_instruments(self, symbols: Iterable[str]) -> None:
        """Asks for those that are not known yet, and stores them."""
        found: dict[str, bytes] = {}
        for symbol in symbols:
            if symbol not in self.instruments:
                request = instrument_service_pb2.GetInstrumentRequest(symbol=symbol)
                message = await self._instruments.GetInstrument(request)
                found[symbol] = message.SerializeToString()
        if found:
            await self._store.put_instruments(found)
            for payload in found.values():
                self._keep(instrument_pb2.Instrument.FromString(payload))

    async def environment(self, environment_id: str) -> Environment:
        """An environment.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE.
        """
        return await self._market.environment(environment_id)

    async def default_environment(self) -> str:
        """The environment that is meant by who names none.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE.
        """
        return (await self._market.default()).environment_id

    async def home(self, environment_id: str, portfolio_id: str) -> str:
        """The environment that is named, or that a portfolio belongs to, or the default where neither is given.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`, also where the named environment has no such portfolio;
                `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE while nobody here knows and who does is away.
        """
        if not portfolio_id:
            if not environment_id:
                return await self.default_environment()
            await self._require(environment_id)
            return environment_id
        home = (await self.portfolio(portfolio_id)).environment_id
        if environment_id not in {"", home}:
            message = f"{environment_id} has no portfolio {portfolio_id}."
            raise ApiError.not_found("portfolio", portfolio_id, "PORTFOLIO_NOT_FOUND", message)
        return home

    async def tape(self, environment: Environment) -> Tape:
        """The whole tape of an environment.

        Raises:
            ApiError: UNAVAILABLE.
        """
        return await self._market.tape(environment)

    async def _require(self, environment_id: str) -> None:
        """Makes sure that there is such an environment: where it has no desk, marketdata is asked, once."""
        if environment_id in self._environments:
            return
        if await self._store.environment(environment_id) is None:
            await self._market.environment(environment_id)
        self._environments.add(environment_id)

    def _keep(self, message: instrument_pb2.Instrument) -> None:
        self.instruments[message.symbol] = instrument_from_proto(message)
