"""Drives one deployed strategy through the cycles of an environment (rule 32d).

The backtest and the strategy service use it alike: they hand it its order events and a position, carry out the commands
it answers, hand back the acknowledgements, and repeat until it has no more to say.
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from services.domain.accounting.ledger import PLACE
from services.domain.accounting.lots import split_quantity
from services.domain.deployment.commands import Command
from services.domain.deployment.context import Context, Signal
from services.domain.deployment.holdings import Holdings, WorkingOrder
from services.domain.instrument import Instrument
from services.domain.market import Auction, Bar, Halt, Quote, Record, Split, Trade
from services.domain.money import ZERO, decimal_of
from services.domain.orders.events import position_change
from services.domain.orders.order import TERMINAL, ExecType, Order, OrderEvent, OrderState, OrderType, Side
from services.domain.strategy import Scanner, Strategy
from services.domain.timeline import Timeline, Wake

_TRADE, _BUY = ExecType.TRADE, Side.BUY


class StrategyRunner:
    """One deployment. Not started before ``warm_up``; afterwards ``position`` is the last record it was handed.

    Every input counts once: order events it has seen, or that are not its own, are passed over.

    Args:
        number: the deployment's number; first part of its ids, and its place in the order of a cycle.
        start_sequence: records up to it are history, from which it may not trade.
        scanning: skip records that the strategy says it would not act on. Only for whoever has the whole tape at once;
            nothing but the speed depends on it.
    """

    def __init__(
        self,
        number: int,
        strategy: Strategy,
        instruments: Mapping[str, Instrument],
        start_sequence: int = 0,
        scanning: bool = False,
    ) -> None:
        self.number = number
        self.strategy = strategy
        self.start_sequence = start_sequence
        self.position = 0
        self.holdings = Holdings()
        self._instruments = instruments
        self._context = Context(number, self.holdings)
        self._symbols = frozenset(strategy.symbols)
        self._scanner = strategy if scanning and isinstance(strategy, Scanner) else None
        self._next: int | None = None
        self._listens = type(strategy).on_order_event is not Strategy.on_order_event
        self.passes_acknowledgements = self._scanner is not None and not self._listens
        """Whether it is certain to issue nothing in answer to one."""

    def warm_up(self, timeline: Timeline) -> None:
        """Feed the history up to ``start_sequence``; nothing where that has been done."""
        if self.position < self.start_sequence:
            self._context.at(self.start_sequence, timeline.time(self.start_sequence), warming=True)
            self._deliver_until(timeline, self.start_sequence)

    def next_wake(self, timeline: Timeline) -> Wake:
        """What the coordinator is to be told that the strategy waits for."""
        return Wake(sequence=self.next_sequence(timeline)) if self._scanner else self.strategy.next_wake()

    def next_sequence(self, timeline: Timeline) -> int:
        """The next position at which it has to run though no order event came; ``end + 1`` if none."""
        if self._next is None:
            if self._scanner is not None:
                self._next = self._scanner.scan(timeline, self.holdings, self.position)
            else:
                self._next = timeline.next_wake(self.strategy.next_wake(), self.position)
            self._next = min(self._next, timeline.next_split(self.position))
        return self._next

    def due(self, timeline: Timeline, through: int) -> bool:
        """Whether it has to run at ``through`` though no order event came."""
        return self.next_sequence(timeline) <= through

    def step(self, timeline: Timeline, through: int, events: Iterable[OrderEvent] = ()) -> list[Command]:
        """Hand over order events, then records up to ``through``, then the timer if its time came.

        Returns:
            The commands to carry out in their order; then call ``acknowledge``.
        """
        timer = self.strategy.next_wake().time if self._scanner is None else None
        now = timeline.time(through)
        self._context.at(through, now)
        if events:
            self._hand(events)
        self._deliver_until(timeline, through)
        if timer is not None and timeline.before(timer) <= through:
            self._run_timer(through, timer, now)
        return self._take_commands()

    def acknowledge(self, events: Iterable[OrderEvent]) -> list[Command]:
        """Hand over what the commands of this step led to.

        Returns:
            Further commands of the same step, until there are none.
        """
        self._hand(events)
        return self._take_commands()

    def take_signals(self) -> list[Signal]:
        """The decisions recorded since the last call."""
        signals, self._context.signals = self._context.signals, []
        return signals

    def state(self) -> dict[str, Any]:
        """Everything that a new runner of the same deployment needs to go on, as JSON."""
        return {
            "position": self.position,
            "numbering": self._context.numbering(),
            "positions": {symbol: str(units) for symbol, units in self.holdings.positions.items()},
            "cash": {symbol: str(flow) for symbol, flow in self.holdings.cash.items()},
            "working": [_working_to_json(order) for order in self.holdings.working.values()],
            "strategy": self.strategy.state(),
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where ``state`` was taken."""
        self.position = state["position"]
        self._context.restore_numbering(state["numbering"])
        self.holdings.positions = {symbol: Decimal(units) for symbol, units in state["positions"].items()}
        self.holdings.cash = {symbol: Decimal(flow) for symbol, flow in state["cash"].items()}
        self.holdings.working = {order["client_order_id"]: _working_from_json(order) for order in state["working"]}
        self.strategy.restore(state["strategy"])
        self._next = None

    def _hand(self, events: Iterable[OrderEvent]) -> None:
        for event in events:
            if self._fold(event):
                self._next = None
                if self._listens:
                    self.strategy.on_order_event(self._context, event)

    def _deliver_until(self, timeline: Timeline, through: int) -> None:
        if self._scanner is not None:
            self._scan_until(timeline, through, self._scanner)
            return
        for sequence in range(self.position + 1, through + 1):
            record = timeline.record(self._symbols, sequence)
            if record is not None:
                self._deliver(self._context, record)
        self._move(through)

    def _scan_until(self, timeline: Timeline, through: int, scanner: Scanner) -> None:
        """As if every record up to ``through`` were delivered: only splits are, and what it acts on at ``through``."""
        context, warming = self._context, self._context.warming
        while (first := self.position) < through:
            split = timeline.next_split(first)
            last = min(through, split)
            if first < last - 1:
                scanner.skip(timeline, first, last - 1)
            acts = scanner.scan(timeline, self.holdings, last - 1) if self._next is None else self._next
            if last < split and (warming or last < acts):
                scanner.skip(timeline, last - 1, last)
                self._move(last)
                self._next = None if warming else min(acts, split)
            elif (record := timeline.record(self._symbols, last)) is None:
                self._move(last)
            else:
                self._deliver(context, record)
                self._move(last)

    def _move(self, through: int) -> None:
        self.position = max(self.position, through)
        self._next = None

    def _deliver(self, context: Context, record: Record) -> None:
        if isinstance(record, Bar):
            self.strategy.on_bar(context, record)
        elif isinstance(record, Quote):
            self.strategy.on_quote(context, record)
        elif isinstance(record, Trade):
            self.strategy.on_trade(context, record)
        elif isinstance(record, Auction):
            self.strategy.on_auction(context, record)
        elif isinstance(record, Halt):
            self.strategy.on_halt(context, record)
        elif isinstance(record, Split):
            self._split(record)
            self.strategy.on_split(context, record)

    def _run_timer(self, through: int, timer: int, now: int) -> None:
        # Whatever was asked for late comes late: time never runs backwards.
        self._context.at(through, max(timer, now))
        self.strategy.on_time(self._context)
        again = self.strategy.next_wake().time
        if again is not None and again <= timer:
            raise ValueError(f"{self.strategy.kind} asks for {again} ns again, which has come")

    def _fold(self, event: OrderEvent) -> bool:
        order = event.order
        working = self.holdings.working.get(order.client_order_id)
        if working is None or order.event_count <= working.events:
            return False
        working.events, working.order_id, working.state = order.event_count, order.order_id, order.state
        working.leaves_quantity = order.leaves_quantity
        if event.exec_type is _TRADE:
            self._fill(event)
        if order.state in TERMINAL:
            del self.holdings.working[order.client_order_id]
        return True

    def _fill(self, event: OrderEvent) -> None:
        order, positions, cash = event.order, self.holdings.positions, self.holdings.cash
        symbol, signed = order.symbol, position_change(event)
        paid = signed * event.last_price * self._instruments[symbol].contract_multiplier + event.last_commission
        positions[symbol] = positions.get(symbol, ZERO) + signed
        cash[symbol] = cash.get(symbol, ZERO) - paid

    def _split(self, split: Split) -> None:
        """The position in new units, less the fraction that the books close for cash."""
        units = self.holdings.positions.get(split.symbol, ZERO)
        after = split_quantity(units, decimal_of(split.numerator), decimal_of(split.denominator), PLACE)
        self.holdings.positions[split.symbol] = after - after % self._instruments[split.symbol].quantity_increment

    def _take_commands(self) -> list[Command]:
        context = self._context
        if not context.commands:
            return []
        commands, context.commands = context.commands, []
        return commands


def acknowledgement(order: Order, transact_time: int, tape_sequence: int, replaced: bool = False) -> OrderEvent:
    """The event that answered a command, from the order as it was answered: ``replaced`` where that got new terms."""
    exec_types = {
        OrderState.HELD: ExecType.HELD,
        OrderState.REJECTED: ExecType.REJECTED,
        OrderState.CANCELED: ExecType.CANCELED,
    }
    exec_type = ExecType.REPLACED if replaced else exec_types.get(order.state, ExecType.NEW)
    return OrderEvent(exec_type, order, transact_time, tape_sequence)


def _working_to_json(order: WorkingOrder) -> dict[str, Any]:
    return {
        "client_order_id": order.client_order_id,
        "symbol": order.symbol,
        "side": order.side.value,
        "order_type": order.order_type.value,
        "leaves_quantity": str(order.leaves_quantity),
        "state": order.state.value,
        "order_id": order.order_id,
        "events": order.events,
    }


def _working_from_json(order: Mapping[str, Any]) -> WorkingOrder:
    return WorkingOrder(
        order["client_order_id"],
        order["symbol"],
        Side(order["side"]),
        OrderType(order["order_type"]),
        Decimal(order["leaves_quantity"]),
        OrderState(order["state"]),
        order["order_id"],
        order["events"],
    )
