"""The RPCs of StrategyService: proto to domain, a call, domain to proto."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, TypeVar

import grpc
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2, strategy_service_pb2_grpc

from services.chassis.calls.handlers import principal
from services.chassis.streams.tokens import ResumeTokens
from services.strategy.deployments import Deployments, NewDeployment
from services.strategy.host.places import Place
from services.strategy.mapping import decode_signal, deployment_to_proto, kind_to_proto, strategy_to_proto
from services.strategy.signals import Signals
from services.strategy.workshop.strategies import NewStrategy, Strategies
from services.wire.pages import Page
from services.wire.streams import Cursor, Envelopes

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")


class StrategyServicer(strategy_service_pb2_grpc.StrategyServiceServicer):
    """Strategies and their deployments."""

    def __init__(
        self, strategies: Strategies, deployments: Deployments, signals: Signals, tokens: ResumeTokens
    ) -> None:
        self._strategies = strategies
        self._deployments = deployments
        self._signals = signals
        self._tokens = tokens

    async def ListStrategyKinds(
        self, request: strategy_service_pb2.ListStrategyKindsRequest, context: Context
    ) -> strategy_service_pb2.ListStrategyKindsResponse:
        """Lists the kinds of strategy there are, by name."""
        page = Page(request)
        last = page.after[0] if page.after else ""
        kinds = [each for each in self._strategies.kinds.all() if each.kind.kind > last]
        found, token = page.cut(kinds, lambda each: (each.kind.kind,))
        return strategy_service_pb2.ListStrategyKindsResponse(
            strategy_kinds=map(kind_to_proto, found), next_page_token=token
        )

    async def CreateStrategy(
        self, request: strategy_service_pb2.CreateStrategyRequest, context: Context
    ) -> strategy_pb2.Strategy:
        """Creates a strategy."""
        wanted = NewStrategy(
            strategy_id=request.strategy_id,
            display_name=request.display_name,
            kind=request.kind,
            parameters=dict(request.parameters),
            symbols=tuple(request.symbols),
            request_id=request.request_id,
            principal=principal(),
        )
        return strategy_to_proto(await self._strategies.create(wanted))

    async def GetStrategy(
        self, request: strategy_service_pb2.GetStrategyRequest, context: Context
    ) -> strategy_pb2.Strategy:
        """Returns one strategy."""
        return strategy_to_proto(self._strategies.find(request.strategy_id))

    async def ListStrategies(
        self, request: strategy_service_pb2.ListStrategiesRequest, context: Context
    ) -> strategy_service_pb2.ListStrategiesResponse:
        """Lists strategies, oldest first."""
        page = Page(request)
        last = page.number or 0
        later = [each for each in self._strategies.records.values() if each.number > last]
        found, token = page.cut(later, lambda each: (each.number,))
        return strategy_service_pb2.ListStrategiesResponse(
            strategies=map(strategy_to_proto, found), next_page_token=token
        )

    async def DeployStrategy(
        self, request: strategy_service_pb2.DeployStrategyRequest, context: Context
    ) -> strategy_pb2.Deployment:
        """Lets a strategy decide for a portfolio."""
        wanted = NewDeployment(
            strategy_id=request.strategy_id,
            portfolio_id=request.portfolio_id,
            deployment_id=request.deployment_id,
            request_id=request.request_id,
            principal=principal(),
        )
        return _deployment(await self._deployments.deploy(wanted))

    async def StopStrategy(
        self, request: strategy_service_pb2.StopStrategyRequest, context: Context
    ) -> strategy_service_pb2.StopStrategyResponse:
        """Ends deployments of a strategy."""
        stopped = await self._deployments.stop(request.strategy_id, request.deployment_id)
        return strategy_service_pb2.StopStrategyResponse(deployments=map(_deployment, stopped))

    async def GetDeployment(
        self, request: strategy_service_pb2.GetDeploymentRequest, context: Context
    ) -> strategy_pb2.Deployment:
        """Returns one deployment."""
        return _deployment(self._deployments.find(request.deployment_id))

    async def ListDeployments(
        self, request: strategy_service_pb2.ListDeploymentsRequest, context: Context
    ) -> strategy_service_pb2.ListDeploymentsResponse:
        """Lists deployments, oldest first."""
        page = Page(request)
        if request.environment_id:
            await self._signals.require(request.environment_id)
        last = page.number or 0
        later = [
            place
            for place in self._deployments.all()
            if place.deployment.number > last
            and request.environment_id in {"", place.deployment.environment_id}
            and request.strategy_id in {"", place.deployment.strategy_id}
        ]
        found, token = page.cut(later, lambda place: (place.deployment.number,))
        return strategy_service_pb2.ListDeploymentsResponse(deployments=map(_deployment, found), next_page_token=token)

    async def ListSignals(
        self, request: strategy_service_pb2.ListSignalsRequest, context: Context
    ) -> strategy_service_pb2.ListSignalsResponse:
        """Lists signals, oldest first."""
        page = Page(request, 2)
        # The pages of a list stay in the environment that its first one was of.
        named = (request.environment_id, request.deployment_id)
        environment_id = page.after[0] if page.after else await self._signals.home(*named)
        rows = await self._signals.page(
            environment_id,
            page.number or 0,
            page.size + 1,
            deployment_id=request.deployment_id,
            symbol=request.symbol,
            signal_id=request.signal_id,
        )
        found, token = page.cut(rows, lambda row: (environment_id, row[0]))
        return strategy_service_pb2.ListSignalsResponse(
            signals=[decode_signal(payload) for _, payload in found], next_page_token=token
        )

    async def StreamSignals(
        self, request: strategy_service_pb2.StreamSignalsRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Streams signals in order."""
        cursor = Cursor(request, self._tokens)
        environment_id = cursor.partition or await self._signals.home(request.environment_id, request.deployment_id)
        subscription = self._signals.subscribe(environment_id, cursor.after, request.deployment_id)
        envelopes = Envelopes(strategy_service_pb2.StreamSignalsResponse, environment_id, cursor)
        async for message in envelopes.follow(subscription, "signals"):
            yield message


def _deployment(place: Place) -> strategy_pb2.Deployment:
    return deployment_to_proto(*place.shown())
