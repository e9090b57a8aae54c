"""The RPCs of VenueModelService: proto to domain, a call, domain to proto."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from tickmesh.order.v1 import venue_model_service_pb2, venue_model_service_pb2_grpc

from services.chassis.calls.handlers import principal
from services.chassis.errors import ApiError
from services.domain.costs import Scope, VenueModel
from services.order.commands.remodeling import Remodel
from services.order.desk.desk import Desk
from services.order.desk.replay import Desks
from services.order.entry.intake import traded
from services.order.model_mapping import asked_model, decode_model, holding
from services.wire.pages import Page

Context = grpc.aio.ServicerContext[Any, Any]


class VenueModelServicer(venue_model_service_pb2_grpc.VenueModelServiceServicer):
    """What trading costs at the paper venue."""

    def __init__(self, desks: Desks) -> None:
        self._desks = desks

    async def SetVenueModel(self, request: venue_model_service_pb2.SetVenueModelRequest, context: Context) -> Any:
        """Sets a model for the orders that come after it."""
        model = asked_model(request)
        desk = await self._desks.get(await self._desks.peers.home(request.environment_id, request.portfolio_id))
        if request.symbol:
            await traded(self._desks.peers, desk, request.symbol)
        return await _done(desk, Scope(request.portfolio_id, request.symbol), model)

    async def DeleteVenueModel(self, request: venue_model_service_pb2.DeleteVenueModelRequest, context: Context) -> Any:
        """Takes a model away, for the orders that come after it."""
        payload = await self._desks.store.venue_model(request.venue_model_id)
        if payload is None:
            raise ApiError.not_found("venue_model", request.venue_model_id, "VENUE_MODEL_NOT_FOUND")
        last = decode_model(payload)
        desk = await self._desks.get(last.environment_id)
        return last if last.deleted else await _done(desk, Scope(last.portfolio_id, last.symbol), None)

    async def ListVenueModels(self, request: venue_model_service_pb2.ListVenueModelsRequest, context: Context) -> Any:
        """Lists the models that hold, or every version there was."""
        page = Page(request)
        environment_id = await self._desks.peers.home(request.environment_id, request.portfolio_id)
        found = map(decode_model, await self._desks.store.venue_models(environment_id))
        versions = list(found) if request.all_versions else holding(found)
        after = page.number or 0
        fitting = [
            each
            for each in versions
            if each.sequence > after
            and request.portfolio_id in {"", each.portfolio_id}
            and request.symbol in {"", each.symbol}
        ]
        shown, token = page.cut(fitting, lambda each: (each.sequence,))
        return venue_model_service_pb2.ListVenueModelsResponse(venue_models=shown, next_page_token=token)


async def _done(desk: Desk, scope: Scope, model: VenueModel | None) -> Any:
    """The last version of a scope, once the change is durable."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
    desk.submit(Remodel(scope, model, principal(), answer))
    return decode_model(await answer)
