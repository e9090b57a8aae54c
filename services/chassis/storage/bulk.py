"""Many rows of several tables in one statement of PostgreSQL's, which is a transaction of its own.

A transaction of four executemany took seven trips to the server, and had it run every row by itself.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.dialects.postgresql import asyncpg

from services.chassis.storage.writer import Groups, Statement

DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]


class Bulk(NamedTuple):
    """A statement as the driver takes it, and of each of its parts what makes a row's values of it."""

    sql: str
    parts: Sequence[Callable[[Mapping[str, Any]], Sequence[Any]]]

    def arguments(self, groups: Groups) -> list[Sequence[Any]]:
        """The columns of all rows, one after the other."""
        return [
            column
            for values, (_, rows) in zip(self.parts, groups, strict=True)
            for column in zip(*map(values, rows), strict=True)
        ]


def bulk(groups: Groups) -> Bulk | None:
    """The one statement for rows of several tables; None where it takes more than one.

    That is where something else is done than to insert, or where two parts write one table: they could not see each
    other.
    """
    return _bulk(tuple((statement, tuple(rows[0])) for statement, rows in groups))


@lru_cache(maxsize=256)
def _bulk(parts: tuple[tuple[Statement, tuple[str, ...]], ...]) -> Bulk | None:
    statements = [statement for statement, _ in parts]
    if not all(isinstance(statement, sa.Insert) for statement in statements):
        return None
    if len({statement.table for statement in statements}) < len(parts):  # type: ignore[attr-defined]
        return None
    *others, last = (_of_arrays(*part, place) for place, part in enumerate(parts))
    whole = last.add_cte(*(each.cte(f"part_{place}") for place, each in enumerate(others)))
    return Bulk(str(whole.compile(dialect=DIALECT)), [_values(names) for _, names in parts])


def _of_arrays(statement: Any, names: tuple[str, ...], place: int) -> Any:
    """An insert of rows that come as an array a column."""
    columns = statement.table.c
    arrays = [sa.bindparam(f"{name}_{place}", type_=postgresql.ARRAY(columns[name].type)) for name in names]
    rows = sa.func.unnest(*arrays).table_valued(*names).render_derived()
    return statement.from_select(names, sa.select(*(rows.c[name] for name in names)))


def _values(names: tuple[str, ...]) -> Callable[[Mapping[str, Any]], Sequence[Any]]:
    return itemgetter(*names) if len(names) > 1 else lambda row: (row[names[0]],)
