"""The books of one portfolio: double entry, positions, lots, profit and loss (rules 16 to 22a).

Every movement is a transaction of entries which sum to zero per asset, so cash and units never come from nowhere: what
the portfolio's ``CASH`` and ``POSITION`` gain, ``EXTERNAL``, ``MARKET`` or ``FEES`` lose. A balance is the sum of its
entries. The ledger hands entries out and keeps only balances; who folds events into it stores what ``Posting`` says
has changed.

Cash includes the proceeds of short sales; what of it can be spent is the gate's question (``gate.py``).
"""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from services.domain.accounting.entries import Account, Entry, EntryKind, Position, Posting, as_decimal
from services.domain.accounting.lots import Fifo, Lot, LotMatching, close_lots, split_lots
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.order import ExecType, OrderEvent, Side
from services.domain.values import new

__all__ = ["Account", "Entry", "EntryKind", "Ledger", "Position", "Posting", "as_decimal"]

PLACE = Decimal("1e-9")
"""The wire's last decimal place, to which the few values that do not divide evenly are rounded, half to even."""


_Source = tuple[str, int, int, str, str]
"""Transaction, time, tape sequence, order and execution: what all entries of a movement share."""
_Movement = tuple[EntryKind, Account, Account]
_TRADE_UNITS: _Movement = (EntryKind.TRADE, Account.POSITION, Account.MARKET)
_TRADE_CASH: _Movement = (EntryKind.TRADE, Account.CASH, Account.MARKET)
_COMMISSION: _Movement = (EntryKind.COMMISSION, Account.CASH, Account.FEES)
_COMMISSION_UNITS: _Movement = (EntryKind.COMMISSION, Account.POSITION, Account.FEES)
_SPLIT: _Movement = (EntryKind.SPLIT, Account.POSITION, Account.MARKET)
_IN_LIEU_UNITS: _Movement = (EntryKind.CASH_IN_LIEU, Account.POSITION, Account.MARKET)
_IN_LIEU_CASH: _Movement = (EntryKind.CASH_IN_LIEU, Account.CASH, Account.MARKET)
_DEPOSIT: _Movement = (EntryKind.DEPOSIT, Account.CASH, Account.EXTERNAL)
_WITHDRAWAL: _Movement = (EntryKind.WITHDRAWAL, Account.CASH, Account.EXTERNAL)
# Bound once, for what every order passes: a member takes eight times as long to find through its class.
_TRADE, _BUY, _CASH = ExecType.TRADE, Side.BUY, Account.CASH


class Ledger:
    """The books of one portfolio in one currency.

    Events must come once each and in order: the caller's cursor sees to that.
    """

    def __init__(self, portfolio_id: str, currency_code: str = "USD", matching: LotMatching | None = None) -> None:
        """Empty books; ``matching`` chooses which lots a closing fill takes, FIFO unless given."""
        self.portfolio_id = portfolio_id
        self.currency_code = currency_code
        self.sequence = 0
        self.positions: dict[str, Position] = {}
        self.realized_pnl = ZERO
        self.commission = ZERO
        self._matching = matching or Fifo()
        self._lots: dict[str, list[Lot]] = {}
        self._last_lot = 0
        self._balances: dict[tuple[Account, str], Decimal] = {}

    @property
    def cash(self) -> Decimal:
        """The cash balance, in ``currency_code``; proceeds of shorts included."""
        return self._balances.get((_CASH, self.currency_code), ZERO)

    def balance(self, account: Account, asset: str) -> Decimal:
        """The sum of all entries of ``asset`` in ``account``."""
        return self._balances.get((account, asset), ZERO)

    def lots(self, symbol: str) -> list[Lot]:
        """The open lots of ``symbol``, oldest first."""
        return list(self._lots.get(symbol, ()))

    def equity(self, marks: Mapping[str, Decimal | float]) -> Decimal:
        """Cash and all positions at ``marks`` (price a unit); where there is none, at the last fill's price."""
        held = [position for position in self.positions.values() if position.quantity]
        return self._worth(held, marks) if held else self.cash

    def unrealized_pnl(self, marks: Mapping[str, Decimal | float]) -> Decimal:
        """What closing every position at ``marks`` would gain; marks as for ``equity``."""
        held = (p for p in self.positions.values() if p.quantity)
        return sum((p.unrealized_pnl(marks.get(p.symbol, p.last_price)) for p in held), ZERO)

    def deposit(self, amount: Decimal, time: int, tape_sequence: int, transaction_id: str) -> Posting:
        """Cash comes in.

        Raises:
            ValueError: ``amount`` is not positive.
        """
        return self._transfer(_DEPOSIT, amount, amount, (transaction_id, time, tape_sequence, "", ""))

    def withdraw(self, amount: Decimal, time: int, tape_sequence: int, transaction_id: str) -> Posting:
        """Cash goes out. Whether it can be spared (reservations, collateral) is the gate's to say.

        Raises:
            ValueError: ``amount`` is not positive, or more than the cash there is.
        """
        if amount > self.cash:
            raise ValueError(f"{amount} cannot be withdrawn from {self.cash}")
        return self._transfer(_WITHDRAWAL, amount, -amount, (transaction_id, time, tape_sequence, "", ""))

    def apply(self, event: OrderEvent, instrument: Instrument) -> Posting:
        """Fold one order event; only fills move anything.

        A fill through zero closes every lot and opens one at the fill's price; its realised profit is that of the
        closed units alone (rule 17). Commission is an entry of its own and never part of a price (rule 14). Units
        that are commission never came, and are worth the fill's price.

        Raises:
            ValueError: the instrument's currency is not the ledger's.
        """
        if event.exec_type is not _TRADE:
            return Posting()
        if instrument.currency_code != self.currency_code:
            raise ValueError(f"{instrument.symbol} trades in {instrument.currency_code}, not {self.currency_code}")
        order, symbol, price, exec_id = event.order, instrument.symbol, event.last_price, event.exec_id
        commission, multiplier = event.last_commission, instrument.contract_multiplier
        source = (exec_id, event.transact_time, event.tape_sequence, order.order_id, exec_id)
        posting = Posting([], None, [], [])
        signed = event.last_quantity if order.side is _BUY else -event.last_quantity
        self._move(posting, source, _TRADE_UNITS, symbol, signed)
        self._move(posting, source, _TRADE_CASH, self.currency_code, -(signed * price * multiplier))
        if kept := event.last_commission_quantity:
            self._move(posting, source, _COMMISSION_UNITS, symbol, -kept)
            self.commission += commission
        elif commission:
            self._move(posting, source, _COMMISSION, self.currency_code, -commission)
            self.commission += commission
        position = self.positions.get(symbol) or Position(symbol, multiplier=multiplier)
        self._change(posting, source, position, signed - kept, price)
        return posting

    def split(
        self,
        symbol: str,
        numerator: Decimal | float,
        denominator: Decimal | float,
        *,
        time: int,
        tape_sequence: int,
        instrument: Instrument,
        mark: Decimal | float | None = None,
    ) -> Posting:
        """``numerator`` new units for ``denominator`` old ones (rule 20).

        Lots keep their cost; their units change. What lies below the instrument's ``quantity_increment`` is closed for
        cash in lieu, rounded to nine places, at ``mark``: the last price of an old unit, by default the last fill's.

        Raises:
            ValueError: a term of the ratio is not positive.
        """
        new, old = as_decimal(numerator), as_decimal(denominator)
        if new <= 0 or old <= 0:
            raise ValueError(f"a split of {numerator} for {denominator}")
        before = self.positions.get(symbol)
        posting = Posting()
        if before is None or not before.quantity:
            return posting
        source = (f"split-{symbol}-{tape_sequence}", time, tape_sequence, "", "")
        lots = self._lots[symbol] = split_lots(self._lots[symbol], new, old, PLACE)
        quantity = sum((lot.quantity for lot in lots), ZERO)
        change = quantity - before.quantity
        self._move(posting, source, _SPLIT, symbol, change)
        price = (before.last_price if mark is None else as_decimal(mark)) * old / new
        after = before._replace(quantity=quantity, last_price=price.quantize(PLACE))
        self.positions[symbol] = posting.position = after
        fraction = quantity % instrument.quantity_increment
        if fraction or not quantity:
            self._pay_in_lieu(posting, source, after, fraction, price)
        posting.lots = list(self._lots[symbol])
        return posting

    def snapshot(self) -> dict[str, Any]:
        """Everything as JSON-able values; ``restore`` makes the same ledger of it."""
        return {
            "portfolio_id": self.portfolio_id,
            "currency_code": self.currency_code,
            "sequence": self.sequence,
            "last_lot": self._last_lot,
            "realized_pnl": str(self.realized_pnl),
            "commission": str(self.commission),
            "balances": [[account, asset, str(amount)] for (account, asset), amount in self._balances.items()],
            "positions": [[p.symbol, *map(str, p[1:])] for p in self.positions.values()],
            "lots": [
                [lot.lot_id, lot.symbol, *map(str, lot[2:5]), lot.open_time, lot.open_exec_id]
                for lots in self._lots.values()
                for lot in lots
            ],
        }

    @classmethod
    def restore(cls, snapshot: Mapping[str, Any], matching: LotMatching | None = None) -> "Ledger":
        """The ledger that ``snapshot`` was taken of."""
        ledger = cls(snapshot["portfolio_id"], snapshot["currency_code"], matching)
        ledger.sequence, ledger._last_lot = snapshot["sequence"], snapshot["last_lot"]
        ledger.realized_pnl, ledger.commission = Decimal(snapshot["realized_pnl"]), Decimal(snapshot["commission"])
        ledger._balances = {(Account(a), asset): Decimal(amount) for a, asset, amount in snapshot["balances"]}
        ledger.positions = {symbol: Position(symbol, *map(Decimal, rest)) for symbol, *rest in snapshot["positions"]}
        ledger._lots = {symbol: [] for symbol in ledger.positions}
        for lot_id, symbol, quantity, cost, multiplier, *opened in snapshot["lots"]:
            numbers = (Decimal(quantity), Decimal(cost), Decimal(multiplier))
            ledger._lots[symbol].append(Lot(lot_id, symbol, *numbers, *opened))
        return ledger

    def _worth(self, held: Iterable[Position], marks: Mapping[str, Decimal | float]) -> Decimal:
        total = self.cash
        for position in held:
            total += position.market_value(marks.get(position.symbol, position.last_price))
        return total

    def _transfer(self, what: _Movement, amount: Decimal, signed: Decimal, source: _Source) -> Posting:
        if amount <= 0:
            raise ValueError(f"a transfer of {amount}")
        posting = Posting()
        self._move(posting, source, what, self.currency_code, signed)
        return posting

    def _pay_in_lieu(
        self, posting: Posting, source: _Source, position: Position, fraction: Decimal, price: Decimal
    ) -> None:
        value = (fraction * price * position.multiplier).quantize(PLACE)
        self._move(posting, source, _IN_LIEU_UNITS, position.symbol, -fraction)
        self._move(posting, source, _IN_LIEU_CASH, self.currency_code, value)
        self._close(posting, position, fraction, value, position.last_price)

    def _move(self, posting: Posting, source: _Source, what: _Movement, asset: str, amount: Decimal) -> None:
        """``amount`` moves to the first of the two accounts, and so minus ``amount`` to the other."""
        transaction_id, time, tape_sequence, order_id, exec_id = source
        kind, to, other = what
        balances, sequence, less = self._balances, self.sequence, -amount
        self.sequence = sequence + 2
        key, other_key = (to, asset), (other, asset)
        balances[key] = balances.get(key, ZERO) + amount
        balances[other_key] = balances.get(other_key, ZERO) + less
        whence = (time, tape_sequence, order_id, exec_id)
        posting.entries += (
            new(Entry, (sequence + 1, transaction_id, kind, to, asset, amount, *whence)),
            new(Entry, (sequence + 2, transaction_id, kind, other, asset, less, *whence)),
        )

    def _change(self, posting: Posting, source: _Source, position: Position, signed: Decimal, price: Decimal) -> None:
        """Fold a fill of ``signed`` units into lots and position: first what it closes, then what it opens."""
        opened = signed
        if position.quantity and (position.quantity > 0) != (signed > 0):
            closes = -signed if abs(signed) <= abs(position.quantity) else position.quantity
            position = self._close(posting, position, closes, closes * price * position.multiplier, price)
            opened = signed + closes
        if opened:
            self._open(posting, source, position, opened, price)

    def _close(
        self, posting: Posting, position: Position, quantity: Decimal, value: Decimal, price: Decimal
    ) -> Position:
        """Close ``quantity`` units (signed like the position) for ``value`` of cash; ``price`` is then the last."""
        symbol, held, cost, earned, multiplier, _ = position
        closing = close_lots(self._lots[symbol], quantity, quantity == held, self._matching)
        realized = value - closing.cost
        self.realized_pnl += realized
        posting.realized_pnl += realized
        posting.closed_lots, posting.lots = closing.closed, closing.changed
        figures = (symbol, held - quantity, cost - closing.cost, earned + realized, multiplier, price)
        after = new(Position, figures)
        posting.position = self.positions[symbol] = after
        return after

    def _open(self, posting: Posting, source: _Source, position: Position, quantity: Decimal, price: Decimal) -> None:
        symbol, held, cost, earned, multiplier, _ = position
        paid = quantity * price * multiplier
        self._last_lot += 1
        lot = new(Lot, (self._last_lot, symbol, quantity, paid, multiplier, source[1], source[4]))
        self._lots.setdefault(symbol, []).append(lot)
        posting.lots.append(lot)
        after = new(Position, (symbol, held + quantity, cost + paid, earned, multiplier, price))
        posting.position = self.positions[symbol] = after
