"""A mesh for a command: made for it, and taken away unless something is wrong."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.e2e.conftest import prepare, running
from tests.e2e.mesh import Mesh
from tests.e2e.nursery import Nursery


def in_mesh(name: str, run: Callable[[Mesh], Awaitable[None]], **settings: str) -> None:
    """Runs it; where it fails, says where that mesh's data and logs are left."""
    folder = Path(tempfile.mkdtemp(prefix=f"tickmesh-{name}-"))
    try:
        asyncio.run(_run(folder, run, settings))
    except BaseException:
        print(f"data and logs: {folder}")
        raise
    shutil.rmtree(folder)


async def _run(folder: Path, run: Callable[[Mesh], Awaitable[None]], settings: dict[str, str]) -> None:
    nursery, prepared = Nursery(), folder / "prepared"
    prepared.mkdir()
    try:
        await prepare(prepared)
        async with running(folder / "mesh", prepared, nursery, **settings) as mesh:
            await run(mesh)
    finally:
        nursery.close()
