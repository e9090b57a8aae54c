"""What the service's parts hand each other: what is asked for, what is posted, what a step changed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import NamedTuple

from services.chassis.errors import ApiError
from services.domain.accounting.books import EquityPoint
from services.domain.accounting.entries import Account, Entry, Position
from services.domain.accounting.ledger import Ledger
from services.domain.accounting.lots import Lot
from services.domain.orders.order import OrderEvent
from services.wire.cycle import Fold


@dataclass(frozen=True, slots=True)
class Opening:
    """What somebody asks for: a portfolio with its first deposit."""

    portfolio_id: str
    environment_id: str
    display_name: str
    currency_code: str
    initial_cash: Decimal
    request_id: str = ""
    principal: str = "local"


@dataclass(frozen=True, slots=True)
class Portfolio:
    """What never changes of a portfolio. `number` counts all of them from 1; `create_time` is wall time, ns."""

    portfolio_id: str
    environment_id: str
    number: int
    display_name: str
    currency_code: str
    initial_cash: Decimal
    request_id: str
    opening_ledger_sequence: int
    create_time: int
    principal: str
    owner: str

    def answers(self, opening: Opening) -> bool:
        """Whether this is the portfolio that is asked for, value by value; an id that is not named is any."""
        return (
            opening.portfolio_id in {"", self.portfolio_id}
            and self.environment_id == opening.environment_id
            and self.display_name == (opening.display_name or self.portfolio_id)
            and self.currency_code == opening.currency_code
            and self.initial_cash == opening.initial_cash
        )


class Register:
    """All portfolios by id and by the request that made them."""

    def __init__(self) -> None:
        self._portfolios: dict[str, Portfolio] = {}
        self._requests: dict[str, Portfolio] = {}
        self._last = 0

    def add(self, portfolio: Portfolio) -> None:
        """Takes in a portfolio."""
        self._portfolios[portfolio.portfolio_id] = portfolio
        if portfolio.request_id:
            self._requests[portfolio.request_id] = portfolio
        self._last = max(self._last, portfolio.number)

    def next(self, wanted: str) -> tuple[int, str]:
        """The number of the next portfolio, and its id: the wanted one, or where none is wanted one that is free."""
        number = free = self._last + 1
        while f"portfolio-{free}" in self._portfolios:
            free += 1
        return number, wanted or f"portfolio-{free}"

    def find(self, portfolio_id: str) -> Portfolio:
        """The portfolio of this id.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`.
        """
        found = self._portfolios.get(portfolio_id)
        if found is None:
            raise ApiError.not_found("portfolio", portfolio_id, "PORTFOLIO_NOT_FOUND")
        return found

    def answer(self, opening: Opening) -> Portfolio | None:
        """The portfolio that this request made, or one of the same id and values.

        Raises:
            ApiError: ALREADY_EXISTS `REQUEST_ID_REUSED` or `ALREADY_EXISTS`, for other values.
        """
        made = self._requests.get(opening.request_id)
        if made is not None and not made.answers(opening):
            more = {"portfolio_id": made.portfolio_id}
            raise ApiError.already_exists("request", opening.request_id, "REQUEST_ID_REUSED", metadata=more)
        found = made or self._portfolios.get(opening.portfolio_id)
        if found is not None and not found.answers(opening):
            raise ApiError.already_exists("portfolio", opening.portfolio_id, "ALREADY_EXISTS")
        return found


class Fill(NamedTuple):
    """An order event that traded, its number, and what its entries take from it."""

    sequence: int
    event: OrderEvent
    traceparent: str = ""
    principal: str = "local"


class Posted(NamedTuple):
    """A ledger entry with its number in the environment and what it was caused by; `create_time` is wall time, ns."""

    environment_id: str
    sequence: int
    portfolio_id: str
    entry: Entry
    balance: Decimal
    create_time: int
    traceparent: str
    principal: str
    owner: str
    split: tuple[Decimal, Decimal] | None


class EntryKey(NamedTuple):
    """What subscriptions filter entries by; `symbol` only where the entry changes a position."""

    portfolio_id: str
    kind: str
    symbol: str


@dataclass(frozen=True, slots=True)
class Cursor:
    """How far an environment is folded.

    Attributes:
        cycle: the last cycle that was folded.
        market_time: of `tape_sequence`, ns.
        order_sequence: the last order event counted.
        ledger_sequence: the last entry made.
        applied: the last entry made when `cycle` had been folded: what a repeat of it is told.
        ended: whether the environment has ended, so that nothing more will come.
    """

    environment_id: str
    cycle: int = 0
    tape_sequence: int = 0
    market_time: int = 0
    order_sequence: int = 0
    ledger_sequence: int = 0
    applied: int = 0
    ended: bool = False

    def covers(self, step: Fold) -> bool:
        """Whether this step, or a later one, is folded already."""
        if step.cycle != self.cycle:
            return step.cycle < self.cycle
        return step.tape_sequence <= self.tape_sequence and step.order_head <= self.order_sequence


@dataclass(slots=True)
class Kept:
    """A portfolio and its ledger.

    Attributes:
        ledger_sequence: its last entry's number in the environment.
        last_lot: its last lot's number.
        valued: the position of its last equity point.
    """

    portfolio: Portfolio
    ledger: Ledger
    ledger_sequence: int = 0
    last_lot: int = 0
    valued: int = 0


@dataclass(slots=True)
class Change:
    """What one step changed and is stored at once.

    Attributes:
        marks: the last price of every symbol that was ever held, with its instrument's places.
        kept: all portfolios of the environment.
        changed: ids of those with new entries.
        positions, lots, balances: those that changed, by portfolio and key.
        closed_lots: (portfolio, lot) of those gone.
    """

    cursor: Cursor
    marks: dict[str, Decimal]
    kept: Mapping[str, Kept]
    opened: Portfolio | None = None
    entries: list[Posted] = field(default_factory=list)
    changed: dict[str, None] = field(default_factory=dict)
    positions: dict[tuple[str, str], Position] = field(default_factory=dict)
    lots: dict[tuple[str, int], Lot] = field(default_factory=dict)
    closed_lots: dict[tuple[str, int], None] = field(default_factory=dict)
    balances: dict[tuple[str, Account, str], Decimal] = field(default_factory=dict)
    points: list[EquityPoint] = field(default_factory=list)
