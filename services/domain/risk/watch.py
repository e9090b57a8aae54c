"""Warns before a limit is reached, as a figure goes beyond it, and of a margin call: each once, until it calms down."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from services.domain.money import ZERO
from services.domain.risk.equity_limits import MaintenanceMargin
from services.domain.risk.limit import Where
from services.domain.risk.valued import Margin, Usage

CALM = Decimal("0.9")
"""Of what was passed: below it a figure has come back. So one that moves around a bound does not flutter."""


class AlarmKind(StrEnum):
    """What is told."""

    NEAR_BREACH = "NEAR_BREACH"
    EXCEEDED = "EXCEEDED"
    CLEARED = "CLEARED"
    MARGIN_CALL = "MARGIN_CALL"


class Alarm(NamedTuple):
    """A figure came near its bound or went beyond it, calmed down, or the equity fell below the margin.

    Attributes:
        limit: the limit's name.
        symbol: whose figure it is, where it is one symbol's.
    """

    kind: AlarmKind
    limit: str
    where: Where
    symbol: str
    bound: Decimal
    value: Decimal


Told = tuple[str, Where, AlarmKind]
"""A limit of whose figure something was told that still holds, and what."""


class Watch:
    """What was told of figures that have not calmed down yet: the last alarm of a limit says where its figure stands.

    A figure is near beyond a share of its bound. One that was beyond the bound is near again only below ``CALM`` of
    that, and one that was near is calm below ``CALM`` of what warns.
    """

    def __init__(self, share: Decimal, told: Iterable[Told] = ()) -> None:
        """Warns beyond ``share`` of a bound."""
        self._share = share
        self._told = {(limit, where): kind for limit, where, kind in told}

    @property
    def told(self) -> list[Told]:
        """What holds, to be stored."""
        return sorted((*key, kind) for key, kind in self._told.items())

    def forget(self, limit: str, where: Where) -> None:
        """The limit is gone."""
        self._told.pop((limit, where), None)

    def look(self, usages: Iterable[Usage], margins: Iterable[Margin]) -> list[Alarm]:
        """What is new, of these figures."""
        alarms = []
        for limit, (value, symbol) in usages:
            now = self._stands(self._told.get((limit.name, limit.where)), limit.bound, value)
            if (kind := self._turn((limit.name, limit.where), now)) is not None:
                alarms.append(Alarm(kind, limit.name, limit.where, symbol, limit.bound, value))
        for portfolio_id, equity, required in margins:
            where = Where(portfolio_id)
            now = AlarmKind.MARGIN_CALL if required > equity else None
            if (kind := self._turn((MaintenanceMargin.name, where), now)) is not None:
                alarms.append(Alarm(kind, MaintenanceMargin.name, where, "", equity, required))
        return alarms

    def _stands(self, before: AlarmKind | None, bound: Decimal, value: Decimal) -> AlarmKind | None:
        """Where a figure stands; None where it is calm."""
        near = self._share * bound
        if value > bound:
            return AlarmKind.EXCEEDED
        if value == ZERO or value < CALM * near:
            return None
        if before is AlarmKind.EXCEEDED and value >= CALM * bound:
            return before
        return AlarmKind.NEAR_BREACH if value > near or before is not None else None

    def _turn(self, key: tuple[str, Where], now: AlarmKind | None) -> AlarmKind | None:
        """What is to be told, where that is new."""
        if now is self._told.get(key):
            return None
        if now is None:
            del self._told[key]
            return AlarmKind.CLEARED
        self._told[key] = now
        return now
