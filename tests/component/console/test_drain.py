"""What stops the mesh also stops one that does not answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import (
    EnvironmentServiceServicer,
    add_EnvironmentServiceServicer_to_server,
)

from services.console.clients import Mesh
from services.console.layout import Layout
from services.console.processes.supervision import Supervisor
from services.console.settings import ConsoleSettings
from services.console.up import drain

REPLAY = environment_pb2.Environment(
    environment_id="replay-1", state=environment_pb2.ENVIRONMENT_STATE_RUNNING, tape_sequence=7
)


class Market(EnvironmentServiceServicer):
    """Has one replay; where it is stuck, nobody hears whether that was paused."""

    def __init__(self) -> None:
        self.stuck = False

    async def ListEnvironments(self, request: Any, context: Any) -> environment_service_pb2.ListEnvironmentsResponse:
        return environment_service_pb2.ListEnvironmentsResponse(environments=[REPLAY])

    async def PauseReplay(self, request: Any, context: Any) -> environment_pb2.Environment:
        if self.stuck:
            await asyncio.Event().wait()
        return REPLAY


@pytest.fixture
async def market(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Market]:
    server, market = grpc.aio.server(), Market()
    add_EnvironmentServiceServicer_to_server(market, server)
    port = server.add_insecure_port("127.0.0.1:0")
    monkeypatch.setenv("TICKMESH_MARKETDATA_ADDRESS", f"127.0.0.1:{port}")
    await server.start()
    yield market
    await server.stop(0)


@pytest.mark.parametrize("stuck", [False, True])
async def test_what_moves_is_noted_and_paused_and_all_is_stopped_also_where_nobody_answers(
    market: Market, stuck: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market.stuck = stuck
    if stuck:
        monkeypatch.setenv("TICKMESH_CALL_DEADLINE_SECONDS", "0.2")
    layout, settings = Layout(tmp_path), ConsoleSettings()
    layout.prepare()
    # What a stop takes away where no process is left.
    layout.pid_of("order").write_text("0\n")
    async with Mesh(settings) as mesh:
        kept = await drain(mesh, settings, layout, Supervisor(layout))
    assert [each.tape_sequence for each in kept] == ([] if stuck else [7])
    assert json.loads(layout.drained.read_text()) == ["replay-1"]
    assert not layout.pid_of("order").exists()
