"""One number for what trading came to: equal digests are equal fills, refusals and ledgers, portfolio by portfolio.

The backtest makes it of its own results, a replay of what the services list. So it holds nothing that differs between
two runs of the same tape: no ids of environments, portfolios or orders, no wall time, no order of portfolios.
"""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from services.domain.accounting.ledger import Entry
from services.domain.money import format_decimal
from services.domain.orders.order import ExecType, OrderEvent


class FillLine(NamedTuple):
    """One fill. ``side`` is BUY or SELL; ``transact_time`` is ns."""

    tape_sequence: int
    client_order_id: str
    symbol: str
    side: str
    quantity: Decimal
    price: Decimal
    transact_time: int


class RefusalLine(NamedTuple):
    """One refused order, with the bound that it hit."""

    client_order_id: str
    reason: str
    limit: str
    bound: Decimal
    value: Decimal


class EntryLine(NamedTuple):
    """One ledger entry. ``kind`` and ``account`` by name; ``asset`` is a currency or a symbol; ``time`` is ns."""

    sequence: int
    kind: str
    account: str
    asset: str
    amount: Decimal
    time: int
    tape_sequence: int


@dataclass(slots=True)
class History:
    """What happened to one portfolio, each list in the order it happened.

    Attributes:
        label: its display name, which is all that identifies it in a digest.
    """

    label: str
    fills: list[FillLine] = field(default_factory=list)
    refusals: list[RefusalLine] = field(default_factory=list)
    entries: list[EntryLine] = field(default_factory=list)


def history(label: str, events: Iterable[OrderEvent], entries: Iterable[Entry]) -> History:
    """What order events and ledger entries of one portfolio come to, in the domain's own values."""
    made = History(label)
    for event in events:
        order, refusal = event.order, event.order.refusal
        if event.exec_type is ExecType.TRADE:
            what = (order.client_order_id, order.symbol, order.side.name, event.last_quantity, event.last_price)
            made.fills.append(FillLine(event.tape_sequence, *what, event.transact_time))
        elif event.exec_type is ExecType.REJECTED and refusal is not None:
            why = (refusal.reason, refusal.limit, refusal.bound, refusal.value)
            made.refusals.append(RefusalLine(order.client_order_id, *why))
    for entry in entries:
        moved = (entry.kind.value, entry.account.value, entry.asset, entry.amount)
        made.entries.append(EntryLine(entry.sequence, *moved, entry.time, entry.tape_sequence))
    return made


def digest(histories: Iterable[History]) -> str:
    """The sha256, in hex, of the portfolios by label: fills, refusals, entries, a line each.

    Decimals count by value (``1.0`` is ``1``), to the nine places that the wire carries. Portfolios of one
    label are told apart by what is in them.
    """
    total = hashlib.sha256()
    for _, text in sorted((history.label, _written(history)) for history in histories):
        total.update(text.encode())
    return total.hexdigest()


def _written(history: History) -> str:
    lines = [f"portfolio|{history.label!r}\n"]
    for name, found in (("fill", history.fills), ("refusal", history.refusals), ("entry", history.entries)):
        lines += [f"{name}|{'|'.join(map(_text, line))}\n" for line in found]
    return "".join(lines)


def _text(value: object) -> str:
    return format_decimal(value) if isinstance(value, Decimal) else str(value)
