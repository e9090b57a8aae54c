"""Makes a log of what the services store for ever: order events of every kind, ledger entries, signals.

    python -m tests.data.make_log

A log is made once, when its form is new, and never again: it stands for what people have in their databases.
"""

from __future__ import annotations

import base64
import json
from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.deployment.context import Context
from services.domain.market import Bar
from services.domain.orders.order import OrderType, Side, TimeInForce
from services.domain.orders.replacing import Replacement, replaced
from services.domain.strategy import Strategy
from services.domain.tape import Tape, merge
from services.domain.venue.matching import VenueSettings
from services.order.mapping import encode_event
from services.order.ticket import Provenance
from services.portfolio.mapping import entry_bytes
from services.portfolio.records import Posted
from services.strategy.mapping import encode_signal, number_signal
from services.strategy.records import Deployment
from services.wire import versions
from tests.unit.domain.markets import DAY, clock, daily, instrument, splits, walk

DAYS, SPLIT_DAY, REPLACING_DAY = 24, 14, 12
INSTRUMENTS = {"A": instrument("A")}
WALL_TIME = 1_795_000_000_000_000_000
ENVIRONMENT, PORTFOLIO = "replay-1", "trend"
FOLDER = Path(__file__).parent


def tape() -> Tape:
    """The market of the logs."""
    return merge([daily("A", walk(7, DAYS)), clock(DAYS), splits("A", {SPLIT_DAY: (3.0, 2.0)})])


class Everything(Strategy):
    """Lets happen to its orders whatever can."""

    kind = "everything"
    day = 0
    resting = ""

    def on_bar(self, context: Context, bar: Bar) -> None:
        """Each day another thing."""
        self.day += 1
        low, high = Decimal(10), Decimal(str(bar.close)) + 1
        match self.day:
            case 2:
                signal = context.signal("A", Side.BUY, strength=0.5, values={"close": bar.close})
                context.buy("A", Decimal(40), time_in_force=TimeInForce.DAY, signal=signal, label="first")
            case 3:
                context.buy("A", Decimal(6), order_type=OrderType.STOP_LIMIT, stop_price=high - 1, limit_price=high)
                context.buy("A", Decimal(7), order_type=OrderType.LIMIT, limit_price=high, post_only=True)
            case 4:
                context.buy("A", Decimal(10), order_type=OrderType.STOP, stop_price=high)
                context.buy("A", cash_quantity=Decimal(500))
            case 5:
                self.resting = context.buy("A", Decimal(20), order_type=OrderType.LIMIT, limit_price=low)
                context.buy("A", Decimal(5), order_type=OrderType.LIMIT, limit_price=low, time_in_force=TimeInForce.DAY)
            case 6:
                until = {"time_in_force": TimeInForce.GTD, "expire_time": context.now + 3 * DAY}
                context.buy("A", Decimal(4), order_type=OrderType.LIMIT, limit_price=low, **until)
                context.buy("A", Decimal(8), time_in_force=TimeInForce.OPG)
                context.sell("A", Decimal(3), time_in_force=TimeInForce.CLS)
            case 7:
                context.buy("A", Decimal(100_000))
            case 8:
                context.sell("A", Decimal(5), order_type=OrderType.TRAILING_STOP, trailing_amount=Decimal("0.5"))
                context.buy("A", Decimal(2), order_type=OrderType.TRAILING_STOP, trailing_percent=Decimal("2.5"))
            case 9:
                context.buy("A", Decimal(9), order_type=OrderType.MARKET_IF_TOUCHED, stop_price=high - 2)
                terms = {"stop_price": high, "limit_price": high}
                context.sell("A", Decimal(6), order_type=OrderType.LIMIT_IF_TOUCHED, **terms)
            case 10:
                context.sell("A", Decimal(15), signal=context.signal("A", Side.SELL))
            case 15:
                above = high + 1
                context.sell(
                    "A", Decimal(6), order_type=OrderType.LIMIT, limit_price=above, display_quantity=Decimal(2)
                )
                context.buy("A", Decimal(5), time_in_force=TimeInForce.FOK)
            case 16:
                context.sell("A", Decimal(9_000), order_type=OrderType.STOP, stop_price=high, reduce_only=True)
            case 18:
                context.cancel(self.resting)
            case 20:
                context.buy("A", Decimal(20), order_type=OrderType.LIMIT, limit_price=low)
            case 21:
                context.buy("A", Decimal(3))


def simulated() -> Result:
    """What happens in it."""
    portfolios = [PortfolioPlan(PORTFOLIO, "Trend", Decimal(20_000))]
    plans = [DeploymentPlan(1, "everything-1", "everything", Everything(None, ["A"]), PORTFOLIO)]
    settings = VenueSettings(volume_share=Decimal("0.1"))
    simulation = Simulation(tape(), INSTRUMENTS, portfolios, plans, venue_settings=settings, environment_id=ENVIRONMENT)
    while not simulation.done:
        simulation.cycle()
        if simulation.runners[0].strategy.day == REPLACING_DAY:
            replace(simulation)
    return simulation.run()


def replace(simulation: Simulation) -> None:
    """Puts the order that rests on new terms, as its owner does who is no strategy."""
    venue, position = simulation.venue, simulation.position
    resting = next((each for each in venue.open_orders() if each.quantity == 20), None)
    if resting is None:
        return
    at, terms = simulation.timeline.time(position), Replacement(Decimal(25), Decimal(11))
    after = replaced(resting, terms)
    verdict = simulation.gate.check_replacement(after, INSTRUMENTS["A"], Decimal(100), at)
    events = venue.replace(resting.order_id, terms, position, at, verdict.reservation)
    simulation._fold(events)


def order_events(result: Result) -> Iterator[bytes]:
    """As the order service stores them."""
    for sequence, event in enumerate(result.events, 1):
        key = f"{PORTFOLIO}:{event.order.client_order_id}"
        provenance = Provenance(ENVIRONMENT, key, "", "", "local", "local", WALL_TIME, "")
        how: dict[str, Any] = {"cause": "tape", "principal": "local", "traceparent": ""}
        yield encode_event(
            event, provenance, INSTRUMENTS["A"], sequence=sequence, create_time=WALL_TIME + sequence, **how
        ).event


def ledger_entries(result: Result) -> Iterator[bytes]:
    """As the portfolio service stores them."""
    balances: dict[tuple[str, str], Decimal] = defaultdict(Decimal)
    for sequence, entry in enumerate(result.entries[PORTFOLIO], 1):
        balances[entry.account.value, entry.asset] += entry.amount
        balance = balances[entry.account.value, entry.asset]
        split = (Decimal(3), Decimal(2)) if entry.kind.value == "SPLIT" else None
        whose = (WALL_TIME + sequence, "", "local", "local", split)
        yield entry_bytes(Posted(ENVIRONMENT, sequence, PORTFOLIO, entry, balance, *whose))


def signals(result: Result) -> Iterator[bytes]:
    """As the strategy service stores them."""
    whose = (ENVIRONMENT, "", WALL_TIME, "local", "local")
    deployment = Deployment("everything-1", 1, "everything", PORTFOLIO, *whose, deployment_number=1)
    for sequence, (_, signal) in enumerate(result.signals, 1):
        yield number_signal(sequence, encode_signal(signal, deployment, ["1-1-1"], WALL_TIME + sequence, ""))


def main() -> None:
    """Writes the log of the newest forms, unless there is one."""
    result, ledger = simulated(), simulated().ledgers[PORTFOLIO]
    logs = {"order_events": order_events, "ledger_entries": ledger_entries, "signals": signals}
    content: dict[str, Any] = {
        name: [base64.b64encode(each).decode() for each in make(result)] for name, make in logs.items()
    }
    content["expected"] = {
        "digest": result.digest(),
        "cash": str(ledger.cash),
        "position": str(ledger.positions["A"].quantity),
        "signals": [[each.signal_id, each.symbol, dict(each.values)] for _, each in result.signals],
    }
    path = FOLDER / f"log-v{versions.ORDER_EVENT}.json"
    with path.open("x", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
