"""A gate's portfolios at their marks: exposure, equity curves, and where the limited figures stand (rule 32c)."""

from collections.abc import Collection, Iterator
from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.risk.buying_power import Funds
from services.domain.risk.claims import Claims
from services.domain.risk.curve import Curve
from services.domain.risk.exposure import Exposure, exposure_of
from services.domain.risk.limit import Breadth, Counted, Limit, Mark, Standing, Where
from services.domain.risk.limits import LimitBook
from services.domain.risk.marks import Marks


class Usage(NamedTuple):
    """A limit that is set, and where its figure stands."""

    limit: Limit
    standing: Standing


class Margin(NamedTuple):
    """What a portfolio with shorts is worth, and must be at least."""

    portfolio_id: str
    equity: Decimal
    required: Decimal


class Valued(Claims):
    """Funds and claims, with marks, equity curves and limits."""

    def __init__(self, *, detailed: bool = False) -> None:
        """No portfolios, no marks, no limits; see ``Claims`` for ``detailed``."""
        super().__init__(detailed=detailed)
        self._limits = LimitBook()
        self._marks = Marks()
        self._curve = Curve()
        self._filled: dict[str, int] = {}

    @property
    def detailed(self) -> bool:
        """Whether strategies' sleeves and equity curves are kept."""
        return self._detailed

    @property
    def filled(self) -> dict[str, int]:
        """The portfolios whose fills are yet to be valued, by the tape position of the fills."""
        return self._filled

    def set_limit(self, limit: Limit) -> None:
        """Set a limit, in place of one of the same name for the same.

        Raises:
            ValueError: only a detailed gate knows what it counts.
        """
        if not self._detailed and limit.needs_detail:
            raise ValueError(f"{limit.name} of {limit.where}: this gate does not know what it counts")
        self._limits.set(limit)

    def delete_limit(self, name: str, portfolio_id: str = "", strategy_id: str = "", symbol: str = "") -> bool:
        """Take a limit away (``short_sale`` returns to its default, not allowed); whether there was one."""
        return self._limits.delete(name, Where(portfolio_id, strategy_id, symbol))

    def limits(self) -> list[Limit]:
        """All that are set, by what they are set for, each in the order of checks."""
        return list(self._limits)

    def mark(self, symbol: str, price: Decimal | float) -> None:
        """The last price of ``symbol``, in today's units."""
        self._marks.set(symbol, price)

    def point(self, portfolio_id: str, mark: Mark) -> None:
        """A point of the portfolio's equity curve: its fills count, at the prices that ``mark`` knows."""
        self._filled.pop(portfolio_id, None)
        funds = self._funds[portfolio_id]
        funds.curve.point(funds.equity(mark))

    def close(self, mark: Mark) -> None:
        """A session has closed at the prices that ``mark`` knows: a point of every curve, where the next day begins."""
        total = ZERO
        for funds in self._funds.values():
            equity = funds.equity(mark)
            funds.curve.close(equity)
            total += equity
            for sleeve in funds.sleeves.values():
                sleeve.curve.close(sleeve.equity(mark))
        self._curve.close(total)

    def exposure(self, portfolio_id: str) -> Exposure:
        """The portfolio's figures.

        Raises:
            KeyError: there is no such portfolio.
        """
        return exposure_of(portfolio_id, self._funds[portfolio_id], self._limits.maintenance(portfolio_id), self._marks)

    def usages(self, portfolio_ids: Collection[str] | None = None, mark: Mark | None = None) -> list[Usage]:
        """Where the figures of all limits stand that have one, in the order of limits.

        Args:
            portfolio_ids: only those that count one of these, where given.
            mark: the prices; those of the last marks where not given.
        """
        return list(self._usages(portfolio_ids, mark or self._marks))

    def margins(self, portfolio_ids: Collection[str] | None = None, mark: Mark | None = None) -> list[Margin]:
        """What portfolios with shorts must be worth, and are; ``portfolio_ids`` and ``mark`` as for ``usages``."""
        mark = mark or self._marks
        chosen = self._funds if portfolio_ids is None else portfolio_ids
        return [
            Margin(each, funds.equity(mark), self._limits.maintenance(each).required(funds, mark))
            for each in chosen
            if (funds := self._funds.get(each)) is not None and funds.collateral
        ]

    def _usages(self, portfolio_ids: Collection[str] | None, mark: Mark) -> Iterator[Usage]:
        for limit in self._limits:
            portfolio_id, strategy_id, _ = limit.where
            if portfolio_id and (
                portfolio_id not in self._funds or (portfolio_ids is not None and portfolio_id not in portfolio_ids)
            ):
                continue
            own = self._funds[portfolio_id] if portfolio_id else Funds()
            standing = limit.standing(self._counted(limit.where.breadth, own, strategy_id), mark)
            if standing is not None:
                yield Usage(limit, standing)

    def _counted(self, breadth: Breadth, funds: Funds, strategy_id: str) -> Counted:
        """What a limit of this breadth counts, for an order of a portfolio and a strategy."""
        if breadth is Breadth.PORTFOLIO:
            return Counted(funds, (funds,), funds.curve)
        if breadth is Breadth.ALL:
            return Counted(funds, self._funds.values(), self._curve)
        sleeves = [each.sleeves[strategy_id] for each in self._funds.values() if strategy_id in each.sleeves]
        total = Curve(sum((each.curve.opened for each in sleeves), ZERO))
        return Counted(funds.sleeve(strategy_id), sleeves, total)

    def _flow(self, funds: Funds, amount: Decimal) -> None:
        """Cash came from outside, or went there."""
        funds.curve.flow(amount)
        self._curve.flow(amount)
