"""The rows that the service keeps."""

from __future__ import annotations

from dataclasses import dataclass, fields
from decimal import Decimal
from typing import Any, Final, NamedTuple

from services.domain.values import quick_replace


@dataclass(slots=True)
class EnvironmentRow:
    """Where the desk of one environment stands.

    Attributes:
        ended: the tape has ended here: what rested has expired.
        tape_sequence, market_time: the venue's position, and its market time (ns).
        cycle, reached_head: the last grant that was answered, and the head it was answered with.
        head: the last event's sequence.
        order_count: orders so far, refused ones too; the last one's number.
        epoch: of the last connection to risk.
    """

    environment_id: str
    ended: bool = False
    tape_sequence: int = 0
    market_time: int = 0
    cycle: int = 0
    reached_head: int = 0
    head: int = 0
    order_count: int = 0
    epoch: int = 0
    principal: str = ""
    owner: str = ""

    def row(self) -> dict[str, Any]:
        """The columns."""
        return {name: getattr(self, name) for name in _ENVIRONMENT_COLUMNS}


_ENVIRONMENT_COLUMNS: Final = tuple(field.name for field in fields(EnvironmentRow))


@quick_replace
class PortfolioRow(NamedTuple):
    """A portfolio that has traded: its environment, the entry that opened it, and its headroom at the venue."""

    portfolio_id: str
    environment_id: str
    opening_ledger_sequence: int
    headroom: Decimal
    principal: str
    owner: str


class PositionRow(NamedTuple):
    """What a portfolio holds of a symbol by the venue's fills: signed units, as of a tape position.

    Attributes:
        collateral: cash that is held against a short.
    """

    environment_id: str
    portfolio_id: str
    symbol: str
    quantity: Decimal
    tape_sequence: int
    principal: str
    owner: str
    collateral: Decimal


class RequestRow(NamedTuple):
    """A request that was done and must not be done again: its id, unique in its environment, and what it asked for."""

    environment_id: str
    request_id: str
    asked: str
    principal: str
    owner: str


class TimerRow(NamedTuple):
    """A cancel timer: of one portfolio, or of all its principal's where that is empty.

    Attributes:
        trigger_time: wall time, ns; 0 where it is not armed.
    """

    environment_id: str
    portfolio_id: str
    principal: str
    trigger_time: int
    owner: str


class RunawayRow(NamedTuple):
    """A portfolio whose orders began to be turned away at the door, of which risk has not heard yet.

    Attributes:
        bound: orders a second.
        value: the number of the first one in its second that was turned away.
        begin_time: when that was, wall time, ns.
        principal: who sent it.
    """

    environment_id: str
    portfolio_id: str
    bound: Decimal
    value: int
    begin_time: int
    principal: str
    owner: str


class ModelRow(NamedTuple):
    """A version of a venue model: its number in its environment, and the public message, encoded."""

    environment_id: str
    sequence: int
    venue_model_id: str
    payload: bytes
    principal: str
    owner: str


class OrderRow(NamedTuple):
    """An order: what was asked for under its client's key, and its last event."""

    client_key: str
    asked: str
    payload: bytes


class EventRow(NamedTuple):
    """An event as streams need it."""

    sequence: int
    portfolio_id: str
    exec_type: int
    payload: bytes


class PageRow(NamedTuple):
    """One element of a list: an event's payload, and what it is sorted by.

    Attributes:
        time: market time, ns.
        sequence: of the event; of an order, that of its first.
    """

    environment_id: str
    time: int
    sequence: int
    payload: bytes
