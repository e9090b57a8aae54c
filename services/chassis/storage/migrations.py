"""Brings a database to the newest schema at start-up, by Alembic's version files alone: no env.py, no ini file."""

from __future__ import annotations

import zlib
from pathlib import Path
from typing import Any

import sqlalchemy as sa

# Alembic takes 0.4 s and 7 MB to import, at every start of every service, to find that nothing is to be done. So what
# was applied is noted beside its own table, and it is only asked when the version files have changed.
_applied = sa.Table("schema_fingerprint", sa.MetaData(), sa.Column("value", sa.BigInteger, nullable=False))


def upgrade(connection: sa.Connection, folder: Path) -> None:
    """Applies the version files in `folder` which the database has not seen, in the connection's transaction."""
    fingerprint = 0
    for path in sorted(folder.glob("*.py")):
        fingerprint = zlib.crc32(path.read_bytes(), fingerprint)
    _applied.create(connection, checkfirst=True)
    if connection.execute(sa.select(_applied.c.value)).scalar() == fingerprint:
        return
    _upgrade(connection, folder)
    connection.execute(sa.delete(_applied))
    connection.execute(sa.insert(_applied), {"value": fingerprint})


def _upgrade(connection: sa.Connection, folder: Path) -> None:
    from alembic.config import Config
    from alembic.runtime.environment import EnvironmentContext
    from alembic.script import ScriptDirectory

    script = ScriptDirectory(folder, version_locations=[str(folder)])

    def steps(revision: Any, _context: Any) -> Any:
        return script._upgrade_revs("head", revision)  # noqa: SLF001 all that alembic.command.upgrade does

    with EnvironmentContext(Config(), script, fn=steps) as environment:
        environment.configure(connection=connection, render_as_batch=True)
        environment.run_migrations()
