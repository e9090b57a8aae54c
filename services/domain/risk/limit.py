"""What a limit is: what it is set for, what it looks at, and how it refuses (rules 4 and 5).

A limit is set for a portfolio, a strategy or a symbol, for a symbol of a portfolio or of a strategy, or with nothing
named for the whole environment. All that cover an order must pass. One that counts (positions, exposure, orders a
minute, equity) sums over all that it is set for. It refuses only what makes things worse: an order that reduces passes,
however far beyond a bound things are.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from decimal import Decimal
from enum import IntEnum
from typing import ClassVar, NamedTuple

from services.domain.accounting.holding import Holding
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.order import Order
from services.domain.risk.buying_power import Funds
from services.domain.risk.curve import Curve
from services.domain.risk.marks import Marks
from services.domain.risk.tally import Sums

Mark = Callable[[str], Decimal]
"""The last price of a symbol."""

ENDLESS = Decimal(10) ** 9
"""Stands for a share of nothing: exposure where there is no equity."""


class Intent(NamedTuple):
    """An order as the limits see it.

    Attributes:
        funds: the portfolio's, without this order.
        signed: units it may change the position by; of an order by cash, what it buys at ``price``.
        reference: the venue's last price.
        price: what it may trade at: what a buy pays at most, what a sale is worth at least, as far as it is known, and
            before it walks.
        notional: absolute value in the instrument's currency: at ``price``, of a buy at those that it walks to.
        cash: what the order reserves once it passes, slippage and its commission included.
        time: market time, ns.
        mark: the last price of any symbol, and what holdings come to at those.
        commission: what of the cash is set aside for commission.
        closing: signed units that it may trade if it can only close a position, a reduce-only order too; of new terms
            those that are not counted already.
        covering: units of a short that it may cover if it is reduce-only; of new terms likewise.
    """

    order: Order
    instrument: Instrument
    funds: Funds
    signed: Decimal
    reference: Decimal
    price: Decimal
    notional: Decimal
    cash: Decimal
    time: int
    mark: Marks
    commission: Decimal = ZERO
    closing: Decimal = ZERO
    covering: Decimal = ZERO

    @property
    def only_closes(self) -> bool:
        """Whether it can do no more than reduce, whatever fills before it (rule 5).

        It says so, or is a sale that sets nothing aside for a short: the venue lets that only close, see
        ``only_closes``. A buy it does not: that opens what is left of it once another order has closed the short.
        """
        return self.order.reduce_only or (self.signed < 0 and not self.cash)

    @property
    def initial_margin(self) -> Decimal:
        """What of the cash is the margin of a sale that opens a short."""
        return self.cash - self.commission if self.signed < 0 else ZERO


class Counted(NamedTuple):
    """What a limit counts.

    Attributes:
        own: what the order belongs to: its portfolio or, for a strategy's limit, its strategy's sleeve of that.
        all: that and what else is summed.
        curve: the equity curve of all of it.
    """

    own: Funds
    all: Collection[Funds]
    curve: Curve

    def holdings(self, symbol: str) -> list[tuple[str, Holding]]:
        """What is held or pending, of ``symbol`` where one is named."""
        if symbol:
            return [(symbol, each) for funds in self.all if (each := funds.holdings.get(symbol)) is not None]
        return [pair for funds in self.all for pair in funds.holdings.items()]

    def equity(self, mark: Mark) -> Decimal:
        """Cash and positions of all."""
        return sum((funds.equity(mark) for funds in self.all), Decimal(0))

    def sums(self, marks: Marks) -> Iterator[Sums]:
        """What all holdings of each come to at the last prices."""
        return map(marks.sums, self.all)

    def equity_now(self, marks: Marks) -> Decimal:
        """The equity at the last prices."""
        return sum((funds.cash + marks.sums(funds).value for funds in self.all), ZERO)


Measure = tuple[Decimal, Decimal]
"""The bound that holds for an order, and the value that it makes of the figure: it passes where that is no larger."""


class Standing(NamedTuple):
    """Where a limited figure stands with no further order; ``symbol`` is the one whose figure it is, if it is one's."""

    value: Decimal
    symbol: str = ""


class Where(NamedTuple):
    """What a limit is set for; nothing named is the whole environment."""

    portfolio_id: str = ""
    strategy_id: str = ""
    symbol: str = ""

    def covers(self, portfolio_id: str, strategy_id: str, symbol: str) -> bool:
        """Whether an order of these is one of its."""
        return (
            self.portfolio_id in {"", portfolio_id}
            and self.strategy_id in {"", strategy_id}
            and self.symbol in {"", symbol}
        )

    @property
    def breadth(self) -> "Breadth":
        """What is summed for it."""
        return Breadth.PORTFOLIO if self.portfolio_id else Breadth.STRATEGY if self.strategy_id else Breadth.ALL


class Breadth(IntEnum):
    """What a limit sums over: one portfolio, a strategy's part of every portfolio, or all portfolios."""

    PORTFOLIO = 0
    STRATEGY = 1
    ALL = 2


EVERYWHERE = Where()
PLACES = frozenset(
    {
        frozenset[str](),
        frozenset({"portfolio_id"}),
        frozenset({"strategy_id"}),
        frozenset({"symbol"}),
        frozenset({"portfolio_id", "symbol"}),
        frozenset({"strategy_id", "symbol"}),
    }
)
"""What a limit can be set for: the names that are given."""


@dataclass(frozen=True, slots=True)
class Limit(ABC):
    """One bound.

    Attributes:
        bound: the largest value that passes.
        where: what it is set for.
    """

    bound: Decimal
    where: Where = EVERYWHERE

    name: ClassVar[str]
    reason: ClassVar[str] = "LIMIT_EXCEEDED"
    places: ClassVar[Collection[frozenset[str]]] = PLACES
    switch: ClassVar[bool] = False
    """Whether its bound is 0 or 1: off or on."""
    whole: ClassVar[bool] = False
    """Whether it counts, so that its bound is a whole number."""
    above_zero: ClassVar[bool] = False
    """Whether a bound of 0 cannot be set."""
    of_curve: ClassVar[bool] = False
    """Whether it looks at where the equity curve stands."""
    bare: ClassVar[bool] = False
    """Whether a refusal has no figures: the limit is on, and there is nothing to measure."""
    tells_missing: ClassVar[bool] = False
    """Whether a refusal says by how much the value is beyond the bound: what would have to be there."""

    @property
    def needs_detail(self) -> bool:
        """Whether it looks at strategies' sleeves or equity curves, which not every gate keeps."""
        return self.of_curve or bool(self.where.strategy_id)

    @abstractmethod
    def measure(self, intent: Intent, counted: Counted) -> Measure | None:
        """The bound, and what the order makes of the limited figure; None where it does not add to it."""

    def standing(self, counted: Counted, mark: Mark) -> Standing | None:
        """Where the figure stands; None for a limit of single orders."""
        return None


class Checked(NamedTuple):
    """One limit that a check asked: what it is set for, and of a figure its bound and what the order made it."""

    limit: str
    where: Where
    bound: Decimal | None
    value: Decimal | None


def adds(intent: Intent) -> tuple[Decimal, Decimal]:
    """The units by which an order may open more, and those that can only close: one of them is none."""
    return (ZERO, abs(intent.closing)) if intent.only_closes else (abs(intent.signed), ZERO)


def opens(intent: Intent, own: Funds) -> Decimal:
    """Units by which an order that only closes lets open orders go further: what they would have closed, they open.

    It opens nothing itself, so of a limit that is all that concerns it. In a strategy's part it may go through zero.
    """
    side, holding = intent.order.side, own.holding(intent.order.symbol)
    return holding.extreme(side, *adds(intent)) - holding.extreme(side)


def reduces(intent: Intent, own: Funds) -> bool:
    """Whether all that the order may trade only closes what is held in ``own``, and no other order opens for it."""
    if intent.only_closes:
        return not opens(intent, own)
    return closing(intent, own) == abs(intent.signed)


def closing(intent: Intent, own: Funds) -> Decimal:
    """How many units of the order only close what is held in ``own``: none for sure of one that the fill sizes."""
    return ZERO if intent.order.cash_quantity is not None else own.holding(intent.order.symbol).closing(intent.signed)
