"""What a check costs beside few and beside many holdings, with the limits and the shorts that look at all of them.

    python tests/performance/bench_gate.py [--checks N] [--runs N] [--json PATH]

One process, the gate alone. A check is of one of ten symbols that are held, after the price of another has moved, for
more of what is held; what it sets aside is given back. Figures are of CPU time, us each, the median of the runs. The
first check beside so many, which counts them all, is shown apart.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from decimal import Decimal
from pathlib import Path

from services.chassis.garbage import rare_collections
from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderState, OrderType, Side, TimeInForce
from services.domain.risk.gate import Gate
from services.domain.risk.limits import make_limit
from tests.performance.machine import state

HELD = (10, 1_000, 10_000)
KINDS = {"no limits": (False, False), "limits": (True, False), "shorts": (False, True), "both": (True, True)}
PRICE, RICH, TRADED = Decimal(100), Decimal(10) ** 12, 10


def order(number: int, symbol: str, side: Side) -> Order:
    """One unit at what it costs."""
    names = (f"o-{number}", f"c-{number}", "p", symbol, side)
    return Order(*names, OrderType.MARKET, TimeInForce.GTC, Decimal(1))


def holding(count: int, *, limited: bool, short: bool) -> Gate:
    """A gate with one portfolio that has so many positions of a unit, as order events make them."""
    gate, side = Gate(detailed=True), Side.SELL if short else Side.BUY
    gate.open_portfolio("p", RICH)
    gate.set_limit(make_limit("short_sale", Decimal(1)))
    if limited:
        gate.set_limit(make_limit("max_gross_exposure", RICH, "p"))
        gate.set_limit(make_limit("max_leverage", RICH))
        gate.set_limit(make_limit("max_daily_loss", RICH))
    for number in range(count):
        filled = order(number, f"S{number}", side)._replace(state=OrderState.FILLED, cum_quantity=Decimal(1))
        event = OrderEvent(ExecType.TRADE, filled, 0, 1, last_quantity=Decimal(1), last_price=PRICE)
        gate.fold(event, Instrument(f"S{number}"))
        gate.mark(f"S{number}", PRICE)
    return gate


def spent(gate: Gate, first: int, count: int, side: Side) -> float:
    """CPU seconds for ``count`` checks."""
    orders = [order(first + i, f"S{i % TRADED}", side) for i in range(count)]
    instruments = [Instrument(each.symbol) for each in orders]
    began = time.process_time()
    for number, (each, instrument) in enumerate(zip(orders, instruments, strict=True)):
        gate.mark(f"S{7 * number % TRADED}", PRICE + number % 9)
        assert gate.check(each, instrument, PRICE, 0).refusal is None
        gate.drop_unconfirmed([each.order_id])
    return time.process_time() - began


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    arguments.add_argument("--checks", type=int, default=5_000)
    arguments.add_argument("--runs", type=int, default=5)
    arguments.add_argument("--json", type=Path, help="where the figures are written too")
    chosen = arguments.parse_args()
    print(state().line())
    print(f"{'holdings':>10} {'':>10} {'first, ms':>10} {'check, us':>10}")
    rows = []
    with rare_collections():
        for held in HELD:
            for kind, (limited, short) in KINDS.items():
                gate, side = holding(held, limited=limited, short=short), Side.SELL if short else Side.BUY
                first = spent(gate, 10**6, 1, side) * 1e3
                each = [spent(gate, 10**7 * run, chosen.checks, side) for run in range(1, chosen.runs + 1)]
                check = statistics.median(each) / chosen.checks * 1e6
                print(f"{held:>10,} {kind:>10} {first:10.1f} {check:10.1f}")
                rows.append({"held": held, "kind": kind, "first": first, "check": check})
    print(state().line())
    if chosen.json:
        chosen.json.write_text(json.dumps({"rows": rows}, indent=2))


if __name__ == "__main__":
    main()
