"""A strategy that trades in auctions, and in what a halt leaves of the time between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.domain.market import Auction, Halt, Quote
from services.domain.orders.order import OrderType, TimeInForce
from services.domain.strategy import Context, Strategy, parameter

OPG, CLS, DAY, IOC = TimeInForce.OPG, TimeInForce.CLS, TimeInForce.DAY, TimeInForce.IOC
LIMIT = {"order_type": OrderType.LIMIT}
STEP = Decimal("0.05")


class Caller(Strategy):
    """Enters in opening auctions, leaves in closing ones, and bids into halts."""

    kind = "caller"

    @dataclass(frozen=True)
    class Parameters:
        size: int = parameter(40, "Units of an order.", minimum=1)

    def __init__(self, parameters: Any, symbols: tuple[str, ...]) -> None:
        super().__init__(parameters, symbols)
        self.seen = 0

    def on_quote(self, context: Context, quote: Quote) -> None:
        self.seen += 1
        symbol, size = quote.symbol, Decimal(self.parameters.size)
        bid, ask = Decimal(str(quote.bid)), Decimal(str(quote.ask))
        match self.seen % 9:
            case 1:
                context.buy(symbol, size, time_in_force=OPG)
                context.buy(symbol, size, time_in_force=OPG, **LIMIT, limit_price=bid - 3 * STEP)
            case 3:
                context.buy(symbol, size, time_in_force=CLS, **LIMIT, limit_price=ask + STEP)
            case 5 if context.position(symbol) > 0:
                context.sell(symbol, context.position(symbol), time_in_force=CLS)
            case 6:
                context.buy(symbol, size, time_in_force=DAY, **LIMIT, limit_price=ask)
            case 7:
                context.buy(symbol, size, time_in_force=IOC)

    def on_auction(self, context: Context, auction: Auction) -> None:
        symbol, size = auction.symbol, Decimal(self.parameters.size)
        price = Decimal(str(auction.price))
        if auction.opening:
            context.sell(symbol, size, **LIMIT, limit_price=price + 2 * STEP)
        else:
            context.buy(symbol, size, time_in_force=OPG, **LIMIT, limit_price=price + STEP)

    def on_halt(self, context: Context, halt: Halt) -> None:
        size = Decimal(self.parameters.size)
        if halt.halted:
            context.buy(halt.symbol, size)
            context.buy(halt.symbol, size, time_in_force=DAY)
        else:
            for order in context.working(halt.symbol)[:2]:
                context.cancel(order.client_order_id)

    def state(self) -> dict[str, Any]:
        return {"seen": self.seen}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.seen = state["seen"]
