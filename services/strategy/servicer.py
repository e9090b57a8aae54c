"""The RPCs of StrategyService: proto to domain, a call, domain to proto."""

from __future__ import annotations

import time
import uuid
from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Final, TypeVar

import grpc
from google.protobuf.message import Message
from tickmesh.common.v1 import stream_pb2
from tickmesh.strategy.v1 import strategy_pb2, strategy_service_pb2, strategy_service_pb2_grpc

from services.chassis.errors import ApiError
from services.chassis.handlers import principal
from services.chassis.stream import Closed, Events, Heartbeat, Reset
from services.chassis.tokens import (
    ResumeTokens,
    TokenExpired,
    decode_page_token,
    encode_page_token,
    filter_hash,
    length_delimited,
)
from services.strategy.deployments import Deployments, NewDeployment
from services.strategy.mapping import deployment_to_proto, kind_to_proto, strategy_to_proto, timestamp
from services.strategy.places import Place
from services.strategy.signals import Signals
from services.strategy.strategies import NewStrategy, Strategies

Context = grpc.aio.ServicerContext[Any, Any]
T = TypeVar("T")

DEFAULT_PAGE_SIZE: Final = 100
_Envelope = strategy_service_pb2.StreamSignalsResponse


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
        page = _Page(request)
        kinds = [each for each in self._strategies.kinds.all() if each.kind.kind > page.at]
        found, token = page.cut(kinds, lambda each: each.kind.kind)
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
        page = _Page(request)
        later = [each for each in self._strategies.records.values() if each.number > page.number]
        found, token = page.cut(later, lambda each: each.number)
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
        page = _Page(request)
        later = [
            place
            for place in self._deployments.all()
            if place.deployment.number > page.number
            and request.environment_id in {"", place.deployment.environment_id}
            and request.strategy_id in {"", place.deployment.strategy_id}
        ]
        found, token = page.cut(later, lambda place: place.deployment.number)
        return strategy_service_pb2.ListDeploymentsResponse(deployments=map(_deployment, found), next_page_token=token)

    async def ListSignals(
        self, request: strategy_service_pb2.ListSignalsRequest, context: Context
    ) -> strategy_service_pb2.ListSignalsResponse:
        """Lists signals, oldest first."""
        page = _Page(request, "environment_id")
        environment_id = request.environment_id or self._signals.home(request.deployment_id)
        if not environment_id and not request.deployment_id:
            # The pages of a list stay in the environment that its first one was of.
            environment_id = page.environment_id or self._signals.newest()
        rows = await self._signals.page(
            environment_id, request.deployment_id, request.symbol, page.number, page.size + 1
        )
        found, token = page.cut(rows, lambda row: row[0], environment_id)
        return strategy_service_pb2.ListSignalsResponse(
            signals=[strategy_pb2.Signal.FromString(payload) for _, payload in found], next_page_token=token
        )

    async def StreamSignals(
        self, request: strategy_service_pb2.StreamSignalsRequest, context: Context
    ) -> AsyncIterator[Any]:
        """Streams signals in order."""
        if request.resume_token and request.HasField("after_sequence"):
            raise ApiError.invalid_field("after_sequence", "goes with no resume_token")
        hashed = filter_hash(request, "after_sequence")
        environment_id, after, expired = await self._cursor(request, hashed)
        envelopes = _Envelopes(environment_id, lambda at: self._tokens.encode({environment_id: at}, hashed))
        if expired:
            yield envelopes.reset("TOKEN_EXPIRED", after)
        envelopes.told = after
        async for item in self._signals.subscribe(environment_id, after, request.deployment_id):
            match item:
                case Events():
                    yield envelopes.signals(item)
                case Heartbeat():
                    yield envelopes.heartbeat(item)
                case Reset():
                    yield envelopes.reset(item.reason, item.head)
                case Closed():
                    yield envelopes.closed(item.error)
                    raise item.error

    async def _cursor(self, request: strategy_service_pb2.StreamSignalsRequest, hashed: str) -> tuple[str, int, bool]:
        """The environment, the signal to begin after, and whether a token had expired."""
        expired = False
        if request.resume_token:
            try:
                ((environment_id, after),) = self._tokens.decode(request.resume_token, hashed).items()
            except TokenExpired:
                expired = True
            except ValueError:
                raise ApiError.invalid_field(
                    "resume_token", "is no token of this stream", "RESUME_TOKEN_INVALID"
                ) from None
            else:
                return environment_id, after, False
        environment_id = request.environment_id or self._signals.home(request.deployment_id) or self._signals.newest()
        await self._signals.require(environment_id)
        head = self._signals.head(environment_id)
        return environment_id, request.after_sequence if request.HasField("after_sequence") else head, expired


class _Page:
    """Where a list stands. Its token names the list and its filter, so that no other list's is taken for it.

    Attributes:
        at: the key of the last element before; empty on the first page.
        environment_id: that the list was of, where it chose one itself.
    """

    def __init__(self, request: Any, *ignored: str) -> None:
        self.size: int = request.page_size or DEFAULT_PAGE_SIZE
        self._hashed = filter_hash(request, "page_token", "page_size")
        self.at = self.environment_id = ""
        if found := decode_page_token(request.page_token, 3):
            named, self.environment_id, self.at = found
            if named != self._hashed:
                raise ApiError.invalid_field("page_token", "belongs to another list", "PAGE_TOKEN_INVALID")

    @property
    def number(self) -> int:
        """`at` of a list ordered by numbers."""
        return int(self.at or 0)

    def cut(self, later: Sequence[T], key: Callable[[T], object], environment_id: str = "") -> tuple[Sequence[T], str]:
        """This page of what comes later, and the token of the next one."""
        if len(later) <= self.size:
            return later, ""
        found = later[: self.size]
        return found, encode_page_token(self._hashed, environment_id, str(key(found[-1])))


class _Envelopes:
    """One subscription's messages; what they bring is encoded already.

    Attributes:
        told: `sequence` of the message before.
    """

    def __init__(self, environment_id: str, token: Callable[[int], str]) -> None:
        self._environment_id = environment_id
        self._token = token
        self._subscription_id = uuid.uuid4().hex
        self.told = self._scanned = 0

    def signals(self, item: Events[Any]) -> bytes:
        """Signals."""
        return self._message(item.sequence, item.scanned, _Envelope.SIGNALS_FIELD_NUMBER, item.data)

    def heartbeat(self, item: Heartbeat) -> bytes:
        """Nothing new."""
        data = _bytes(stream_pb2.Heartbeat(scanned_sequence=item.scanned))
        return self._message(self.told, item.scanned, _Envelope.HEARTBEAT_FIELD_NUMBER, data)

    def reset(self, reason: str, head: int) -> bytes:
        """The cursor broke; it goes on at the newest."""
        number = stream_pb2.ResetReason.Value(f"RESET_REASON_{reason}")
        message = "The cursor is of another life of this stream; it goes on with what comes now."
        data = _bytes(stream_pb2.Reset(reason=number, message=message))
        return self._message(head, head, _Envelope.RESET_FIELD_NUMBER, data)

    def closed(self, error: ApiError) -> bytes:
        """The stream ends."""
        data = _bytes(stream_pb2.Closed(status=error.to_status()))
        return self._message(self.told, self._scanned, _Envelope.CLOSED_FIELD_NUMBER, data)

    def _message(self, sequence: int, scanned: int, field: int, data: bytes) -> bytes:
        head = _Envelope(
            subscription_id=self._subscription_id,
            partition=self._environment_id,
            sequence=sequence,
            previous_sequence=self.told,
            publish_time=timestamp(time.time_ns()),
            resume_token=self._token(scanned),
        )
        self.told, self._scanned = sequence, scanned
        return head.SerializeToString() + length_delimited(field, data)


def _deployment(place: Place) -> strategy_pb2.Deployment:
    return deployment_to_proto(*place.shown())


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
