"""Stored orders and events to list, and what each list of them must hold."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from services.chassis.storage.database import Database
from services.domain.orders.order import ExecType
from services.order.listing import Listing, Place, Wanted
from services.order.records import PageRow
from services.order.tables import EVENTS, ORDERS

ENVIRONMENTS, PORTFOLIOS, SYMBOLS = ("e", "f"), ("p", "q"), ("AAPL", "IBM", "MSFT")
ORDERS_EACH = 400
FIRST, LAST = 1_000, 1_040


class Stored(NamedTuple):
    """Rows as they were written, of the `orders` and of the `order_events`."""

    orders: list[dict[str, Any]]
    events: list[dict[str, Any]]


async def fill(database: Database) -> Stored:
    """Two environments of two portfolios each; every order has a first event, and most have a fill.

    Times go back now and then, as those of fills at a bar's open do.
    """
    chance, stored = random.Random(7), Stored([], [])
    for environment_id in ENVIRONMENTS:
        sequence, whose = 0, {"environment_id": environment_id, "principal": "a", "owner": "a"}
        for number in range(1, ORDERS_EACH + 1):
            about = {
                "number": number,
                "portfolio_id": environment_id + chance.choice(PORTFOLIOS),
                "symbol": chance.choice(SYMBOLS),
            }
            filled = chance.random() < 0.7
            first = sequence + 1
            for exec_type in [ExecType.NEW, ExecType.TRADE][: 1 + filled]:
                sequence += 1
                time = FIRST + number // 10 - chance.randrange(3)
                said = {"exec_type": exec_type.value, "transact_time": time, "payload": f"{sequence}".encode()}
                stored.events.append({**whose, **about, **said, "sequence": sequence})
            begun = stored.events[-1 - filled]["transact_time"]
            rest = {"open": int(not filled), "asked": "", "client_key": f"{environment_id}:{number}"}
            at = {"first_sequence": first, "transact_time": begun, "last_event_sequence": sequence}
            stored.orders.append({**whose, **about, **rest, **at})
    await database.writer.commit([(sa.insert(ORDERS), stored.orders), (sa.insert(EVENTS), stored.events)])
    return stored


def explained(database: Database) -> list[str]:
    """The plan of every query that is made from here on, a text each."""
    plans: list[str] = []
    postgres = database.dialect == "postgresql"
    dialect = postgresql.dialect() if postgres else sqlite.dialect()  # type: ignore[no-untyped-call]

    def explaining(ask: Callable[..., Any]) -> Callable[..., Any]:
        async def explain(query: sa.Select[Any], parameters: dict[str, Any] | None = None) -> Any:
            compiled = query.params(parameters or {}).compile(dialect=dialect, compile_kwargs={"literal_binds": True})

            def plan_of(connection: sa.Connection) -> Any:
                if not postgres:
                    return connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {compiled}").fetchall()
                # So few rows are scanned and sorted sooner than found: whether they need be is the question.
                for way in ("seqscan", "sort", "incremental_sort"):
                    connection.exec_driver_sql(f"SET LOCAL enable_{way} = off")
                return connection.exec_driver_sql(f"EXPLAIN {compiled}").fetchall()

            plan = await database.read(plan_of)
            plans.append("\n".join(row[-1] for row in plan))
            return await ask(query, parameters)

        return explain

    for name in ("fetch_all", "lookup"):
        setattr(database, name, explaining(getattr(database, name)))
    return plans


async def check_lists(database: Database, stored: Stored) -> None:
    """Reads every list there can be, page by page, and compares it with what fits."""
    listing = Listing(database)
    for wanted, flag in itertools.product(_all_wanted(), (False, True)):
        if wanted.number is None:
            rows = _fitting(stored.orders, wanted, "first_sequence", lambda row, flag=flag: not flag or row["open"])
            told = await _pages(
                lambda beyond, limit, wanted=wanted, flag=flag: listing.orders(
                    wanted, open_only=flag, beyond=beyond, limit=limit
                )
            )
            assert [(row.environment_id, row.time, row.sequence) for row in told] == rows[::-1]
        rows = _fitting(stored.events, wanted, "sequence", lambda row, flag=flag: not flag or row["exec_type"] == 4)
        told = await _pages(
            lambda beyond, limit, wanted=wanted, flag=flag: listing.events(
                wanted, fills_only=flag, beyond=beyond, limit=limit
            )
        )
        assert [(row.environment_id, row.time, row.sequence) for row in told] == rows
        assert all(row.payload == f"{row.sequence}".encode() for row in told)


def _all_wanted() -> list[Wanted]:
    times: list[dict[str, Any]] = [
        {},
        {"start": FIRST + 13},
        {"end": FIRST + 13},
        {"start": FIRST + 13, "end": FIRST + 17},
        {"after": 300},
    ]
    whose: list[dict[str, Any]] = [
        {"environment_id": "e"},
        {"environment_id": "e", "symbol": "IBM"},
        {"environment_id": "e", "portfolio_id": "ep"},
        {"environment_id": "e", "portfolio_id": "ep", "symbol": "IBM"},
        {"environment_id": "e", "number": 200},
        {"environment_id": "e", "number": 200, "portfolio_id": "ep", "symbol": "IBM"},
    ]
    by_portfolio: list[dict[str, Any]] = [{"portfolio_id": "ep"}, {"portfolio_id": "ep", "symbol": "IBM"}]
    pairs = [*itertools.product(whose, times), *((each, time) for each in by_portfolio for time in ({}, times[-1]))]
    # Where a portfolio's own index is read, its environment is not asked for.
    made = [Wanted(**who, **when) for who, when in pairs]
    return [each for each in made if each.by_time or each.number or not (each.environment_id and each.portfolio_id)]


def _fitting(
    rows: Sequence[dict[str, Any]], wanted: Wanted, sequence: str, also: Callable[[dict[str, Any]], Any]
) -> list[tuple[str, int, int]]:
    named = {name: getattr(wanted, name) for name in ("environment_id", "portfolio_id", "symbol", "number")}
    found = [
        (row["environment_id"], row["transact_time"], row[sequence])
        for row in rows
        if all(not value or row[name] == value for name, value in named.items())
        and (wanted.start is None or row["transact_time"] >= wanted.start)
        and (wanted.end is None or row["transact_time"] < wanted.end)
        and row[sequence] > wanted.after
        and also(row)
    ]
    return sorted(found, key=lambda each: each[1:] if wanted.by_time else each[2:])


async def _pages(read: Callable[[Place | None, int], Any], size: int = 37) -> list[PageRow]:
    told: list[PageRow] = []
    beyond = None
    while page := await read(beyond, size):
        told += page
        beyond = Place(page[-1].time, page[-1].sequence)
    return told
