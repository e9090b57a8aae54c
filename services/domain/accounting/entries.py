"""What books are made of: entries, positions, and what one event did to them."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from services.domain.accounting.lots import Lot
from services.domain.money import ZERO, decimal_of


def as_decimal(value: Decimal | float) -> Decimal:
    """A mark as a decimal, whether it comes from the tape (a double) or from the books."""
    return value if isinstance(value, Decimal) else decimal_of(value)


class EntryKind(StrEnum):
    """Why something moved."""

    DEPOSIT = "DEPOSIT"
    WITHDRAWAL = "WITHDRAWAL"
    TRADE = "TRADE"
    COMMISSION = "COMMISSION"
    SPLIT = "SPLIT"
    CASH_IN_LIEU = "CASH_IN_LIEU"


class Account(StrEnum):
    """Where it moved. The portfolio owns CASH and POSITION; the others are the world's side."""

    CASH = "CASH"
    POSITION = "POSITION"
    EXTERNAL = "EXTERNAL"
    MARKET = "MARKET"
    FEES = "FEES"


class Entry(NamedTuple):
    """One posting to one account.

    Attributes:
        sequence: from 1 without gaps in the portfolio.
        transaction_id: shared by the entries which sum to zero: a fill's exec_id, a transfer's id.
        asset: a currency code, or a symbol.
        amount: signed; money in the currency's units, positions in units of the instrument.
        time: market time, ns.
    """

    sequence: int
    transaction_id: str
    kind: EntryKind
    account: Account
    asset: str
    amount: Decimal
    time: int
    tape_sequence: int
    order_id: str = ""
    exec_id: str = ""


class Position(NamedTuple):
    """What is held of one symbol; it stays, flat, when all is closed.

    Attributes:
        quantity: signed units.
        cost: of the open units, in the instrument's currency; negative for the proceeds of a short.
        realized_pnl: of closed units, before commission.
        last_price: of the last fill, in today's units.
    """

    symbol: str
    quantity: Decimal = ZERO
    cost: Decimal = ZERO
    realized_pnl: Decimal = ZERO
    multiplier: Decimal = Decimal(1)
    last_price: Decimal = ZERO

    @property
    def avg_price(self) -> Decimal:
        """The average opening price of what is held, zero when flat; the context's precision where it must round."""
        units = self.quantity * self.multiplier
        return self.cost / units if units else ZERO

    def market_value(self, mark: Decimal | float) -> Decimal:
        """What it is worth at ``mark``; negative for a short."""
        return self.quantity * self.multiplier * as_decimal(mark)

    def unrealized_pnl(self, mark: Decimal | float) -> Decimal:
        """What closing all of it at ``mark`` would gain."""
        return self.market_value(mark) - self.cost


@dataclass(slots=True)
class Posting:
    """What one event did to the books; iterating gives its entries.

    Attributes:
        position: as it is now; None for movements of cash alone.
        lots: those opened or changed, as they are now.
        closed_lots: those gone, as they were.
        realized_pnl: of this event, before commission.
    """

    entries: list[Entry] = field(default_factory=list)
    position: Position | None = None
    lots: list[Lot] = field(default_factory=list)
    closed_lots: list[Lot] = field(default_factory=list)
    realized_pnl: Decimal = ZERO

    def __iter__(self) -> Iterator[Entry]:
        return iter(self.entries)

    def __len__(self) -> int:
        return len(self.entries)
