"""The market-data service, running."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from tickmesh.marketdata.v1 import environment_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub

from tests.component.marketdata.support import Client, Service, client_of, copied, running


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a first life stores: the compiled calendar takes seconds, so it is made once."""
    directory = tmp_path_factory.mktemp("template") / "data"
    with running(directory) as service:
        with grpc.insecure_channel(service.address) as channel:
            stub: Any = EnvironmentServiceStub(channel)
            stub.ListDataSets(environment_service_pb2.ListDataSetsRequest(), wait_for_ready=True, timeout=60)
        service.stop()
    return directory


@pytest.fixture(scope="module")
def service(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """One life for all tests of a module."""
    with running(copied(template, tmp_path_factory.mktemp("service") / "data")) as service:
        yield service


@pytest.fixture
async def client(service: Service) -> AsyncIterator[Client]:
    """A client of it."""
    async with client_of(service) as client:
        yield client
