"""What is SQLite's own: commits on the spot, its log, who may write its file, and durability once acknowledged."""

import asyncio
import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.engine import make_url

from services.chassis.storage import ownership, sqlite
from services.chassis.storage.database import Database

ROOT = Path(__file__).resolve().parents[4]

MIGRATION = '''
"""Makes the orders."""
import sqlalchemy as sa
from alembic import op
revision = "0001"
down_revision = None
def upgrade():
    op.create_table("orders", sa.Column("id", sa.BigInteger, primary_key=True), sa.Column("state", sa.Text))
'''
orders = sa.Table(
    "orders",
    sa.MetaData(),
    sa.Column("id", sa.BigInteger, primary_key=True),
    sa.Column("state", sa.Text),
)
insert = sa.insert(orders)
by_id = sa.select(orders).order_by(orders.c.id)


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    folder = tmp_path / "migrations"
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "0001_orders.py").write_text(MIGRATION)
    return folder


@pytest.fixture
async def database(tmp_path: Path, migrations: Path) -> AsyncIterator[Database]:
    async with await Database.open(f"sqlite:///{tmp_path}/data/order.db", migrations) as database:
        yield database


async def test_sqlite_flushes_at_every_commit(database: Database) -> None:
    def settings(connection: sa.Connection) -> dict[str, object]:
        names = ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        return {name: connection.exec_driver_sql(f"PRAGMA {name}").scalar() for name in names}

    full = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 5000}
    assert await database.read(settings) == full
    assert await database.run(settings) == full


async def test_a_unit_that_may_be_committed_here_is_stored_and_told_of_at_once(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BRIEF_SECONDS", 60.0)
    told: list[int] = []
    for n in range(1, 4):
        row = {"id": n, "state": "NEW"}
        done = database.writer.enqueue([(insert, [row])], partial(told.append, n), here=True)
        if n > 1:
            # The first one opens the writer's connection, in its thread.
            assert (done.done(), told[-1]) == (True, n)
        await done
        assert [each.id for each in await database.fetch_all(by_id)] == told == list(range(1, n + 1))


async def test_a_unit_that_may_be_committed_here_waits_for_what_is_being_committed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BRIEF_SECONDS", 60.0)
    told: list[int] = []
    units = [[(insert, [{"id": n, "state": "NEW"}])] for n in range(1, 5)]
    await database.writer.enqueue(units[0], partial(told.append, 1))
    waited = [
        database.writer.enqueue(unit, partial(told.append, n), here=n == 3) for n, unit in enumerate(units[1:], 2)
    ]
    assert [each.done() for each in waited] == [False, False, False]
    await asyncio.gather(*waited)
    assert told == [1, 2, 3, 4]


async def test_nothing_stands_still_for_a_commit_that_usually_takes_long(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await database.writer.commit([(insert, [{"id": 1, "state": "NEW"}])])
    monkeypatch.setattr(sqlite, "BRIEF_SECONDS", 0.0)
    done = database.writer.enqueue([(insert, [{"id": 2, "state": "NEW"}])], here=True)
    assert not done.done()
    await done
    assert len(await database.fetch_all(by_id)) == 2


async def test_a_unit_that_may_be_committed_here_is_stored_whole_or_not_at_all(
    tmp_path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BRIEF_SECONDS", 60.0)
    failures: list[BaseException] = []
    database = await Database.open(f"sqlite:///{tmp_path}/order.db", migrations, on_failure=failures.append)
    row = {"id": 1, "state": "NEW"}
    await database.writer.commit([(insert, [row])])
    done = database.writer.enqueue([(insert, [{**row, "id": 2}, row])], here=True)
    with pytest.raises(RuntimeError, match="commit failed"):
        await done
    assert isinstance(failures[0], sqlite3.IntegrityError)
    assert [each.id for each in await database.fetch_all(by_id)] == [1]


def size(path: Path) -> int:
    return path.stat().st_size


async def test_the_log_of_what_was_committed_stays_small_while_commits_never_pause(
    tmp_path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "CHECKPOINT_SECONDS", 0.01)
    monkeypatch.setattr(sqlite, "MOST_PAGES", 300)
    log = tmp_path / "order.db-wal"
    async with await Database.open(f"sqlite:///{tmp_path}/order.db", migrations) as database:
        for n in range(400):
            await database.writer.commit([(insert, [{"id": n, "state": "x" * 20_000}])])
        # 400 commits of 6 pages at least; a log that is copied is written from its beginning again. While that is under
        # way it grows, on a machine that is busy for hundreds of pages.
        assert size(log) < 1200 * 4096
        assert len(await database.fetch_all(by_id)) == 400


async def test_what_was_committed_goes_into_the_file_itself_beside_the_commits(database: Database) -> None:
    path = Path(str(make_url(database.url).database))
    before = size(path)
    for n in range(50):
        await database.writer.commit([(insert, [{"id": n, "state": "x" * 20_000}])])
    async with asyncio.timeout(30):
        while size(path) < before + 4 * 20_000:
            await database.writer.commit([(sa.update(orders).values(state="y").where(orders.c.id == 1), [{}])])
            await asyncio.sleep(0.1)


async def test_a_second_process_is_kept_off_the_file_until_the_first_lets_go(
    tmp_path: Path, migrations: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = f"sqlite:///{tmp_path}/order.db"
    first = await Database.open(url, migrations, alone=True)
    # Tools and tests may look on.
    await (await Database.open(url, migrations)).close()
    with monkeypatch.context() as patch:
        patch.setattr(ownership, "PATIENCE_SECONDS", 0.1)
        with pytest.raises(ownership.DatabaseInUseError, match=r"another process writes .*order\.db"):
            await Database.open(url, migrations, alone=True)
    second = asyncio.create_task(Database.open(url, migrations, alone=True))
    await asyncio.sleep(0.1)
    assert not second.done()
    await first.close()
    async with asyncio.timeout(30):
        await (await second).close()


PROGRAM = """
import asyncio, sys
import sqlalchemy as sa
from pathlib import Path
from services.chassis.storage.database import Database

orders = sa.Table("orders", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True))
insert = sa.insert(orders)

async def main():
    database = await Database.open(sys.argv[1], Path(sys.argv[2]), alone=True)
    last = await database.fetch_one(sa.select(sa.func.max(orders.c.id)))
    numbers = iter(range((last[0] or 0) + 1, 1_000_000))
    async def place():
        for number in numbers:
            await database.writer.commit([(insert, [{"id": number}])])
            print(number, flush=True)
    await asyncio.gather(*(place() for _ in range(8)))

asyncio.run(main())
"""


def test_kill_9_right_after_an_acknowledgement_loses_nothing_acknowledged(tmp_path: Path, migrations: Path) -> None:
    url = f"sqlite:///{tmp_path}/order.db"
    acknowledged: set[int] = set()
    for wanted in (1, 40):
        process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, url, str(migrations)],
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            text=True,
        )
        assert process.stdout is not None
        acknowledged.update(int(process.stdout.readline()) for _ in range(wanted))
        process.send_signal(signal.SIGKILL)
        # What it could still say before it died was acknowledged too; the last line may be cut.
        acknowledged.update(int(line) for line in process.stdout.read().split("\n")[:-1])
        process.wait()
    engine = sa.create_engine(f"sqlite:///{tmp_path}/order.db")
    with engine.connect() as connection:
        stored = set(connection.execute(sa.text("SELECT id FROM orders")).scalars())
        assert connection.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
    engine.dispose()
    assert len(acknowledged) >= 41
    assert acknowledged <= stored


async def test_a_commit_that_fails_ends_the_process_with_code_70(tmp_path: Path, migrations: Path) -> None:
    url = f"sqlite:///{tmp_path}/order.db"
    async with await Database.open(url, migrations) as database:
        await database.writer.commit([(insert, [{"id": 1, "state": None}])])
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        PROGRAM.replace("(last[0] or 0) + 1", "1"),
        url,
        str(migrations),
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert process.returncode == 70
    assert b"a commit failed" in err
    assert out == b""


async def test_a_service_whose_database_is_in_use_says_so_and_ends_with_code_75(
    tmp_path: Path, migrations: Path
) -> None:
    url = f"sqlite:///{tmp_path}/order.db"
    program = PROGRAM.replace("asyncio.run(main())", "ownership.PATIENCE_SECONDS = 0.1\nrun(main)")
    async with await Database.open(url, migrations, alone=True):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "from services.chassis.storage import ownership\nfrom services.chassis.calls.server import run\n" + program,
            url,
            str(migrations),
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
    assert process.returncode == 75
    assert b"another process writes" in err
    assert b"Traceback" not in err
    assert out == b""
