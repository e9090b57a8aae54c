"""What the paper venue costs: quotes through matching, orders submitted and filled, and both beside many others.

    python tests/performance/bench_matching.py [--quotes N] [--orders N] [--runs N] [--peer PYTHON] [--json PATH]

One process, no risk, no storage: the venue alone. Figures are of CPU time, the median of the runs, because the machine
may have other work; beside them stands how long a fixed piece of Python took, by which machines compare. The garbage
collector runs rarely, as it does in the services.

    quotes      a random walk of one symbol past a few resting orders of each kind, taken in grants of 1,000; then with
                an order that comes and is filled every 1,000 quotes
    rounds      a MARKET order is accepted and filled by the next quote; each time the venue's answer is looked at
    flat        rounds, a LIMIT that comes and is canceled, a price replaced, and a quote that sets a new best price for
                every trailing stop, while 10, 1,000, 10,000 and 100,000 orders rest, of all kinds, in 1 and in 100
                books, and as many positions are open
    peer        with an interpreter that has nautilus_trader: what its backtest engine takes for the first three
"""

import argparse
import json
import statistics
import subprocess
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np

from services.chassis.garbage import rare_collections
from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderType, Reservation, Side, TimeInForce
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.venue.matching import Replacement, Venue
from tests.performance.machine import state

SECOND = 1_000_000_000
RICH = Reservation(headroom=Decimal(10) ** 12)
SETTINGS = VenueSettings(volume_share=Decimal("0.10"))


def instruments(count: int) -> dict[str, Instrument]:
    """``count`` that are open around the clock, S0 first."""
    return {f"S{i}": Instrument(f"S{i}", calendar="24/7") for i in range(count)}


def quotes(length: int, step: int = 1) -> Tape:
    """A random walk of S0 around 1,000, a cent or ``step`` of them at a time; every quote has 100,000 on each side."""
    walk = 100_000 + np.cumsum(np.random.default_rng(20261121).integers(-step, step + 1, size=length))
    sizes = np.full(length, 100_000.0)
    values = np.column_stack([walk / 100, (walk + 2) / 100, sizes, sizes, np.zeros(length)])
    return tape_of(values)


def rising(length: int) -> Tape:
    """A cent higher each time: every quote is a new best price."""
    bid = 100_000 + np.arange(length)
    sizes = np.full(length, 100_000.0)
    return tape_of(np.column_stack([bid / 100, (bid + 2) / 100, sizes, sizes, np.zeros(length)]))


def tape_of(values: np.ndarray) -> Tape:
    times = np.arange(1, len(values) + 1, dtype=np.int64) * SECOND
    return merge([Series(Source(Kind.QUOTE, "S0"), times, times, values)])


def order(number: int, side: Side, kind: OrderType, price: Decimal | None = None, symbol: str = "S0") -> Order:
    """Ten units, good till canceled; ``price`` is a LIMIT's limit, a trailing stop's amount, or any other's trigger."""
    return Order(
        f"o-{number}",
        f"c-{number}",
        f"p-{number % 1000}",
        symbol,
        side,
        kind,
        TimeInForce.GTC,
        Decimal(10),
        limit_price=price if kind is OrderType.LIMIT else None,
        stop_price=price if kind in {OrderType.STOP, OrderType.MARKET_IF_TOUCHED} else None,
        trailing_amount=price if kind is OrderType.TRAILING_STOP else None,
        reservation=RICH,
    )


def resting(count: int, symbols: int) -> list[Order]:
    """Orders of all kinds that no quote here reaches, each kind at a thousand prices."""
    buy, sell = Side.BUY, Side.SELL
    kinds = [
        (buy, OrderType.LIMIT, 100),
        (sell, OrderType.LIMIT, 5000),
        (buy, OrderType.STOP, 5000),
        (sell, OrderType.STOP, 100),
        (sell, OrderType.MARKET_IF_TOUCHED, 5000),
        (sell, OrderType.TRAILING_STOP, 900),
    ]
    made = []
    for i in range(count):
        side, kind, base = kinds[i % len(kinds)]
        made.append(order(i, side, kind, base + Decimal(i * 7919 % 1000) / 100, f"S{i // 6 % symbols}"))
    return made


def standing(tape: Tape, count: int, symbols: int) -> tuple[Venue, int]:
    """A venue after the first quotes, with as many resting orders and open positions; its next order's number."""
    venue = Venue(instruments(symbols), SETTINGS)
    venue.prime(tape, 0)
    positions = {(f"p-{i % 1000}", f"S{i // 1000 % symbols}-{i}"): Decimal(1) for i in range(count)}
    venue.restore([], {}, positions)
    for each in resting(count, symbols):
        venue.accept(each, 0, 0)
    venue.advance(tape, 0, 2)
    return venue, count


def quotes_a_second(tape: Tape, every: int) -> float:
    """Quotes through a venue with a few resting orders, and where ``every`` is given an order that comes so often."""
    venue, number = standing(tape, 12, 1)
    position, began = 2, time.process_time()
    while position < len(tape):
        if every:
            when = int(tape.time[position - 1])
            venue.accept(order(number, Side.BUY, OrderType.MARKET)._replace(basis_sequence=position), position, when)
            number += 1
        grant = min(len(tape), position + 1_000)
        while position < grant:
            position, _ = venue.advance(tape, position, grant)
    return (len(tape) - 2) / (time.process_time() - began)


def rounds(tape: Tape, venue: Venue, number: int, count: int) -> float:
    """CPU seconds for ``count`` orders, bought and sold in turn, each filled by the next quote."""
    position = venue.position
    orders = [
        order(number + i, Side.SELL if i % 2 else Side.BUY, OrderType.MARKET)._replace(
            basis_sequence=position + i, basis_time=(position + i) * SECOND
        )
        for i in range(count)
    ]
    began = time.process_time()
    for each in orders:
        venue.accept(each, position, each.basis_time)
        position, events = venue.advance(tape, position, position + 1)
        assert events[0].exec_type is ExecType.TRADE
    return time.process_time() - began


def comings_and_goings(venue: Venue, number: int, count: int) -> float:
    """CPU seconds for ``count`` limits that are accepted and canceled."""
    at, price = venue.position, Decimal("104.99")
    orders = [order(number + i, Side.BUY, OrderType.LIMIT, price) for i in range(count)]
    began = time.process_time()
    for each in orders:
        venue.accept(each, at, at * SECOND)
        venue.cancel(each.order_id, at, at * SECOND)
    return time.process_time() - began


def replacements(venue: Venue, number: int, count: int) -> float:
    """CPU seconds for ``count`` new prices of one limit."""
    at = venue.position
    venue.accept(order(number, Side.BUY, OrderType.LIMIT, Decimal(104)), at, at * SECOND)
    terms = [Replacement(limit_price=Decimal(10_000 + i % 999) / 100) for i in range(count)]
    began = time.process_time()
    for each in terms:
        venue.replace(f"o-{number}", each, at, at * SECOND)
    took = time.process_time() - began
    venue.cancel(f"o-{number}", at, at * SECOND)
    return took


def new_bests(count: int, symbols: int, length: int) -> float:
    """CPU seconds for ``length`` quotes, each a new best price for the book's trailing stops."""
    tape = rising(length + 2)
    venue, _ = standing(tape, count, symbols)
    began = time.process_time()
    reached, events = venue.advance(tape, 2, len(tape))
    assert reached == len(tape)
    assert not events
    return time.process_time() - began


def median(runs: int, measure: Callable[[], float]) -> float:
    """The middle one of as many measurements."""
    return statistics.median(measure() for _ in range(runs))


def flat(tape: Tape, runs: int, count: int) -> list[dict[str, float]]:
    """The same events beside more and more orders and positions, in us of CPU each."""
    print(f"{'resting':>10} {'books':>6} {'round':>8} {'limit':>8} {'replace':>8} {'new best':>9}")
    rows = []
    for waiting in (10, 1_000, 10_000, 100_000):
        for symbols in (1, 100):
            venue, number = standing(tape, waiting, symbols)
            numbers = iter(range(number, 10**9, count))
            spent = {
                "round": median(runs, lambda: rounds(tape, venue, next(numbers), count)),  # noqa: B023
                "limit": median(runs, lambda: comings_and_goings(venue, next(numbers), count)),  # noqa: B023
                "replace": median(runs, lambda: replacements(venue, next(numbers), count)),  # noqa: B023
                "new best": median(runs, lambda: new_bests(waiting, symbols, count)),  # noqa: B023
            }
            figures = {name: each / count * 1e6 for name, each in spent.items()}
            print(f"{waiting:>10,} {symbols:>6} " + " ".join(f"{each:8.1f}" for each in figures.values()))
            rows.append({"resting": waiting, "books": symbols} | figures)
    return rows


def peer(interpreter: str, count: int) -> dict[str, Any]:
    """The same quotes and rounds elsewhere, where that is installed; far fewer rounds, as each takes so long there."""
    script = Path(__file__).parent / "peer_nautilus.py"
    ran = subprocess.run([interpreter, script, str(count), "1000"], check=True, capture_output=True, text=True)
    found = json.loads(ran.stdout.splitlines()[-1])
    each = found["round_us"]
    print(f"nautilus_trader {found['version']}, its whole backtest engine:")
    quiet, busy = found["quotes"], found["busy"]
    print(f"quotes a CPU second   {quiet:,.0f} past 12 resting orders, {busy:,.0f} with an order every 1,000")
    print(f"submit to fill        {1e6 / each:,.0f} a CPU second, {each:.1f} us each")
    return dict(found)


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--quotes", type=int, default=1_000_000)
    arguments.add_argument("--orders", type=int, default=20_000)
    arguments.add_argument("--runs", type=int, default=3)
    arguments.add_argument("--peer", help="an interpreter with nautilus_trader")
    arguments.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = arguments.parse_args()
    print(state().line())
    walk = quotes(chosen.quotes)
    with rare_collections():
        quiet = median(chosen.runs, lambda: quotes_a_second(walk, 0))
        busy = median(chosen.runs, lambda: quotes_a_second(walk, 1_000))
        print(f"quotes a CPU second   {quiet:,.0f} past 12 resting orders, {busy:,.0f} with an order every 1,000")
        spent = median(chosen.runs, lambda: rounds(walk, *standing(walk, 12, 1), chosen.orders))
        each = spent / chosen.orders * 1e6
        print(f"submit to fill        {chosen.orders / spent:,.0f} a CPU second, {each:.1f} us each")
        rows = flat(walk, chosen.runs, min(chosen.orders // 4, chosen.quotes // 50))
    beside = peer(chosen.peer, min(chosen.quotes, 500_000)) if chosen.peer else None
    print(state().line())
    if chosen.json:
        figures = {"quotes_a_second": quiet, "busy_quotes_a_second": busy, "rounds_a_second": 1e6 / each}
        chosen.json.write_text(json.dumps(figures | {"flat": rows, "peer": beside}, indent=2))


if __name__ == "__main__":
    main()
