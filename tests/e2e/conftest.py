"""A mesh for a test, with what takes long done once for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import pytest

from services.chassis.catalog import MARKETDATA, SERVICES
from services.chassis.storage.database import Database
from services.console.trial.trial import CalendarFiles
from services.marketdata.reference.sessions import compile_in_child
from services.marketdata.store import Store
from tests.e2e.mesh import Mesh
from tests.nursery import Nursery, nursery

Meshes = Callable[..., AbstractAsyncContextManager[Mesh]]


@pytest.fixture(scope="session", name="nursery")
def _nursery() -> Nursery:
    return nursery()


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with sessions compiled and tables made: both take seconds, and are tested elsewhere."""
    folder = tmp_path_factory.mktemp("prepared")
    asyncio.run(prepare(folder))
    return folder


async def prepare(folder: Path) -> None:
    """Fills a new data directory: empty databases, and the sessions of XNYS, for the mesh and for backtests."""
    calendar = await compile_in_child("XNYS")
    assert calendar is not None
    await CalendarFiles(folder / "calendars").put_calendar(calendar)
    for name in SERVICES:
        migrations = importlib.import_module(f"services.{name}.migrations")
        async with await Database.open(f"sqlite:///{folder / name}.db", migrations) as database:
            if name == MARKETDATA.name:
                await Store(database).put_calendar(calendar)


@contextlib.asynccontextmanager
async def running(folder: Path, prepared: Path, nursery: Nursery | None, **settings: str) -> AsyncIterator[Mesh]:
    """A mesh that serves; afterwards nobody may have ended but by a kill."""
    shutil.copytree(prepared, folder / "data")
    mesh = Mesh(folder, nursery, **settings)
    mesh.start()
    try:
        await mesh.serving()
        yield mesh
    except BaseException:
        print(mesh.logs())
        raise
    finally:
        mesh.stop()
    assert not mesh.failures, f"{mesh.failures}\n{mesh.logs()}"


@pytest.fixture
def meshes(tmp_path: Path, prepared: Path, nursery: Nursery) -> Meshes:
    """Makes meshes: `async with meshes(order_batch_size="1") as mesh`."""
    numbers = iter(range(100))
    return lambda **settings: running(tmp_path / f"mesh-{next(numbers)}", prepared, nursery, **settings)
