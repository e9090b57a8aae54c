"""What benchmarks say is set beside what was wanted of them."""

from typing import Any

import pytest

from tests.performance.__main__ import RUNS, Ran, document, perform
from tests.performance.machine import State
from tests.performance.wanted import WANTED, Row

NOW = State(1.5, 2, 50.0, 90.0, "3.11.7", "x86_64")


def case(way: str, in_flight: int, rate: float, p50: float, p99: float) -> dict[str, Any]:
    cpu = {"order": 100.0, "risk": 50.0, "portfolio": 10.0, "marketdata": 0.0}
    return {"way": way, "in_flight": in_flight, "rate": rate, "p50": p50, "p99": p99, "cpu": cpu}


def marks(rows: Any) -> dict[str, bool]:
    return {row.what: row.met for row in rows if row.met is not None}


def test_what_one_order_takes_is_counted_over_the_disks_own_time() -> None:
    found = {
        "database": "sqlite",
        "disk": {"p50": 1.0, "p99": 3.0},
        "cases": [
            case("enter", 1, 400, 2.1, 5.6),
            case("enter", 64, 5_100, 12, 20),
            case("create", 1, 1, 9, 9),
            case("create", 64, 600, 99, 99),
        ],
    }
    calls = [row.wanted for row in WANTED["order_path"](found) if row.what.startswith("create")]
    assert calls == ["–", "–"]
    assert marks(WANTED["order_path"](found)) == {
        "one order at a time, p50 over the disk's, sqlite": True,
        "one order at a time, p99 over the disk's, sqlite": False,
        "orders/s by a session, 64 in flight, sqlite": True,
    }


@pytest.mark.parametrize(("cost", "start", "met"), [(110.0, 4.9, (True, True)), (140.0, 5.1, (False, False))])
def test_growth_is_judged_by_the_cost_beside_few_and_by_the_start(
    cost: float, start: float, met: tuple[bool, bool]
) -> None:
    load = case("enter", 64, 3_000, 20, 30)
    grown = load | {"cpu": {name: each * cost / 100 for name, each in load["cpu"].items()}}
    found = {
        "database": "postgresql",
        "found": [
            {"orders": 1_000, "start": {"first order": 1.0}, "load": load},
            {"orders": 1_000_000, "start": {"first order": start}, "load": grown},
        ],
    }
    assert tuple(marks(WANTED["growth"](found)).values()) == met


def test_every_script_is_run_and_judged() -> None:
    assert {run.name for run in RUNS} == set(WANTED)


def test_the_table_tells_what_was_missed_and_what_failed() -> None:
    rows = [
        Row("quotes/s", "≥ 600,000", "500,000", False),
        Row("bars/s", "≥ 1", "2", True),
        Row("disk", "–", "1", None),
    ]
    told = document([Ran(RUNS[0], NOW, NOW, rows), Ran(RUNS[4], NOW, NOW, [])])
    assert "| quotes/s | ≥ 600,000 | 500,000 | **missed** |" in told
    assert "| bars/s | ≥ 1 | 2 | met |" in told
    assert "| disk | – | 1 |  |" in told
    assert "| order_path --database=postgresql --ways=enter | runs | failed | **missed** |" in told
    assert "| matching | 1.5, 1.5 | 50, 50 | 90, 90 |" in told


def test_a_check_beside_many_holdings_is_judged_by_that_beside_few() -> None:
    costs = [(10, "limits", 100.0), (10, "both", 100.0), (10_000, "limits", 124.0), (10_000, "both", 126.0)]
    found = {"rows": [{"held": held, "kind": kind, "check": check} for held, kind, check in costs]}
    assert marks(WANTED["gate"](found)) == {
        "a check beside 10,000 holdings, limits, of that beside 10": True,
        "a check beside 10,000 holdings, both, of that beside 10": False,
    }


def test_a_script_is_run_and_its_figures_are_read(tmp_path: Any) -> None:
    [backtest] = [run for run in RUNS if run.name == "backtest"]
    ran = perform(backtest, ["--bars=5000", "--runs=1"], tmp_path)
    assert [row.what for row in ran.rows] == ["bars/s of a backtest"]
    assert ran.before.loop_ns > 0
    assert perform(backtest, ["--bars=none"], tmp_path).rows == []
