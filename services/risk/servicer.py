"""The service's RPCs: from messages to calls and back."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from decimal import Decimal
from typing import Any, TypeVar

import grpc
from google.protobuf.message import DecodeError
from tickmesh.risk.v1 import risk_pb2
from tickmesh.risk.v1 import risk_service_pb2 as messages
from tickmesh.risk.v1.risk_event_pb2 import StreamRiskEventsResponse
from tickmesh.risk.v1.risk_gate_service_pb2 import (
    CheckOrdersRequest,
    CheckOrdersResponse,
    ReportRunawayRequest,
    ReportRunawayResponse,
)
from tickmesh.risk.v1.risk_gate_service_pb2_grpc import RiskGateServiceServicer
from tickmesh.risk.v1.risk_service_pb2_grpc import RiskServiceServicer

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.money import NotADecimal, parse_decimal
from services.domain.risk.limit import Where
from services.domain.risk.limits import NoSuchLimit, make_limit
from services.risk.controls import Controls
from services.risk.environments import Environments
from services.risk.gate.gate import EnvironmentGate
from services.risk.gate.session import Session
from services.risk.journal.events import RiskEvents
from services.risk.journal.mapping import LIMIT_CHANGES, event_to_proto, kinds_from_proto, limit_change_to_proto
from services.risk.journal.runaways import Runaways
from services.risk.mapping import (
    batch_from_proto,
    kill_switch_to_proto,
    limit_id,
    limit_to_proto,
    portfolio_risk_to_proto,
    runaway_from_proto,
    scope_from_proto,
    told_to_proto,
)
from services.risk.records import GUARD, KillRecord, Scope
from services.wire.limits import LIMIT_NAMES
from services.wire.pages import Page

EDGE_KEY = "x-tickmesh-edge"
"""Metadata that the edge puts on every call it lets in."""

T = TypeVar("T")
_Paged = messages.ListLimitsRequest | messages.ListKillSwitchesRequest
Context = grpc.aio.ServicerContext[Any, Any]


class RiskServicer(RiskServiceServicer):
    """Limits, kill switches, and what portfolios may still do."""

    def __init__(self, environments: Environments, controls: Controls, events: RiskEvents) -> None:
        self._environments = environments
        self._controls = controls
        self._events = events

    async def GetPortfolioRisk(
        self, request: messages.GetPortfolioRiskRequest, context: Context
    ) -> risk_pb2.PortfolioRisk:
        """See the contract."""
        gate = await self._environments.of_portfolio(request.portfolio_id)
        exposure, usages = gate.exposure(request.portfolio_id)
        count = gate.reservation_count(request.portfolio_id)
        at = (gate.folding.cursor, gate.position)
        return portfolio_risk_to_proto(gate.environment_id, exposure, usages, *at, reservations=count)

    async def ListLimits(self, request: messages.ListLimitsRequest, context: Context) -> messages.ListLimitsResponse:
        """See the contract."""
        if request.environment_id or request.portfolio_id:
            await self._events.home(request.environment_id, request.portfolio_id)
        found = self._controls.limits(request.environment_id, _where(request))
        page, token = _page(found, lambda limit: (limit_id(limit),), 1, request)
        return messages.ListLimitsResponse(limits=map(limit_to_proto, page), next_page_token=token)

    async def SetLimit(self, request: messages.SetLimitRequest, context: Context) -> risk_pb2.Limit:
        """See the contract."""
        name, bound, where = LIMIT_NAMES[request.limit_type], parse_decimal(request.bound), _where(request)
        _check_limit(name, bound, where)
        gate = await self._gate(request.environment_id, request.portfolio_id)
        if request.symbol:
            await self._environments.require_symbol(request.environment_id, request.symbol)
        if request.strategy_id and not self._controls.limits(request.environment_id, where):
            await self._environments.require_strategy(gate, request.strategy_id)
        return limit_to_proto(await self._controls.set_limit(gate, name, where, bound))

    async def DeleteLimit(self, request: messages.DeleteLimitRequest, context: Context) -> risk_pb2.Limit:
        """See the contract."""
        limit = self._controls.limit(lambda each: limit_id(each) == request.limit_id)
        if limit is None:
            raise ApiError.not_found("limit", request.limit_id, "LIMIT_NOT_FOUND")
        gate = await self._environments.open(limit.environment_id)
        return limit_to_proto(await self._controls.delete_limit(gate, limit.name, limit.where))

    async def EngageKillSwitch(
        self, request: messages.EngageKillSwitchRequest, context: Context
    ) -> risk_pb2.KillSwitch:
        """See the contract."""
        scope = scope_from_proto(request.scope)
        gate = await self._gate(request.environment_id, request.target_id if scope is Scope.PORTFOLIO else "")
        known = self._controls.was_engaged(request.environment_id, scope, request.target_id)
        if scope is Scope.STRATEGY and not known:
            await self._environments.require_strategy(gate, request.target_id)
        record = await self._controls.engage(
            gate, scope, request.target_id, allow_reducing=request.allow_reducing, reason=request.reason
        )
        return kill_switch_to_proto(record)

    async def ReleaseKillSwitch(
        self, request: messages.ReleaseKillSwitchRequest, context: Context
    ) -> risk_pb2.KillSwitch:
        """See the contract."""
        scope = scope_from_proto(request.scope)
        if not self._controls.was_engaged(request.environment_id, scope, request.target_id):
            name = request.target_id or request.environment_id
            raise ApiError.not_found("kill_switch", name, "KILL_SWITCH_NOT_FOUND")
        gate = await self._environments.open(request.environment_id)
        return kill_switch_to_proto(await self._controls.release(gate, scope, request.target_id))

    async def ListKillSwitches(
        self, request: messages.ListKillSwitchesRequest, context: Context
    ) -> messages.ListKillSwitchesResponse:
        """See the contract."""
        if request.environment_id:
            await self._environments.open(request.environment_id)
        found = self._controls.kill_switches(request.environment_id)
        page, token = _page(found, _kill_key, 3, request)
        return messages.ListKillSwitchesResponse(kill_switches=map(kill_switch_to_proto, page), next_page_token=token)

    async def ListLimitChanges(
        self, request: messages.ListLimitChangesRequest, context: Context
    ) -> messages.ListLimitChangesResponse:
        """See the contract."""
        page = Page(request, 2)
        environment_id = page.after[0] if page.after else await self._events.home(request.environment_id)
        found = await self._events.page(environment_id, "", LIMIT_CHANGES, page.number or 0, page.size + 1)
        shown, token = page.cut(found, lambda each: (environment_id, each.sequence))
        changes = map(limit_change_to_proto, shown)
        return messages.ListLimitChangesResponse(limit_changes=changes, next_page_token=token)

    async def ListRiskEvents(
        self, request: messages.ListRiskEventsRequest, context: Context
    ) -> messages.ListRiskEventsResponse:
        """See the contract."""
        page, kinds = Page(request, 2), kinds_from_proto(request.kinds)
        named = (request.environment_id, request.portfolio_id)
        environment_id = page.after[0] if page.after else await self._events.home(*named)
        after, most = page.number or 0, page.size + 1
        found = await self._events.page(environment_id, request.portfolio_id, kinds, after, most)
        shown, token = page.cut(found, lambda each: (environment_id, each.sequence))
        return messages.ListRiskEventsResponse(risk_events=map(event_to_proto, shown), next_page_token=token)

    async def StreamRiskEvents(self, request: messages.StreamRiskEventsRequest, context: Context) -> AsyncIterator[Any]:
        """See the contract."""
        kinds = kinds_from_proto(request.kinds)
        async for message in await self._events.stream(request, StreamRiskEventsResponse, kinds):
            yield message

    async def _gate(self, environment_id: str, portfolio_id: str) -> EnvironmentGate:
        """The gate of an environment that has this portfolio, where one is named."""
        gate = await self._environments.open(environment_id)
        if portfolio_id and await self._environments.of_portfolio(portfolio_id) is not gate:
            message = f"{environment_id} has no portfolio {portfolio_id}."
            raise ApiError.not_found("portfolio", portfolio_id, "PORTFOLIO_NOT_FOUND", message)
        return gate


class RiskGateServicer(RiskGateServiceServicer):
    """The gate that every order passes."""

    def __init__(self, environments: Environments, runaways: Runaways) -> None:
        self._environments = environments
        self._runaways = runaways

    async def ReportRunaway(self, request: ReportRunawayRequest, context: Context) -> ReportRunawayResponse:
        """See the contract."""
        _only_inside(context)
        await self._runaways.tell(await self._environments.open(request.environment_id), runaway_from_proto(request))
        return ReportRunawayResponse()

    async def CheckOrders(
        self, request_iterator: AsyncIterator[CheckOrdersRequest], context: Context
    ) -> AsyncIterator[CheckOrdersResponse]:
        """See the contract."""
        _only_inside(context)
        first = await anext(request_iterator, None)
        if first is None:
            return
        if first.WhichOneof("message") != "connect":
            raise ApiError.invalid_field("connect", "must be the first message")
        wanted = first.connect
        gate = await self._environments.open(wanted.environment_id)
        session = await gate.connect(wanted.epoch, wanted.order_head)
        reader = detach(_read(gate, session, request_iterator), name="check orders")
        try:
            while (told := await session.next()) is not None:
                yield told_to_proto(told)
        finally:
            gate.leave(session)
            reader.cancel()
            await asyncio.wait([reader])


def _only_inside(context: Context) -> None:
    if any(key == EDGE_KEY for key, _ in context.invocation_metadata() or ()):
        raise ApiError.permission_denied("NOT_OPEN_AT_EDGE", "Orders are checked for the order service only.")


async def _read(gate: EnvironmentGate, session: Session, requests: AsyncIterator[CheckOrdersRequest]) -> None:
    """Check batch after batch; whatever goes wrong ends the session, and its caller sees no verdict."""
    try:
        async for request in requests:
            if request.WhichOneof("message") != "batch":
                raise ApiError.invalid_field("connect", "must be the first message only")
            try:
                batch = batch_from_proto(request.batch, gate.folding.events_received)
            except (NotADecimal, ArithmeticError, KeyError, DecodeError) as error:
                raise ApiError.invalid_field("batch", f"cannot be read: {error}") from None
            await gate.check(session, batch)
    except asyncio.CancelledError:
        raise
    except BaseException as error:  # noqa: BLE001 the other half of the call tells it
        session.end(error)
    else:
        session.end()


def _page(
    found: Sequence[T], key: Callable[[T], tuple[str, ...]], width: int, request: _Paged
) -> tuple[Sequence[T], str]:
    """One page in the order of `key`, which has `width` parts, and the token of the next."""
    page = Page(request, width)
    after = tuple(page.after)
    return page.cut(sorted((each for each in found if key(each) > after), key=key), key)


def _where(request: messages.SetLimitRequest | messages.ListLimitsRequest) -> Where:
    return Where(request.portfolio_id, request.strategy_id, request.symbol)


def _check_limit(name: str, bound: Decimal, where: Where) -> None:
    """Refuse a limit that there cannot be."""
    if name == GUARD:
        if where.strategy_id or where.symbol:
            raise ApiError.invalid_field("limit_type", "RUNAWAY_GUARD is set for an environment or a portfolio")
        if bound % 1:
            raise ApiError.invalid_field("bound", f"the bound of {name} counts: it is a whole number, not {bound}")
        return
    try:
        make_limit(name, bound, *where)
    except NoSuchLimit as error:
        raise ApiError.invalid_field("bound" if error.bounded else "limit_type", str(error)) from None


def _kill_key(record: KillRecord) -> tuple[str, ...]:
    return record.environment_id, record.scope, record.target_id
