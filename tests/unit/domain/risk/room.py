"""A gate with two portfolios in which several strategies trade."""

from decimal import Decimal
from typing import Any

from services.domain.instrument import Instrument
from services.domain.orders.order import ExecType, Order, OrderEvent, OrderState, OrderType, Side, TimeInForce
from services.domain.risk.gate import Verdict
from services.domain.risk.limits import make_limit
from services.risk.gate.parts import OpenGate

D = Decimal
INSTRUMENTS = {"A": Instrument("A"), "B": Instrument("B"), "F": Instrument("F", contract_multiplier=D(50))}
PRICES = {"A": D(100), "B": D(20), "F": D(3)}


class Room:
    """A detailed gate with portfolios p and q, orders of strategies s and t and of nobody, and a venue that obeys."""

    def __init__(self, cash: str = "100000") -> None:
        self.gate = OpenGate()
        self.number = 0
        for portfolio_id in ("p", "q"):
            self.gate.open_portfolio(portfolio_id, D(cash))
        for symbol, price in PRICES.items():
            self.gate.mark(symbol, price)

    def limit(self, name: str, bound: str | Decimal, **where: str) -> None:
        self.gate.set_limit(make_limit(name, D(bound), **where))

    def order(
        self,
        quantity: str | int,
        symbol: str = "A",
        portfolio_id: str = "p",
        strategy_id: str = "",
        side: Side = Side.BUY,
        **terms: Any,
    ) -> Order:
        self.number += 1
        names = (f"e-{self.number}", f"c-{self.number}", portfolio_id, symbol, side)
        order_type = OrderType.LIMIT if "limit_price" in terms else OrderType.MARKET
        return Order(*names, order_type, TimeInForce.GTC, D(quantity), strategy_id=strategy_id, **terms)

    def check(self, order: Order, time: int = 0) -> Verdict:
        return self.gate.check(order, INSTRUMENTS[order.symbol], PRICES[order.symbol], time)

    def asks(self, *args: Any, **kwargs: Any) -> Verdict:
        verdict = self.check(self.order(*args, **kwargs))
        self.gate.drop_unconfirmed()
        return verdict

    def place(self, *args: Any, **kwargs: Any) -> Order:
        order = self.order(*args, **kwargs)
        verdict = self.check(order)
        assert verdict.reservation is not None, verdict.refusal
        order = order._replace(
            reservation=verdict.reservation, state=OrderState.NEW, leaves_quantity=order.quantity, event_count=1
        )
        self.tell(ExecType.NEW, order)
        return order

    def tell(self, exec_type: ExecType, order: Order, at: int = 1, **last: Decimal) -> None:
        event = OrderEvent(exec_type, order, 0, at, **last)
        self.gate.fold(event, INSTRUMENTS[order.symbol])

    def fill(self, order: Order, quantity: Decimal | None = None, at: int = 1) -> Order:
        quantity = order.leaves_quantity if quantity is None else quantity
        left = order.leaves_quantity - quantity
        order = order._replace(
            cum_quantity=order.cum_quantity + quantity,
            leaves_quantity=left,
            state=OrderState.PARTIALLY_FILLED if left else OrderState.FILLED,
        )
        self.tell(ExecType.TRADE, order, at, last_quantity=quantity, last_price=PRICES[order.symbol])
        return order
