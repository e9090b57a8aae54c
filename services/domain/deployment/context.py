"""What a strategy may do at one position of a tape: the commands and signals it makes."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from typing import Any, NamedTuple

from services.domain.deployment.commands import CancelOrder, Command, NewOrder, NewOrderList, ReplaceOrder
from services.domain.deployment.holdings import Holdings, WorkingOrder
from services.domain.money import ZERO
from services.domain.orders.order import ContingencyType, OrderType, Side, TimeInForce
from services.domain.orders.replacing import Replacement
from services.domain.values import new


class Signal(NamedTuple):
    """One decision, with what it was made of.

    Attributes:
        signal_id: ``{deployment number}-{tape sequence}-{n}``.
        side: the direction it sees.
        strength: from 0 to 1, as the strategy sees it.
        values: the indicators it was read from.
        time: market time of the decision, ns.
    """

    signal_id: str
    symbol: str
    side: Side
    strength: float
    values: Mapping[str, float]
    tape_sequence: int
    time: int


class Context:
    """What a strategy sees and does at one position of the tape.

    Attributes:
        now: market time, ns.
        tape_sequence: the position; commands are decided at it.
        warming: history from before the strategy may trade; orders and signals are then dropped.
    """

    __slots__ = ("_count", "_number", "_signals", "commands", "holdings", "now", "signals", "tape_sequence", "warming")

    def __init__(self, number: int, holdings: Holdings) -> None:
        self._number = number
        self._count = 0
        self._signals = 0
        self.holdings = holdings
        self.now = 0
        self.tape_sequence = 0
        self.warming = False
        self.commands: list[Command] = []
        self.signals: list[Signal] = []

    def position(self, symbol: str) -> Decimal:
        """Units held by this strategy's own fills; negative when short."""
        return self.holdings.positions.get(symbol, ZERO)

    def cash_flow(self, symbol: str) -> Decimal:
        """What this strategy's fills in ``symbol`` brought so far, less what they cost."""
        return self.holdings.cash.get(symbol, ZERO)

    def working(self, symbol: str) -> tuple[WorkingOrder, ...]:
        """This strategy's orders in ``symbol`` that may still fill."""
        if not self.holdings.working:
            return ()
        return tuple(order for order in self.holdings.working.values() if order.symbol == symbol)

    def idle(self, symbol: str) -> bool:
        """Whether no order of this strategy works in ``symbol``."""
        return not self.holdings.working or not self.working(symbol)

    def buy(self, symbol: str, quantity: Decimal | None = None, **terms: Any) -> str:
        """Place a buy; see ``place`` for the terms."""
        return self.place(Side.BUY, symbol, quantity, **terms)

    def sell(self, symbol: str, quantity: Decimal | None = None, **terms: Any) -> str:
        """Place a sell; see ``place`` for the terms."""
        return self.place(Side.SELL, symbol, quantity, **terms)

    def place(
        self,
        side: Side,
        symbol: str,
        quantity: Decimal | None = None,
        *,
        cash_quantity: Decimal | None = None,
        order_type: OrderType = OrderType.MARKET,
        time_in_force: TimeInForce = TimeInForce.GTC,
        limit_price: Decimal | None = None,
        stop_price: Decimal | None = None,
        trailing_amount: Decimal | None = None,
        trailing_percent: Decimal | None = None,
        expire_time: int = 0,
        post_only: bool = False,
        reduce_only: bool = False,
        display_quantity: Decimal | None = None,
        label: str = "",
        signal: Signal | None = None,
    ) -> str:
        """Place an order of ``quantity`` units, or of ``cash_quantity`` sized at the fill.

        Good till canceled unless said otherwise: what a strategy decides it wants until it decides otherwise, and what
        a session's volume leaves of a DAY order would expire with a decision half carried out.

        Returns:
            The client order id; empty while warming, when nothing is placed.

        Raises:
            ValueError: not exactly one of the two sizes, or one that is not positive, or a sale by cash.
        """
        size = quantity if cash_quantity is None else cash_quantity
        if (quantity is None) == (cash_quantity is None) or size is None or size <= 0:
            raise ValueError("an order needs a positive quantity or a positive cash_quantity, not both")
        if cash_quantity is not None and side is Side.SELL:
            raise ValueError("a sale needs a quantity: cash_quantity is for buys")
        if self.warming:
            return ""
        self._count += 1
        client_order_id = f"{self._number}-{self.tape_sequence}-{self._count}"
        leaves = ZERO if quantity is None else quantity
        signal_id = "" if signal is None else signal.signal_id
        asked = (
            client_order_id,
            symbol,
            side,
            order_type,
            time_in_force,
            leaves,
            cash_quantity,
            limit_price,
            stop_price,
        )
        terms = (expire_time, trailing_amount, trailing_percent, post_only, reduce_only, display_quantity)
        self.commands.append(new(NewOrder, (*asked, *terms, label, signal_id, self.tape_sequence, self.now)))
        self.holdings.working[client_order_id] = WorkingOrder(client_order_id, symbol, side, order_type, leaves)
        return client_order_id

    def cancel(self, client_order_id: str) -> None:
        """Cancel what is left of an order of this strategy; nothing happens where it no longer works."""
        if client_order_id in self.holdings.working:
            self.commands.append(CancelOrder(client_order_id, self.tape_sequence, self.now))

    def replace(self, client_order_id: str, **terms: Any) -> None:
        """Put an order of this strategy on other terms, as ``Replacement`` names them.

        Nothing happens where it no longer works, where a fill came first, or where the terms are refused: then it works
        on as it is. What became of it, ``on_order_event`` tells.

        Raises:
            TypeError: there is no such term.
        """
        if client_order_id in self.holdings.working:
            self._count += 1
            command_id = f"{self._number}-{self.tape_sequence}-{self._count}"
            wanted = Replacement(**terms)
            self.commands.append(ReplaceOrder(client_order_id, wanted, command_id, self.tape_sequence, self.now))

    def bracket(
        self,
        side: Side,
        symbol: str,
        quantity: Decimal | None = None,
        *,
        target: Mapping[str, Any],
        stop: Mapping[str, Any],
        **terms: Any,
    ) -> tuple[str, ...]:
        """Place an entry, and with it both exits, which wait until it fills and are then for as much as it has filled.

            context.bracket(Side.BUY, "AAPL", Decimal(10), target={"limit_price": high}, stop={"stop_price": low})

        Args:
            target, stop: terms of the exits, as of ``place``; their type is LIMIT, STOP, STOP_LIMIT or TRAILING_STOP by
                the prices they state, unless said otherwise.
            terms: of the entry, as of ``place``.

        Returns:
            The client order ids of entry, target and stop; empty while warming.

        Raises:
            ValueError: as ``place``.
        """
        opposite = Side.SELL if side is Side.BUY else Side.BUY
        size = Decimal(1) if quantity is None else quantity
        with self._list(ContingencyType.BRACKET) as ids:
            ids.append(self.place(side, symbol, quantity, **terms))
            ids += [self.place(opposite, symbol, size, **_typed(each)) for each in (target, stop)]
        return tuple(ids)

    def oco(
        self, side: Side, symbol: str, quantity: Decimal, first: Mapping[str, Any], second: Mapping[str, Any]
    ) -> tuple[str, ...]:
        """Place two orders for the same units, of which only one can fill: what one fills the other no longer asks for.

        Args:
            first, second: their terms, as those of a ``bracket``'s exits.

        Returns:
            Their client order ids; empty while warming.

        Raises:
            ValueError: as ``place``.
        """
        with self._list(ContingencyType.OCO) as ids:
            ids += [self.place(side, symbol, quantity, **_typed(each)) for each in (first, second)]
        return tuple(ids)

    def oto(self, first: Mapping[str, Any], *others: Mapping[str, Any]) -> tuple[str, ...]:
        """Place an order, and with it others that wait until it is filled whole, and end with it if it never is.

            context.oto({"side": Side.SELL, "symbol": "IBM", "quantity": ten}, {"side": Side.BUY, "symbol": "AA", ...})

        Args:
            first, others: all their terms, as of ``place``.

        Returns:
            Their client order ids; empty while warming.

        Raises:
            ValueError: as ``place``.
        """
        with self._list(ContingencyType.OTO) as ids:
            ids += [self.place(**each) for each in (first, *others)]
        return tuple(ids)

    @contextmanager
    def _list(self, kind: ContingencyType) -> Iterator[list[str]]:
        """The orders placed inside become one command; of who waits for a parent's fill that says how many units."""
        begun, ids = len(self.commands), list[str]()
        yield ids
        placed = [command for command in self.commands[begun:] if isinstance(command, NewOrder)]
        del self.commands[begun:]
        if kind is ContingencyType.BRACKET:
            placed[1:] = [each._replace(quantity=ZERO) for each in placed[1:]]
        if placed:
            self.commands.append(NewOrderList(kind, tuple(placed), self.tape_sequence, self.now))

    def signal(
        self,
        symbol: str,
        side: Side,
        *,
        strength: float = 1.0,
        values: Mapping[str, float] | None = None,
    ) -> Signal:
        """Record a decision; hand it to ``buy`` or ``sell`` to say what the order came from."""
        signal_id = f"{self._number}-{self.tape_sequence}-{self._signals + 1}"
        fields = (signal_id, symbol, side, strength, values or {}, self.tape_sequence, self.now)
        made = new(Signal, fields)
        if not self.warming:
            self._signals += 1
            self.signals.append(made)
        return made

    def at(self, sequence: int, time: int, warming: bool = False) -> None:
        """Move to a position; numbering of ids starts anew when the sequence changes. For whoever drives a strategy."""
        if sequence != self.tape_sequence:
            self._count = self._signals = 0
        self.tape_sequence, self.now, self.warming = sequence, time, warming

    def numbering(self) -> list[int]:
        """Sequence, orders and signals numbered at it: stored, so that a restart never reuses an id."""
        return [self.tape_sequence, self._count, self._signals]

    def restore_numbering(self, numbering: Sequence[int]) -> None:
        """Continue where ``numbering`` was taken."""
        self.tape_sequence, self._count, self._signals = numbering


def _typed(terms: Mapping[str, Any]) -> dict[str, Any]:
    """Terms of an exit or a leg, with the type that its prices say."""
    limited, stopped = "limit_price" in terms, "stop_price" in terms
    kind = OrderType.STOP_LIMIT if limited and stopped else OrderType.LIMIT if limited else OrderType.STOP
    if not (limited or stopped):
        kind = OrderType.TRAILING_STOP
    return {"order_type": kind, **terms}
