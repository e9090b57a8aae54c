"""A gate, the books, and a venue that does what it is told."""

from decimal import Decimal
from typing import Any

from services.domain.accounting.ledger import Entry, Ledger
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.lists import cut, listed
from services.domain.orders.order import (
    TERMINAL,
    ContingencyType,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
    reserved_cash,
    reserved_together,
)
from services.domain.risk.gate import Verdict
from services.domain.risk.limits import make_limit
from services.risk.gate.parts import OpenGate

D = Decimal
STOCK = Instrument("AAPL")
COIN = Instrument("BTC/USD", quantity_increment=D("0.001"))
INSTRUMENTS = {"AAPL": STOCK, "BTC/USD": COIN}


class Market:
    """A gate, the books, and a venue that does what it is told; remembers everything that was folded."""

    def __init__(self, cash: str = "10000", shorts: bool = False) -> None:
        self.gate = OpenGate()
        self.ledgers: dict[str, Ledger] = {}
        self.orders: dict[str, Order] = {}
        self.folded: list[OrderEvent | tuple[str, Entry]] = []
        self.headroom: dict[str, Decimal] = {}
        self.number = self.time = 0
        # Where a fill is, which no tape has at 0.
        self.position = 1
        self.shorts = shorts
        for portfolio_id in ("p", "q"):
            self.ledgers[portfolio_id] = Ledger(portfolio_id)
            self.gate.open_portfolio(portfolio_id)
            if shorts:
                self.gate.set_limit(make_limit("short_sale", D(1), portfolio_id))
            self.post(portfolio_id, self.ledgers[portfolio_id].deposit(D(cash), 0, 0, "t").entries)

    def post(self, portfolio_id: str, entries: list[Entry]) -> None:
        for entry in entries:
            self.folded.append((portfolio_id, entry))
            self.gate.fold_entry(portfolio_id, entry)

    def order(self, side: Side, quantity: str, portfolio_id: str = "p", symbol: str = "AAPL", **terms: Any) -> Order:
        self.number += 1
        terms.setdefault("order_type", OrderType.MARKET)
        cash = terms.get("cash_quantity")
        quantities = D(0) if cash is not None else D(quantity)
        names = (f"e-{self.number}", f"c-{self.number}", portfolio_id, symbol, side)
        return Order(*names, time_in_force=TimeInForce.GTC, quantity=quantities, **terms)

    def check(self, order: Order, price: str | Decimal = "100") -> Verdict:
        return self.gate.check(order, INSTRUMENTS[order.symbol], D(price), self.time)

    def place(self, order: Order, price: str | Decimal = "100") -> Order | None:
        verdict = self.check(order, price)
        if verdict.reservation is None:
            self.tell(ExecType.REJECTED, order._replace(state=OrderState.REJECTED, refusal=verdict.refusal))
            return None
        self.headroom[order.portfolio_id] = verdict.reservation.headroom
        order = order._replace(reservation=verdict.reservation, state=OrderState.NEW, leaves_quantity=order.quantity)
        self.tell(ExecType.NEW, order)
        return order

    def place_oco(self, first: Order, second: Order, price: str | Decimal = "100") -> tuple[Order, Order] | None:
        """Both legs, or neither."""
        legs = listed(ContingencyType.OCO, [first, second])
        verdicts = [self.check(leg, price) for leg in legs]
        refusal = next((each.refusal for each in verdicts if each.refusal is not None), None)
        if refusal is not None:
            for leg in legs:
                self.tell(ExecType.REJECTED, leg._replace(state=OrderState.REJECTED, refusal=refusal))
            return None
        for leg, verdict in zip(legs, verdicts, strict=True):
            assert verdict.reservation is not None
            self.headroom[leg.portfolio_id] = verdict.reservation.headroom
            new = {"state": OrderState.NEW, "leaves_quantity": leg.quantity}
            self.tell(ExecType.NEW, leg._replace(reservation=verdict.reservation, **new))
        first, second = (self.orders[leg.order_id] for leg in legs)
        return first, second

    def twin(self, order: Order) -> Order | None:
        lists = [each for each in self.orders.values() if each.order_list_id and each.order_id != order.order_id]
        return next((each for each in lists if each.order_list_id == order.order_list_id), None)

    def tell(self, exec_type: ExecType, order: Order, **last: Decimal) -> None:
        event, twin = OrderEvent(exec_type, order, self.time, self.position, **last), None
        if order.order_list_id:
            twin = self.twin(order)
        before = self.orders.pop(order.order_id, order)
        if order.state not in TERMINAL:
            self.orders[order.order_id] = order
        self.folded.append(event)
        self.gate.fold(event, INSTRUMENTS[order.symbol])
        self.ledgers[order.portfolio_id].apply(event, INSTRUMENTS[order.symbol])
        if exec_type is not ExecType.REJECTED:
            self.headroom[order.portfolio_id] += reserved_together(before, twin) - reserved_together(order, twin)

    def fill(self, order: Order, quantity: str | Decimal, price: str | Decimal) -> Order:
        quantity, price = D(quantity), D(price)
        if (twin := self.twin(order)) is not None:
            if quantity == order.leaves_quantity:
                self.tell(ExecType.CANCELED, twin._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))
            else:
                self.tell(ExecType.RESTATED, cut(twin, quantity))
        sized = order.quantity or quantity
        cum = order.cum_quantity + quantity
        if order.cash_quantity is not None:
            sized = cum
        full = cum == sized and order.cash_quantity is None
        after = order._replace(
            quantity=sized,
            cum_quantity=cum,
            leaves_quantity=sized - cum,
            gross_amount=order.gross_amount + quantity * price,
            state=OrderState.FILLED if full else OrderState.PARTIALLY_FILLED,
        )
        # A short's collateral pays for what only covers it.
        if order.side is Side.BUY and not order.reduce_only:
            self.headroom[order.portfolio_id] -= quantity * price
        elif order.side is Side.SELL and not order.reservation.cash:
            self.headroom[order.portfolio_id] += quantity * price
        self.tell(ExecType.TRADE, after, last_quantity=quantity, last_price=price)
        return after

    def reducible(self, order: Order) -> Decimal:
        position = self.ledgers[order.portfolio_id].positions.get(order.symbol)
        held = position.quantity if position is not None else ZERO
        return max(ZERO, -held if order.side is Side.BUY else held)

    def replaced(self, order: Order, **terms: Any) -> Order:
        """On new terms, before risk has said what it reserves."""
        after = order._replace(**terms)
        if order.cash_quantity is None:
            after = after._replace(leaves_quantity=after.quantity - after.cum_quantity)
        return after

    def recheck(self, after: Order, price: str | Decimal = "100") -> Verdict:
        return self.gate.check_replacement(after, INSTRUMENTS[after.symbol], D(price), self.time)

    def replace(self, after: Order, verdict: Verdict) -> Order:
        assert verdict.reservation is not None
        after = after._replace(reservation=verdict.reservation)
        self.tell(ExecType.REPLACED, after)
        self.headroom[after.portfolio_id] = verdict.reservation.headroom
        return after

    def end(self, order: Order, exec_type: ExecType = ExecType.CANCELED) -> None:
        state = OrderState.EXPIRED if exec_type is ExecType.EXPIRED else OrderState.CANCELED
        self.tell(exec_type, order._replace(state=state, leaves_quantity=ZERO))
        if (twin := self.twin(order)) is not None:
            self.tell(ExecType.CANCELED, twin._replace(state=OrderState.CANCELED, leaves_quantity=ZERO))

    def reserved(self, portfolio_id: str) -> Decimal:
        """What the open orders of a portfolio hold: of twins the larger."""
        own = [order for order in self.orders.values() if order.portfolio_id == portfolio_id]
        held: dict[str, Decimal] = {}
        for order in own:
            key = order.order_list_id or order.order_id
            held[key] = max(held.get(key, ZERO), reserved_cash(order))
        return sum(held.values(), ZERO)

    def split(self, numerator: int, denominator: int) -> None:
        """As in a replay: the books' entries first, then the venue's restated orders, all before anything trades."""
        self.position += 1
        for portfolio_id, ledger in self.ledgers.items():
            terms = ("AAPL", D(numerator), D(denominator))
            posting = ledger.split(*terms, time=self.time, tape_sequence=self.position, instrument=STOCK)
            self.post(portfolio_id, posting.entries)
        for order in [o for o in self.orders.values() if o.symbol == "AAPL"]:
            if order.order_id not in self.orders:
                continue
            cum, leaves = (q * numerator // denominator for q in (order.cum_quantity, order.leaves_quantity))
            quantity = order.reservation.quantity * numerator / denominator
            restated = order._replace(
                quantity=cum + leaves,
                cum_quantity=cum,
                leaves_quantity=leaves,
                reservation=order.reservation._replace(quantity=quantity.quantize(D("1e-9"), "ROUND_FLOOR")),
            )
            held, holds = reserved_cash(order), reserved_cash(restated)
            if holds > held:
                # Floored, what is left of it may be a larger part than before: it holds no more for that.
                cash = (restated.reservation.cash * held / holds).quantize(D("1e-9"), "ROUND_FLOOR")
                restated = restated._replace(reservation=restated.reservation._replace(cash=cash))
            if restated.quantity or order.cash_quantity is not None:
                self.tell(ExecType.RESTATED, restated)
            else:
                self.end(order)

    def rebuilt(self) -> OpenGate:
        gate = OpenGate()
        for item in self.folded:
            if isinstance(item, OrderEvent):
                gate.fold(item, INSTRUMENTS[item.order.symbol])
            else:
                gate.fold_entry(*item)
        for limit in self.gate.limits():
            gate.set_limit(limit)
        return gate
