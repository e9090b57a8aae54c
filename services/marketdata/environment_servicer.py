"""Environments over gRPC."""

from __future__ import annotations

from typing import Any

import grpc
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceServicer

from services.chassis.calls.handlers import principal
from services.marketdata import mapping
from services.marketdata.environments import Environments
from services.marketdata.tapes.data_sets import DataSets
from services.wire.pages import Page

Context = grpc.aio.ServicerContext[Any, Any]


class EnvironmentServicer(EnvironmentServiceServicer):
    """Replays: made, found, moved."""

    def __init__(self, environments: Environments, data_sets: DataSets) -> None:
        self._environments = environments
        self._data_sets = data_sets

    async def ListDataSets(
        self, request: environment_service_pb2.ListDataSetsRequest, context: Context
    ) -> environment_service_pb2.ListDataSetsResponse:
        """What replays can be made of, by id."""
        page = Page(request)
        after = page.after[0] if page.after else ""
        found = [each for each in await self._data_sets.all() if each.data_set_id > after]
        shown, token = page.cut(found, lambda data_set: (data_set.data_set_id,))
        made = [mapping.data_set_to_proto(each) for each in shown]
        return environment_service_pb2.ListDataSetsResponse(data_sets=made, next_page_token=token)

    async def CreateReplay(
        self, request: environment_service_pb2.CreateReplayRequest, context: Context
    ) -> environment_pb2.Environment:
        """A new replay, or the one this request made before."""
        view = await self._environments.create(mapping.request_from_proto(request), principal())
        return mapping.environment_to_proto(view)

    async def GetEnvironment(
        self, request: environment_service_pb2.GetEnvironmentRequest, context: Context
    ) -> environment_pb2.Environment:
        """One environment."""
        return mapping.environment_to_proto(self._environments.get(request.environment_id))

    async def GetDefaultEnvironment(
        self, request: environment_service_pb2.GetDefaultEnvironmentRequest, context: Context
    ) -> environment_pb2.Environment:
        """The environment that is meant where none is named."""
        return mapping.environment_to_proto(self._environments.default())

    async def ListEnvironments(
        self, request: environment_service_pb2.ListEnvironmentsRequest, context: Context
    ) -> environment_service_pb2.ListEnvironmentsResponse:
        """Environments, newest first."""
        page = Page(request)
        shown, token = page.cut(self._environments.page(page.number, page.size + 1), lambda view: (view.plan.number,))
        made = [mapping.environment_to_proto(view) for view in shown]
        return environment_service_pb2.ListEnvironmentsResponse(environments=made, next_page_token=token)

    async def StartReplay(
        self, request: environment_service_pb2.StartReplayRequest, context: Context
    ) -> environment_pb2.Environment:
        """Lets time begin."""
        return mapping.environment_to_proto(await self._environments.start(request.environment_id))

    async def PauseReplay(
        self, request: environment_service_pb2.PauseReplayRequest, context: Context
    ) -> environment_pb2.Environment:
        """Holds time; returns when it stands."""
        return mapping.environment_to_proto(await self._environments.pause(request.environment_id))

    async def ResumeReplay(
        self, request: environment_service_pb2.ResumeReplayRequest, context: Context
    ) -> environment_pb2.Environment:
        """Lets time go on."""
        return mapping.environment_to_proto(await self._environments.start(request.environment_id))

    async def StopReplay(
        self, request: environment_service_pb2.StopReplayRequest, context: Context
    ) -> environment_pb2.Environment:
        """Ends the replay."""
        return mapping.environment_to_proto(await self._environments.stop(request.environment_id))

    async def SetReplaySpeed(
        self, request: environment_service_pb2.SetReplaySpeedRequest, context: Context
    ) -> environment_pb2.Environment:
        """Changes how fast it may advance."""
        pace = mapping.pace_from_proto(request.pace)
        return mapping.environment_to_proto(await self._environments.set_pace(request.environment_id, pace))
