"""All limits there are, those that are set, which of them hold for an order, and the kill switch (rules 4 and 5)."""

from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.orders.order import INITIAL_MARGIN, Order
from services.domain.risk.equity_limits import (
    MAINTENANCE_MARGIN,
    InitialMargin,
    MaintenanceMargin,
    MaxDailyLoss,
    MaxDrawdown,
)
from services.domain.risk.limit import Breadth, Limit, Where
from services.domain.risk.order_limits import (
    BuyingPower,
    MaxOrderNotional,
    MaxOrderQuantity,
    MaxOrderRate,
    PriceBand,
    Restricted,
    ShortSale,
)
from services.domain.risk.position_limits import (
    MaxConcentration,
    MaxGrossExposure,
    MaxLeverage,
    MaxNetExposure,
    MaxPositionNotional,
    MaxPositionQuantity,
)


class NoSuchLimit(ValueError):
    """A limit that there cannot be.

    Attributes:
        bounded: whether another bound would do; else the limit is wrong for what is named.
    """

    def __init__(self, message: str, *, bounded: bool = False) -> None:
        super().__init__(message)
        self.bounded = bounded


ORDERED: tuple[type[Limit], ...] = (
    Restricted,
    MaxDailyLoss,
    MaxDrawdown,
    PriceBand,
    MaxOrderNotional,
    MaxOrderQuantity,
    MaxOrderRate,
    MaxPositionQuantity,
    MaxPositionNotional,
    MaxGrossExposure,
    MaxNetExposure,
    MaxLeverage,
    MaxConcentration,
    ShortSale,
    InitialMargin,
    MaintenanceMargin,
    BuyingPower,
)
"""In the order they are checked, after the kill switch: the first that fails is the refusal."""
_SETTABLE = {kind.name: kind for kind in ORDERED if kind.places}
_RANK = {kind.name: rank for rank, kind in enumerate(ORDERED)}


def make_limit(
    name: str,
    bound: Decimal,
    portfolio_id: str = "",
    strategy_id: str = "",
    symbol: str = "",
    *,
    stored: bool = False,
) -> Limit:
    """The limit of that name, for what is named.

    Args:
        stored: somebody set it before. An initial margin of nothing was let pass once, and so was part of an
            order a minute: they may still be there.

    Raises:
        NoSuchLimit: none that can be set has this name, its bound cannot be this, or it cannot be set for these.
    """
    kind = _SETTABLE.get(name)
    if kind is None:
        raise NoSuchLimit(f"no limit is called {name!r}; there are {', '.join(_SETTABLE)}")
    if kind.switch and bound not in {0, 1}:
        raise NoSuchLimit(f"{name} is a switch: its bound is 1 for on or 0 for off, not {bound}", bounded=True)
    if kind.whole and bound % 1 and not stored:
        raise NoSuchLimit(f"the bound of {name} counts: it is a whole number, not {bound}", bounded=True)
    if bound < 0 or (kind.above_zero and not bound and not stored):
        least = "above 0" if kind.above_zero else "at least 0"
        raise NoSuchLimit(f"the bound of {name} is {least}, not {bound}", bounded=True)
    where = Where(portfolio_id, strategy_id, symbol)
    named = frozenset(each for each, given in zip(Where._fields, where, strict=True) if given)
    if named not in kind.places:
        wanted = ", ".join(sorted(map(_words, kind.places), key=lambda words: (len(words.split(" and ")), words)))
        raise NoSuchLimit(f"{name} is set for {wanted}; not for {_words(named)}")
    return kind(bound, where)


def _words(named: frozenset[str]) -> str:
    return " and ".join(f"a {each.removesuffix('_id')}" for each in Where._fields if each in named) or "an environment"


class LimitChange(NamedTuple):
    """A limit is set, or deleted: for the orders after the first ``order_count`` ones."""

    order_count: int
    limit: Limit
    deleted: bool = False


class Asked(NamedTuple):
    """A limit that holds for an order, what it sums over, and whether somebody set it."""

    limit: Limit
    breadth: Breadth
    told: bool


_RATES = (InitialMargin, MaintenanceMargin)
_MARGIN = MaintenanceMargin(MAINTENANCE_MARGIN)
_ALWAYS = tuple(Asked(limit, Breadth.PORTFOLIO, told=False) for limit in (ShortSale(ZERO), _MARGIN, BuyingPower(ZERO)))


class LimitBook:
    """The limits that are set; which of them hold is compiled once for each portfolio, strategy and symbol.

    Attributes:
        rated: whether an initial margin is set.
    """

    def __init__(self) -> None:
        """None are set."""
        self._limits: dict[tuple[str, Where], Limit] = {}
        self._plans: dict[tuple[str, str, str], tuple[Asked, ...]] = {}
        self._margins: dict[tuple[str, str], Decimal] = {}
        self.rated = False

    def __bool__(self) -> bool:
        """Whether any is set."""
        return bool(self._limits)

    def __iter__(self) -> Iterator[Limit]:
        """All that are set, by what they are set for, each in the order of checks."""
        return iter(sorted(self._limits.values(), key=lambda limit: (limit.where, _RANK[limit.name])))

    def set(self, limit: Limit) -> None:
        """Set a limit, in place of one of the same name for the same."""
        self._limits[limit.name, limit.where] = limit
        self._forget()

    def delete(self, name: str, where: Where) -> bool:
        """Take a limit away, or back to its default; whether there was one."""
        found = self._limits.pop((name, where), None) is not None
        self._forget()
        return found

    def plan(self, order: Order) -> tuple[Asked, ...]:
        """The limits that hold for an order in the order of checks, the narrower before the wider."""
        if not self._limits:
            return _ALWAYS
        key = (order.portfolio_id, order.strategy_id, order.symbol)
        plan = self._plans.get(key)
        if plan is None:
            plan = self._plans[key] = self._compile(*key)
        return plan

    def initial_margin(self, portfolio_id: str, symbol: str) -> Decimal:
        """What a short sale needs beside its proceeds, as a fraction."""
        margin = self._margins.get((portfolio_id, symbol))
        if margin is None:
            rate = self._narrowest(InitialMargin, portfolio_id, symbol)
            margin = self._margins[portfolio_id, symbol] = INITIAL_MARGIN if rate is None else rate.bound
        return margin

    def maintenance(self, portfolio_id: str) -> MaintenanceMargin:
        """What a portfolio with shorts must have."""
        found = self._narrowest(MaintenanceMargin, portfolio_id, "")
        return found if isinstance(found, MaintenanceMargin) else _MARGIN

    def _forget(self) -> None:
        self._plans.clear()
        self._margins.clear()
        self.rated = any(isinstance(limit, InitialMargin) for limit in self._limits.values())

    def _compile(self, portfolio_id: str, strategy_id: str, symbol: str) -> tuple[Asked, ...]:
        found = [
            Asked(limit, limit.where.breadth, told=True)
            for limit in self._limits.values()
            if limit.where.covers(portfolio_id, strategy_id, symbol) and not isinstance(limit, _RATES)
        ]
        rate = self.maintenance(portfolio_id)
        found += [Asked(rate, Breadth.PORTFOLIO, told=rate is not _MARGIN)]
        set_already = {type(each.limit) for each in found}
        found += [each for each in _ALWAYS if type(each.limit) not in set_already]
        return tuple(sorted(found, key=lambda each: (_RANK[each.limit.name], *_width(each.limit.where))))

    def _narrowest(self, kind: type[Limit], portfolio_id: str, symbol: str) -> Limit | None:
        covering = (
            limit
            for limit in self._limits.values()
            if isinstance(limit, kind) and limit.where.covers(portfolio_id, "", symbol)
        )
        return min(covering, key=lambda limit: _width(limit.where), default=None)


def _width(where: Where) -> tuple[int, int]:
    """A portfolio's limits come before a strategy's and those before all others', each with a symbol first."""
    return where.breadth, not where.symbol


class KillScope(NamedTuple):
    """Whose orders a kill switch stops: a portfolio's, a strategy's, or with neither given all of the environment."""

    portfolio_id: str = ""
    strategy_id: str = ""

    def covers(self, order: Order) -> bool:
        """Whether ``order`` is one of them."""
        return self.portfolio_id in {"", order.portfolio_id} and self.strategy_id in {"", order.strategy_id}


class KillSwitch(NamedTuple):
    """How a kill switch is engaged: whether orders that only reduce still pass, and why, for people."""

    allow_reducing: bool = False
    reason: str = ""


def stopping(kills: Mapping[KillScope, KillSwitch], order: Order, reducing: bool) -> KillScope | None:
    """The scope of the widest switch that stops an order, if one does."""
    engaged = kills.items()
    found = (scope for scope, kill in engaged if scope.covers(order) and not (kill.allow_reducing and reducing))
    return min(found, default=None)
