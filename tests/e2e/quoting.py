"""Strategies on quotes that rest orders, are filled in parts, are refused, and share one portfolio."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from services.domain.market import Quote
from services.domain.orders.order import OrderType, Side, TimeInForce
from services.domain.strategy import Context, Strategy, Wake, parameter

SECOND = 1_000_000_000
CENT = Decimal("0.01")
LIMIT = {"order_type": OrderType.LIMIT}


class Quoting(Strategy, ABC):
    """Looks at the last quotes every so often, and does the next of a row of things for each symbol."""

    @dataclass(frozen=True)
    class Parameters:
        every: int = parameter(20, "Market seconds from one look to the next.", minimum=1)
        size: int = parameter(60, "Units of an order of usual size.", minimum=1)

    def __init__(self, parameters: Any, symbols: tuple[str, ...]) -> None:
        super().__init__(parameters, symbols)
        self.looks = 0
        self.time = 0
        self.quotes: dict[str, tuple[float, float]] = {}

    def on_quote(self, context: Context, quote: Quote) -> None:
        self.quotes[quote.symbol] = (quote.bid, quote.ask)
        # Before the first look there is no time to count from.
        self.time = self.time or quote.time

    def on_time(self, context: Context) -> None:
        self.time, self.looks = context.now, self.looks + 1
        for number, symbol in enumerate(self.symbols):
            if symbol in self.quotes:
                bid, ask = (Decimal(str(price)) for price in self.quotes[symbol])
                self.look(context, symbol, self.looks + number, bid, ask)

    @abstractmethod
    def look(self, context: Context, symbol: str, turn: int, bid: Decimal, ask: Decimal) -> None:
        """The `turn`th thing."""

    def next_wake(self) -> Wake:
        if not self.time:
            return Wake(records=frozenset(self.symbols))
        return Wake(time=self.time + self.parameters.every * SECOND)

    def state(self) -> dict[str, Any]:
        return {"looks": self.looks, "time": self.time, "quotes": self.quotes}

    def restore(self, state: Mapping[str, Any]) -> None:
        self.looks, self.time = state["looks"], state["time"]
        self.quotes = {symbol: (bid, ask) for symbol, (bid, ask) in state["quotes"].items()}


class Maker(Quoting):
    """Rests orders around the market, many of them larger than what trades there, and thinks better of some."""

    kind = "maker"

    def look(self, context: Context, symbol: str, turn: int, bid: Decimal, ask: Decimal) -> None:
        size, held, buy, sell = Decimal(self.parameters.size), context.position(symbol), context.buy, context.sell
        if len(context.working(symbol)) > 6:
            context.cancel(context.working(symbol)[0].client_order_id)
        match turn % 14:
            case 0:
                buy(symbol, 4 * size, **LIMIT, limit_price=ask + CENT)
            case 1:
                buy(symbol, size, **LIMIT, limit_price=bid - 2 * CENT, display_quantity=Decimal(9))
            case 2 if held > 0:
                sell(symbol, held, **LIMIT, limit_price=ask + 3 * CENT, reduce_only=True)
            case 3:
                until = (context.now // SECOND + 45) * SECOND
                buy(symbol, size, **LIMIT, limit_price=bid, time_in_force=TimeInForce.GTD, expire_time=until)
            case 4:
                buy(symbol, 3 * size, **LIMIT, limit_price=ask, time_in_force=TimeInForce.IOC)
                buy(symbol, 2 * size, **LIMIT, limit_price=ask + CENT, time_in_force=TimeInForce.FOK)
            case 5 if held > 0:
                sell(symbol, held, order_type=OrderType.TRAILING_STOP, trailing_amount=4 * CENT, reduce_only=True)
            case 6:
                buy(symbol, size, **LIMIT, limit_price=ask + CENT, post_only=True)
                buy(symbol, size, **LIMIT, limit_price=bid - CENT, post_only=True)
            case 7 if held > 0:
                terms = {"stop_price": bid - CENT, "limit_price": bid - 5 * CENT}
                sell(symbol, held, order_type=OrderType.STOP_LIMIT, **terms)
            case 8:
                for order in context.working(symbol)[1::2]:
                    context.cancel(order.client_order_id)
            case 9:
                terms = {"stop_price": bid - CENT, "limit_price": bid + CENT}
                buy(symbol, size, order_type=OrderType.LIMIT_IF_TOUCHED, **terms)
            case 10:
                exits = {"target": {"limit_price": ask + 4 * CENT}, "stop": {"stop_price": bid - 4 * CENT}}
                context.bracket(Side.BUY, symbol, size, **exits)
                context.bracket(Side.BUY, symbol, 2 * size, **LIMIT, limit_price=bid - CENT, **exits)
            case 11 if held > 0:
                legs = {"limit_price": ask + 2 * CENT}, {"stop_price": bid - 5 * CENT}
                context.oco(Side.SELL, symbol, held, *legs)
            case 12:
                for order in context.working(symbol):
                    if order.order_type is OrderType.LIMIT:
                        price = bid + CENT if order.side is Side.BUY else ask - CENT
                        context.replace(order.client_order_id, limit_price=price)


class Taker(Quoting):
    """Takes what there is, and now and then asks for more than it may have."""

    kind = "taker"

    def look(self, context: Context, symbol: str, turn: int, bid: Decimal, ask: Decimal) -> None:
        size, held = Decimal(self.parameters.size), context.position(symbol)
        match turn % 5:
            case 0:
                context.buy(symbol, 2 * size)
            case 1:
                context.buy(symbol, cash_quantity=size * 40)
            case 2 if held > 0:
                context.sell(symbol, held)
            case 3:
                # Alone it would pass; the portfolio's other strategy has spent some of it, or holds as many as it may.
                context.buy(symbol, 6 * size, **LIMIT, limit_price=ask - 2 * CENT)
            case 4 if held > 1:
                for order in context.working(symbol)[:2]:
                    context.replace(order.client_order_id, quantity=order.leaves_quantity + size)
                context.sell(symbol, held / 2 // 1 + 1, order_type=OrderType.STOP, stop_price=bid - 3 * CENT)


class Sweeper(Quoting):
    """Takes what a quote shows at several levels, at once or not at all; decides by the levels themselves."""

    kind = "sweeper"

    def __init__(self, parameters: Any, symbols: tuple[str, ...]) -> None:
        super().__init__(parameters, symbols)
        self.asks: dict[str, list[tuple[float, float]]] = {}

    def on_quote(self, context: Context, quote: Quote) -> None:
        super().on_quote(context, quote)
        self.asks[quote.symbol] = [(price, size) for price, size in quote.asks]

    def look(self, context: Context, symbol: str, turn: int, bid: Decimal, ask: Decimal) -> None:
        asks, held = self.asks[symbol], context.position(symbol)
        if held > 0:
            context.sell(symbol, held, reduce_only=True)
        elif len(asks) > 1:
            # The next quote is a cent or two away: as often as not it has as many at that price.
            size = sum((Decimal(str(size)) // 10 for _, size in asks), Decimal(0)) - turn % 3
            force = TimeInForce.FOK if turn % 2 else TimeInForce.IOC
            context.buy(symbol, size, **LIMIT, limit_price=Decimal(str(asks[-1][0])) + CENT, time_in_force=force)

    def state(self) -> dict[str, Any]:
        return super().state() | {"asks": self.asks}

    def restore(self, state: Mapping[str, Any]) -> None:
        super().restore(state)
        self.asks = {symbol: [(price, size) for price, size in levels] for symbol, levels in state["asks"].items()}
