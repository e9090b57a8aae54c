"""Units that queue while one transaction runs share the next; their order never shows a difference."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from services.chassis.storage.database import upsert
from services.chassis.storage.writer import MAX_ROWS, Statement, Unit, Writer, merge

metadata = sa.MetaData()
orders = sa.Table("orders", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("state", sa.Text))
events = sa.Table(
    "events",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("order_id", sa.ForeignKey("orders.id")),
)
cursors = sa.Table("cursors", metadata, sa.Column("id", sa.Integer, primary_key=True), sa.Column("at", sa.Integer))
stages = sa.Table(
    "stages", metadata, *(sa.Column(each, sa.Integer, primary_key=each == "id") for each in ("id", "at", "began"))
)

insert_order = sa.insert(orders)
insert_event = sa.insert(events)
update_order = sa.update(orders).where(orders.c.id == sa.bindparam("key")).values(state=sa.bindparam("new"))
delete_order = sa.delete(orders).where(orders.c.id == sa.bindparam("key"))
insert_cursor = sa.insert(cursors)
put_stage = upsert(stages, "sqlite", keep=("began",))


def names(groups: Sequence[tuple[Statement, list[Mapping[str, Any]]]]) -> list[tuple[str, int]]:
    known = {id(insert_order): "order", id(insert_event): "event", id(update_order): "update"}
    return [(known.get(id(statement), "other"), len(rows)) for statement, rows in groups]


def test_units_of_the_same_shape_become_one_executemany_a_table() -> None:
    units = [[(insert_order, [{"id": n}]), (insert_event, [{"id": n, "order_id": n}])] for n in range(100)]
    assert names(merge(units)) == [("order", 100), ("event", 100)]


def test_rows_of_one_statement_keep_their_order() -> None:
    units = [[(insert_cursor, [{"id": n}, {"id": -n}])] for n in range(1, 4)]
    [(_, rows)] = merge(units)
    assert [row["id"] for row in rows] == [1, -1, 2, -2, 3, -3]


def test_a_row_does_not_overtake_another_statement_of_its_table() -> None:
    units = [
        [(insert_order, [{"id": 1, "state": "NEW"}])],
        [(update_order, [{"key": 1, "new": "FILLED"}])],
        [(insert_order, [{"id": 2, "state": "NEW"}])],
    ]
    assert names(merge(units)) == [("order", 1), ("update", 1), ("order", 1)]


def test_a_child_does_not_come_before_its_parent() -> None:
    units = [
        [(insert_event, [{"id": 1, "order_id": 7}])],
        [(insert_order, [{"id": 2}]), (insert_event, [{"id": 2, "order_id": 2}])],
    ]
    assert names(merge(units)) == [("event", 1), ("order", 1), ("event", 1)]


def test_nothing_overtakes_a_delete() -> None:
    units = [[(insert_cursor, [{"id": 1}])], [(delete_order, [{"key": 1}])], [(insert_cursor, [{"id": 2}])]]
    assert len(merge(units)) == 3


def test_rows_with_other_columns_are_another_executemany() -> None:
    assert len(merge([[(insert_order, [{"id": 1}])], [(insert_order, [{"id": 2, "state": "NEW"}])]])) == 2


def test_of_rows_that_an_upsert_puts_one_over_the_other_the_last_is_written_with_what_the_first_decides() -> None:
    rows = [{"id": 1, "at": 1, "began": 1}, {"id": 2, "at": 2, "began": 2}, {"id": 1, "at": 3, "began": 3}]
    [(_, written)] = merge([[(put_stage, [row])] for row in rows])
    assert written == [{"id": 1, "at": 3, "began": 1}, {"id": 2, "at": 2, "began": 2}]


@given(st.lists(st.lists(st.sampled_from(["order", "event", "update", "delete", "cursor", "stage"]), max_size=4)))
def test_merged_units_leave_the_database_as_one_by_one(shapes: list[list[str]]) -> None:
    units: list[Unit] = []
    number = 0
    for shape in shapes:
        unit: list[tuple[Statement, list[Mapping[str, Any]]]] = []
        for kind in shape:
            number += 1
            if kind == "order":
                unit.append((insert_order, [{"id": number, "state": "NEW"}]))
            elif kind == "event":
                unit += [(insert_order, [{"id": number}]), (insert_event, [{"id": number, "order_id": number}])]
            elif kind == "update":
                unit.append((update_order, [{"key": number - 1, "new": str(number)}]))
            elif kind == "stage":
                unit.append((put_stage, [{"id": number % 3, "at": number, "began": number}]))
            elif kind == "delete":
                unit.append((delete_order, [{"key": number - 1}]))
            else:
                unit.append((insert_cursor, [{"id": number, "at": 0}]))
        units.append(unit)
    one_by_one = [(statement, rows) for unit in units for statement, rows in unit]
    assert state_after(merge(units)) == state_after(one_by_one)


def state_after(groups: Sequence[tuple[Statement, Sequence[Mapping[str, Any]]]]) -> list[Any]:
    engine = sa.create_engine("sqlite://")
    with engine.connect() as connection:
        connection.exec_driver_sql("PRAGMA foreign_keys=ON")
        metadata.create_all(connection)
        try:
            for statement, rows in groups:
                connection.execute(statement, rows)
        except sa.exc.IntegrityError:
            return ["refused"]
        return [
            connection.execute(sa.select(table).order_by(table.c.id)).fetchall() for table in metadata.sorted_tables
        ]


class Store:
    """Transactions that take a moment, as a flush does."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.broken = False

    async def transaction(self, groups: Sequence[tuple[Statement, list[Mapping[str, Any]]]]) -> None:
        await asyncio.sleep(0.001)
        if self.broken:
            raise OSError("disk full")
        self.sizes.append(sum(len(rows) for _, rows in groups))


async def test_what_queues_during_a_transaction_goes_into_the_next_one() -> None:
    store = Store()
    writer = Writer(store.transaction)
    first = asyncio.create_task(writer.commit([(insert_cursor, [{"id": 0}])]))
    await asyncio.sleep(0.0005)
    await asyncio.gather(*(writer.commit([(insert_cursor, [{"id": n}])]) for n in range(1, 100)))
    await first
    assert store.sizes == [1, 99]


async def test_a_transaction_is_bounded() -> None:
    store = Store()
    writer = Writer(store.transaction)
    rows = [{"id": n} for n in range(1000)]
    await asyncio.gather(*(writer.commit([(insert_cursor, rows)]) for _ in range(10)))
    assert sum(store.sizes) == 10_000
    assert max(store.sizes) <= MAX_ROWS


async def test_callbacks_run_in_commit_order_before_callers_resume_even_if_a_caller_has_gone() -> None:
    writer = Writer(Store().transaction)
    seen: list[str] = []

    async def call(n: int) -> None:
        await writer.commit([(insert_cursor, [{"id": n}])], then=lambda: seen.append(f"published {n}"))
        seen.append(f"answered {n}")

    tasks = [asyncio.create_task(call(n)) for n in range(3)]
    await asyncio.sleep(0.0005)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert seen == ["published 0", "published 1", "published 2", "answered 0", "answered 2"]


async def test_a_loop_that_ends_is_no_failed_commit() -> None:
    store = Store()
    writer = Writer(store.transaction, lambda error: pytest.fail(f"failed by {error!r}"))
    waiting = writer.enqueue([(insert_cursor, [{"id": 1}])])
    await asyncio.sleep(0.0005)
    [running] = [task for task in asyncio.all_tasks() if task.get_name() == "writer"]
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    assert not waiting.done()
    with pytest.raises(RuntimeError, match="has failed"):
        writer.enqueue([])


async def test_drain_returns_when_all_before_is_durable() -> None:
    store = Store()
    writer = Writer(store.transaction)
    writer.enqueue([(insert_cursor, [{"id": 1}])])
    await writer.drain()
    assert store.sizes == [1]
    await writer.drain()


async def test_a_failing_commit_stops_the_writer_for_good() -> None:
    store = Store()
    failures: list[BaseException] = []
    writer = Writer(store.transaction, failures.append)
    await writer.commit([(insert_cursor, [{"id": 1}])])
    store.broken = True
    with pytest.raises(RuntimeError, match="commit failed"):
        await writer.commit([(insert_cursor, [{"id": 2}])], then=lambda: pytest.fail("published what is not stored"))
    assert [str(failure) for failure in failures] == ["disk full"]
    store.broken = False
    with pytest.raises(RuntimeError, match="has failed"):
        await writer.commit([(insert_cursor, [{"id": 3}])])
