"""Statements as drivers take them: Core writes their SQL once, and hands nothing on after that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import Dialect

from services.chassis.storage.writer import Statement

SQLITE: Final = sqlite.dialect()


class Prepared(NamedTuple):
    """A statement as the driver takes it, and what makes its parameters of a row."""

    sql: str
    values: Callable[[Mapping[str, Any]], Sequence[Any]]


@lru_cache(maxsize=256)
def prepare(statement: Statement, columns: tuple[str, ...]) -> Prepared | None:
    """SQLite's SQL of a statement that is given these columns; None where only Core can run it.

    That is where its text depends on the values, or where it makes values by itself.
    """
    compiled: Any = statement.compile(dialect=SQLITE, column_keys=list(columns))  # type: ignore[attr-defined]
    made = compiled.post_compile_params | compiled.literal_execute_params
    if made or getattr(compiled, "insert_prefetch", ()) or getattr(compiled, "update_prefetch", ()):
        return None
    places = []
    for name in compiled.positiontup:
        bound = compiled.binds[name]
        places.append((name, bound.effective_value, _adapter(bound.type, SQLITE)))
    if all(name in columns and adapt is None for name, _, adapt in places) and len(places) > 1:
        return Prepared(str(compiled), itemgetter(*(name for name, _, _ in places)))

    def values(row: Mapping[str, Any]) -> Sequence[Any]:
        found = ((row.get(name, stated), adapt) for name, stated, adapt in places)
        return [value if adapt is None else adapt(value) for value, adapt in found]

    return Prepared(str(compiled), values)


def ready_lookup(
    query: sa.Select[Any], parameters: Mapping[str, Any], dialect: Dialect
) -> tuple[str, Sequence[Any]] | None:
    """A query's SQL and the values of its parameters; None where only Core can run it."""
    given = {name: padded(value) if isinstance(value, list) else value for name, value in parameters.items()}
    # An empty list finds nothing, and has no SQL that would say so.
    if [] in given.values():
        return None
    shape = tuple((name, len(value) if isinstance(value, list) else 0) for name, value in given.items())
    prepared = prepare_lookup(query, shape, dialect)
    return None if prepared is None else (prepared.sql, prepared.values(given))


def padded(values: Sequence[Any]) -> list[Any]:
    """The same, with the last one repeated up to a power of two, so that few statements are made of a query."""
    wanted = 1 << (len(values) - 1).bit_length() if values else 0
    return [*values, *[values[-1]] * (wanted - len(values))] if wanted else []


@lru_cache(maxsize=256)
def prepare_lookup(query: sa.Select[Any], given: tuple[tuple[str, int], ...], dialect: Dialect) -> Prepared | None:
    """The SQL of a query; None where only Core can run it: where it adapts values on their way in or out.

    Args:
        query: one that is asked again and again.
        given: the names of its parameters, of a list with how many values it has, else with 0.
    """
    stated = query.params({name: [""] * count if count else "" for name, count in given})
    compiled: Any = stated.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})
    adapted = [bound.type for bound in compiled.binds.values() if _adapter(bound.type, dialect)]
    if adapted or any(_adapts(column.type, dialect) for column in query.selected_columns):
        return None
    listed = {f"{name}_{place + 1}": (name, place) for name, count in given for place in range(count)}
    places = [listed.get(name, (name, None)) for name in compiled.positiontup]

    def values(parameters: Mapping[str, Any]) -> Sequence[Any]:
        return [parameters[name] if place is None else parameters[name][place] for name, place in places]

    return Prepared(str(compiled), values)


def _adapter(kind: sa.types.TypeEngine[Any], dialect: Dialect) -> Callable[[Any], Any] | None:
    adapter: Callable[[Any], Any] | None = kind.dialect_impl(dialect).bind_processor(dialect)
    return adapter


def _adapts(kind: sa.types.TypeEngine[Any], dialect: Dialect) -> bool:
    # A decorator is there to adapt, and what is beneath it may ask for what only the row's description tells.
    if isinstance(kind, sa.types.TypeDecorator):
        return True
    # Bytes come as such from these drivers.
    adapted = kind.dialect_impl(dialect).result_processor(dialect, None)
    return adapted is not None and not isinstance(kind, sa.LargeBinary)
