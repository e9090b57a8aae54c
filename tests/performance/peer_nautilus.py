"""What the same takes in nautilus_trader: run by `bench_matching.py --peer` with an interpreter that has it.

Its matching is not to be had apart from its backtest engine, whose cache, risk engine and portfolio are in the figures:
so they say what a backtest's venue comes to there, not what its matching does. It prints one line of JSON.
"""

import json
import sys
import time
from decimal import Decimal
from typing import Any

import nautilus_trader
from nautilus_trader.backtest.engine import BacktestEngine, BacktestEngineConfig
from nautilus_trader.config import LoggingConfig
from nautilus_trader.core.rust.model import AccountType, OmsType
from nautilus_trader.model.currencies import USD
from nautilus_trader.model.data import QuoteTick
from nautilus_trader.model.enums import OrderSide, TimeInForce
from nautilus_trader.model.identifiers import Venue
from nautilus_trader.model.objects import Money, Price, Quantity
from nautilus_trader.test_kit.providers import TestInstrumentProvider
from nautilus_trader.trading.strategy import Strategy

SECOND = 1_000_000_000


class Trader(Strategy):
    """Has some orders resting, and where `every` is given sends a MARKET order so often."""

    def __init__(self, instrument: Any, resting: int, every: int) -> None:
        super().__init__()
        self._instrument, self._resting, self._every = instrument, resting, every
        self._seen = self.fills = 0

    def on_start(self) -> None:
        self.subscribe_quote_ticks(self._instrument.id)

    def on_quote_tick(self, tick: QuoteTick) -> None:
        if not self._seen:
            for number in range(self._resting):
                side, price = (OrderSide.SELL, "5000.00") if number % 2 else (OrderSide.BUY, "100.00")
                self._send(self.order_factory.limit, side, price=Price.from_str(price))
        self._seen += 1
        if self._every and self._seen % self._every == 0:
            self._send(self.order_factory.market, OrderSide.BUY if self._seen // self._every % 2 else OrderSide.SELL)

    def on_order_filled(self, event: Any) -> None:
        self.fills += 1

    def _send(self, make: Any, side: OrderSide, **terms: Any) -> None:
        quantity = self._instrument.make_qty(Decimal(10))
        self.submit_order(make(self._instrument.id, side, quantity, time_in_force=TimeInForce.GTC, **terms))


def seconds(quotes: list[QuoteTick], instrument: Any, every: int) -> float:
    """CPU seconds for the quotes."""
    engine = BacktestEngine(BacktestEngineConfig(logging=LoggingConfig(bypass_logging=True)))
    engine.add_venue(Venue("XNAS"), OmsType.NETTING, AccountType.MARGIN, [Money(1_000_000_000, USD)], base_currency=USD)
    engine.add_instrument(instrument)
    engine.add_data(quotes)
    trader = Trader(instrument, 12, every)
    engine.add_strategy(trader)
    began = time.process_time()
    engine.run()
    took = time.process_time() - began
    if every and trader.fills < len(quotes) // every - 1:
        raise RuntimeError(f"{trader.fills} orders were filled")
    engine.dispose()
    return took


def main() -> None:
    count, rounds = map(int, sys.argv[1:])
    instrument = TestInstrumentProvider.equity(symbol="S0", venue="XNAS")
    size = Quantity.from_int(100_000)
    quotes = [
        QuoteTick(
            instrument.id,
            Price.from_str(f"{1000 + n % 7 * 0.01:.2f}"),
            Price.from_str(f"{1000.02 + n % 7 * 0.01:.2f}"),
            size,
            size,
            n * SECOND,
            n * SECOND,
        )
        for n in range(1, count + 1)
    ]
    alone = seconds(quotes[:rounds], instrument, 0)
    found = {
        "version": nautilus_trader.__version__,
        "quotes": count / seconds(quotes, instrument, 0),
        "busy": count / seconds(quotes, instrument, 1_000),
        "round_us": seconds(quotes[:rounds], instrument, 1) / rounds * 1e6,
        "quote_us": alone / rounds * 1e6,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
