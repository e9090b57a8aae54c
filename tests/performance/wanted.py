"""What was wanted of each benchmark, beside what it got."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

Found = Mapping[str, Any]

# The disk makes an order durable once, or something is wrong: what is over its own time is ours.
ALONE_P50_MS: Final = 1.2
ALONE_P99_MS: Final = 2.5
# Of the cost beside few: so much more beside many is called flat.
FLAT: Final = 1.25
# Orders a second: what is aimed at, and below which the path is not done.
AIM: Final = 5_000
FLOOR: Final = 3_000


class Row(NamedTuple):
    """A figure. `met` is None where nothing was wanted of it."""

    what: str
    wanted: str
    got: str
    met: bool | None


def at_least(what: str, wanted: float, got: float) -> Row:
    """More is better."""
    return Row(what, f"≥ {wanted:,.0f}", f"{got:,.0f}", got >= wanted)


def at_most(what: str, wanted: float, got: float, unit: str) -> Row:
    """Less is better."""
    return Row(what, f"≤ {wanted:g} {unit}".rstrip(), f"{got:.2f} {unit}".rstrip(), got <= wanted)


def told(what: str, got: str) -> Row:
    """Nothing was wanted."""
    return Row(what, "–", got, None)


def order_path(found: Found) -> Iterable[Row]:
    """Orders through risk, and back when durable."""
    on, disk = found["database"], found["disk"]
    for case in found["cases"]:
        way, many, cpu = case["way"], case["in_flight"], case["cpu"]
        used = f"{case['rate']:,.0f}/s, p50 {case['p50']:.2f} ms, p99 {case['p99']:.2f} ms"
        spent = ", ".join(f"{name} {cpu[name]:,.0f}" for name in ("order", "risk", "portfolio"))
        if way == "enter" and many >= 64:
            what = f"orders/s by a session, {many} in flight, {on}"
            yield Row(what, f"≥ {FLOOR:,}, aim {AIM:,}", f"{case['rate']:,.0f}", case["rate"] >= FLOOR)
        if way == "enter" and many == 1:
            over = {share: case[share] - disk[share] for share in ("p50", "p99")}
            yield at_most(f"one order at a time, p50 over the disk's, {on}", ALONE_P50_MS, over["p50"], "ms")
            yield at_most(f"one order at a time, p99 over the disk's, {on}", ALONE_P99_MS, over["p99"], "ms")
        yield told(f"{way}, {many} in flight, {on}", f"{used}; µs of CPU: {spent}")
    yield told("the disk, 4 KiB durable", f"p50 {disk['p50']:.2f} ms, p99 {disk['p99']:.2f} ms")


def growth(found: Found) -> Iterable[Row]:
    """The same with few and with many orders stored."""
    on, first, last = found["database"], found["found"][0], found["found"][-1]
    few, many = (sum(each["load"]["cpu"].values()) for each in (first, last))
    stored = f"{last['orders']:,} stored, {on}"
    yield at_most(f"CPU of an order with {stored}, of that with {first['orders']:,}", FLAT, many / few, "")
    yield at_most(f"start with {stored}, to the first order", 5, last["start"]["first order"], "s")
    yield told(f"orders/s with {stored}", f"{last['load']['rate']:,.0f}, of {first['load']['rate']:,.0f}")


def matching(found: Found) -> Iterable[Row]:
    """The paper venue alone."""
    yield at_least("quotes/s past a few orders", 600_000, found["quotes_a_second"])
    yield at_least("quotes/s, an order filled every 1,000", 600_000, found["busy_quotes_a_second"])
    yield at_least("submit to fill, /s", 50_000, found["rounds_a_second"])
    few, *_, many = found["flat"]
    for name in ("round", "short", "first short", "limit", "replace", "new best"):
        beside = f"beside {many['resting']:,} orders in {many['books']} books, of beside {few['resting']} in one"
        yield at_most(f"a {name} {beside}", FLAT, many[name] / few[name], "")
    if found["peer"]:
        each = found["peer"]
        rounds = f"{each['quotes']:,.0f} quotes/s, {1e6 / each['round_us']:,.0f} submit to fill/s"
        yield told(f"nautilus_trader {each['version']}", rounds)


def gate(found: Found) -> Iterable[Row]:
    """Risk's checks alone."""
    few, many = found["rows"][0]["held"], found["rows"][-1]["held"]
    checks = {(row["held"], row["kind"]): row["check"] for row in found["rows"]}
    for kind in dict.fromkeys(row["kind"] for row in found["rows"]):
        what = f"a check beside {many:,} holdings, {kind}, of that beside {few}"
        yield at_most(what, FLAT, checks[many, kind] / checks[few, kind], "")
        yield told(f"a check beside {many:,} holdings, {kind}", f"{checks[many, kind]:.0f} µs of CPU")


def backtest(found: Found) -> Iterable[Row]:
    """A strategy over bars, in one process."""
    yield at_least("bars/s of a backtest", 300_000, found["bars_a_second"])


def cycle(found: Found) -> Iterable[Row]:
    """A replay through the mesh."""
    yield at_least("cycles/s of a replay", 300, found["cycles_a_second"])
    spent = ", ".join(f"{name} {each:.2f}" for name, each in found["cpu_ms"].items())
    yield told("a cycle's CPU", f"{sum(found['cpu_ms'].values()):.2f} ms: {spent}")


def ticks(found: Found) -> Iterable[Row]:
    """Market data to subscribers."""
    for run in found["runs"]:
        pace = f"{run['rate']:,}/s" if run["rate"] else "as fast as it goes"
        what = f"ticks/s to {run['subscribers']} subscribers, {pace}"
        if run["subscribers"] >= 50 and not run["rate"]:
            yield at_least(what, 1_000_000, run["delivered"])
        else:
            yield told(what, f"{run['delivered']:,.0f}, p99 {run['p99']:.1f} ms old")


def reactions(found: Found) -> Iterable[Row]:
    """From what happens on the tape to what is done about it."""
    for name, row in found["rows"].items():
        yield told(name, f"p50 {row['p50']:.2f} ms, p99 {row['p99']:.2f} ms")


WANTED: Final[Mapping[str, Callable[[Found], Iterable[Row]]]] = {
    each.__name__: each for each in (order_path, growth, matching, gate, backtest, cycle, ticks, reactions)
}
"""By the name of the script, `bench_<name>.py`."""
