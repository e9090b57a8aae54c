"""What the paper venue costs: quotes through matching, orders submitted and filled, and both beside many others.

    python tests/performance/bench_matching.py [--quotes N] [--orders N] [--runs N] [--peer PYTHON] [--json PATH]

One process, no risk, no storage: the venue alone. Figures are of CPU time, the median of the runs, because the machine
may have other work; beside them stands how long a fixed piece of Python took, by which machines compare. The garbage
collector runs rarely, as it does in the services.

    quotes      a random walk of one symbol past a few resting orders of each kind, taken in grants of 1,000; then with
                an order that comes and is filled every 1,000 quotes
    rounds      a MARKET order is accepted and filled by the next quote; each time the venue's answer is looked at.
                Portfolios that are long buy and sell in turn; portfolios that are short sell and cover in turn; those
                that hold nothing sell short for the first time
    flat        rounds of each sort, a LIMIT that comes and is canceled, a price replaced, and a quote that sets a new
                best price for every trailing stop, while 10, 1,000, 10,000 and 100,000 orders rest, of all kinds, in 1
                and in 100 books. As many positions are open, half of them short: each order rests beside one of its
                portfolio and symbol, and the orders that come are of these portfolios, in one of these books
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
from typing import Any, NamedTuple

import numpy as np

from services.chassis.garbage import rare_collections
from services.domain.filling import VenueSettings
from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderType, Reservation, Side, TimeInForce
from services.domain.tape import Kind, Series, Source, Tape, merge
from services.domain.venue.matching import Replacement, Venue
from tests.performance.machine import state

SECOND = 1_000_000_000
RICH, TEN = Decimal(10) ** 12, Decimal(10)
# What risk sets aside for ten units: the cost of a buy, nothing but the units of a sale that closes, a short's margin.
BUYS = Reservation(Decimal(60_000), TEN, RICH)
CLOSES = Reservation(Decimal(0), -TEN, RICH)
SHORTS = Reservation(Decimal(30_000), -TEN, RICH, margin=Decimal("0.5"))
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


class Stand(NamedTuple):
    """A venue where many orders rest, and the portfolios that are long and short of S0 there."""

    venue: Venue
    longs: list[str]
    shorts: list[str]


def order(
    number: int, whose: str, side: Side, reserved: Reservation, kind: OrderType = OrderType.MARKET, symbol: str = "S0"
) -> Order:
    """Ten units, good till canceled."""
    return Order(f"o-{number}", f"c-{number}", whose, symbol, side, kind, TimeInForce.GTC, TEN, reservation=reserved)


def holder(number: int, symbols: int) -> tuple[str, str, bool]:
    """The portfolio and symbol of a standing order and its position, and whether that is long; six of each in turn."""
    block, place = divmod(number, 6 * symbols)
    whose = block * 6 + place % 6
    return f"p-{whose}", f"S{place // 6}", (block + whose) % 2 == 0


def resting(count: int, symbols: int) -> list[Order]:
    """Orders of all kinds that no quote here reaches, each kind at a thousand prices."""
    buy, sell = Side.BUY, Side.SELL
    kinds = [
        (buy, OrderType.LIMIT, 100, "limit_price"),
        (sell, OrderType.LIMIT, 5000, "limit_price"),
        (buy, OrderType.STOP, 5000, "stop_price"),
        (sell, OrderType.STOP, 100, "stop_price"),
        (sell, OrderType.MARKET_IF_TOUCHED, 5000, "stop_price"),
        (sell, OrderType.TRAILING_STOP, 900, "trailing_amount"),
    ]
    made = []
    for i in range(count):
        side, kind, base, field = kinds[i % len(kinds)]
        whose, symbol, long = holder(i, symbols)
        reserved = BUYS if side is buy else CLOSES if long else SHORTS
        price = base + Decimal(i * 7919 % 1000) / 100
        made.append(order(i, whose, side, reserved, kind, symbol)._replace(**{field: price}))  # type: ignore[arg-type]
    return made


def standing(tape: Tape, count: int, symbols: int) -> Stand:
    """After the first quotes, with as many resting orders and open positions; the next order's number is ``count``."""
    venue, holders = Venue(instruments(symbols), SETTINGS), [holder(i, symbols) for i in range(count)]
    venue.prime(tape, 0)
    positions = {(whose, symbol): TEN if long else -TEN for whose, symbol, long in holders}
    collateral = {each: Decimal(15_000) for each, units in positions.items() if units < 0}
    venue.restore([], {}, positions, collateral)
    for each in resting(count, symbols):
        venue.accept(each, 0, 0)
    venue.advance(tape, 0, 2)
    of_first = [(whose, long) for whose, symbol, long in holders if symbol == "S0"]
    return Stand(venue, [whose for whose, long in of_first if long], [whose for whose, long in of_first if not long])


def trades(stand: Stand, number: int, count: int) -> list[Order]:
    """Bought and sold in turn by portfolios that are long, and stay so."""
    sides, longs = ((Side.BUY, BUYS), (Side.SELL, CLOSES)), stand.longs
    return [order(number + i, longs[i // 2 % len(longs)], *sides[i % 2]) for i in range(count)]


def shorts(stand: Stand, number: int, count: int) -> list[Order]:
    """Sold and covered in turn by portfolios that are short, and stay so."""
    sides, whose = ((Side.SELL, SHORTS), (Side.BUY, BUYS)), stand.shorts
    return [order(number + i, whose[i // 2 % len(whose)], *sides[i % 2]) for i in range(count)]


def first_shorts(_: Stand, number: int, count: int) -> list[Order]:
    """Sold short, each by a portfolio that holds nothing."""
    return [order(number + i, f"new-{number + i}", Side.SELL, SHORTS) for i in range(count)]


def quotes_a_second(tape: Tape, every: int) -> float:
    """Quotes through a venue with a few resting orders, and where ``every`` is given an order that comes so often."""
    stand = standing(tape, 12, 1)
    venue, position, coming = stand.venue, 2, iter(trades(stand, 12, len(tape) // 1_000 + 1))
    began = time.process_time()
    while position < len(tape):
        if every:
            venue.accept(next(coming)._replace(basis_sequence=position), position, int(tape.time[position - 1]))
        grant = min(len(tape), position + 1_000)
        while position < grant:
            position, _ = venue.advance(tape, position, grant)
    return (len(tape) - 2) / (time.process_time() - began)


def rounds(tape: Tape, venue: Venue, asked: list[Order]) -> float:
    """CPU seconds for these orders, each filled by the next quote."""
    position = venue.position
    orders = [
        each._replace(basis_sequence=position + i, basis_time=(position + i) * SECOND) for i, each in enumerate(asked)
    ]
    began = time.process_time()
    for each in orders:
        venue.accept(each, position, each.basis_time)
        position, events = venue.advance(tape, position, position + 1)
        assert events[0].exec_type is ExecType.TRADE
    return time.process_time() - began


def alone(tape: Tape, count: int) -> float:
    """The same of portfolios that are long, beside few orders."""
    stand = standing(tape, 12, 1)
    return rounds(tape, stand.venue, trades(stand, 12, count))


def limit(stand: Stand, number: int, turn: int, price: str) -> Order:
    """One that rests, of the portfolios that are long and short in turn."""
    whose = (stand.longs, stand.shorts)[turn % 2]
    made = order(number, whose[turn // 2 % len(whose)], Side.BUY, BUYS, OrderType.LIMIT)
    return made._replace(limit_price=Decimal(price))


def comings_and_goings(stand: Stand, number: int, count: int) -> float:
    """CPU seconds for ``count`` limits that are accepted and canceled."""
    venue, at = stand.venue, stand.venue.position
    orders = [limit(stand, number + i, i, "104.99") for i in range(count)]
    began = time.process_time()
    for each in orders:
        venue.accept(each, at, at * SECOND)
        venue.cancel(each.order_id, at, at * SECOND)
    return time.process_time() - began


def replacements(stand: Stand, number: int, count: int) -> float:
    """CPU seconds for ``count`` new prices of limits that a long and a short portfolio have."""
    venue, at = stand.venue, stand.venue.position
    kept = [limit(stand, number + turn, turn, "104") for turn in range(2)]
    for each in kept:
        venue.accept(each, at, at * SECOND)
    terms = [Replacement(limit_price=Decimal(10_000 + i % 999) / 100) for i in range(count)]
    began = time.process_time()
    for i, new in enumerate(terms):
        venue.replace(kept[i % 2].order_id, new, at, at * SECOND)
    took = time.process_time() - began
    venue.cancel_all([each.order_id for each in kept], at, at * SECOND)
    return took


def new_bests(count: int, symbols: int, length: int) -> float:
    """CPU seconds for ``length`` quotes, each a new best price for the book's trailing stops."""
    tape = rising(length + 2)
    venue = standing(tape, count, symbols).venue
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
    rows: list[dict[str, float]] = []
    for waiting in (10, 1_000, 10_000, 100_000):
        for symbols in (1, 100):
            stand = standing(tape, waiting, symbols)
            numbers = iter(range(waiting, 10**9, count))
            measures: dict[str, Callable[[], float]] = {
                "round": lambda: rounds(tape, stand.venue, trades(stand, next(numbers), count)),  # noqa: B023
                "short": lambda: rounds(tape, stand.venue, shorts(stand, next(numbers), count)),  # noqa: B023
                "first short": lambda: rounds(tape, stand.venue, first_shorts(stand, next(numbers), count)),  # noqa: B023
                "limit": lambda: comings_and_goings(stand, next(numbers), count),  # noqa: B023
                "replace": lambda: replacements(stand, next(numbers), count),  # noqa: B023
                "new best": lambda: new_bests(waiting, symbols, count),  # noqa: B023
            }
            if not rows:
                print(f"{'resting':>10} {'books':>6} " + " ".join(f"{name:>11}" for name in measures))
            figures = {name: median(runs, measure) / count * 1e6 for name, measure in measures.items()}
            print(f"{waiting:>10,} {symbols:>6} " + " ".join(f"{each:11.1f}" for each in figures.values()))
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
        spent = median(chosen.runs, lambda: alone(walk, chosen.orders))
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
