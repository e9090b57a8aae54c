"""Statements as SQLite's driver takes them: Core writes their SQL once, and hands nothing on after that."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import sqlite

from services.chassis.storage.writer import Statement

_DIALECT: Final = sqlite.dialect()


class Prepared(NamedTuple):
    """A statement as the driver takes it, and what makes its parameters of a row."""

    sql: str
    values: Callable[[Mapping[str, Any]], Sequence[Any]]


@lru_cache(maxsize=256)
def prepare(statement: Statement, columns: tuple[str, ...]) -> Prepared | None:
    """The SQL of a statement that is given these columns; None where only Core can run it.

    That is where its text depends on the values, or where it makes values by itself.
    """
    compiled: Any = statement.compile(dialect=_DIALECT, column_keys=list(columns))  # type: ignore[attr-defined]
    made = compiled.post_compile_params | compiled.literal_execute_params
    if made or getattr(compiled, "insert_prefetch", ()) or getattr(compiled, "update_prefetch", ()):
        return None
    places = []
    for name in compiled.positiontup:
        bound = compiled.binds[name]
        places.append((name, bound.effective_value, _adapter(bound.type)))
    if all(name in columns and adapt is None for name, _, adapt in places) and len(places) > 1:
        return Prepared(str(compiled), itemgetter(*(name for name, _, _ in places)))

    def values(row: Mapping[str, Any]) -> Sequence[Any]:
        found = ((row.get(name, stated), adapt) for name, stated, adapt in places)
        return [value if adapt is None else adapt(value) for value, adapt in found]

    return Prepared(str(compiled), values)


def padded(values: Sequence[Any]) -> list[Any]:
    """The same, with the last one repeated up to a power of two, so that few statements are made of a query."""
    wanted = 1 << (len(values) - 1).bit_length() if values else 0
    return [*values, *[values[-1]] * (wanted - len(values))] if wanted else []


@lru_cache(maxsize=256)
def prepare_lookup(query: sa.Select[Any], given: tuple[tuple[str, int], ...]) -> Prepared | None:
    """The SQL of a query; None where only Core can run it: where it adapts values on their way in or out.

    Args:
        query: one that is asked again and again.
        given: the names of its parameters, of a list with how many values it has, else with 0.
    """
    stated = query.params({name: [""] * count if count else "" for name, count in given})
    compiled: Any = stated.compile(dialect=_DIALECT, compile_kwargs={"render_postcompile": True})
    adapted = [bound.type for bound in compiled.binds.values() if _adapter(bound.type)]
    if adapted or any(_adapts(column.type) for column in query.selected_columns):
        return None
    listed = {f"{name}_{place + 1}": (name, place) for name, count in given for place in range(count)}
    places = [listed.get(name, (name, None)) for name in compiled.positiontup]

    def values(parameters: Mapping[str, Any]) -> Sequence[Any]:
        return [parameters[name] if place is None else parameters[name][place] for name, place in places]

    return Prepared(str(compiled), values)


def _adapter(kind: sa.types.TypeEngine[Any]) -> Callable[[Any], Any] | None:
    adapter: Callable[[Any], Any] | None = kind.dialect_impl(_DIALECT).bind_processor(_DIALECT)
    return adapter


def _adapts(kind: sa.types.TypeEngine[Any]) -> bool:
    # Bytes come as such from this driver.
    adapted = kind.dialect_impl(_DIALECT).result_processor(_DIALECT, None)
    return adapted is not None and not isinstance(kind, sa.LargeBinary)
