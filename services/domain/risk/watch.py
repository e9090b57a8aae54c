"""Warns before a limit is reached, and of a margin call: once each, and again only after it has calmed down."""

from collections.abc import Iterable
from decimal import Decimal
from enum import StrEnum
from typing import NamedTuple

from services.domain.money import ZERO, exactly
from services.domain.risk.equity_limits import MaintenanceMargin
from services.domain.risk.limit import Where
from services.domain.risk.valued import Margin, Usage

CALM = Decimal("0.9")
"""Of what warns: below it a figure has calmed down. So one that moves around a bound does not flutter."""


class AlarmKind(StrEnum):
    """What is told."""

    NEAR_BREACH = "NEAR_BREACH"
    CLEARED = "CLEARED"
    MARGIN_CALL = "MARGIN_CALL"


class Alarm(NamedTuple):
    """A figure came near its bound, calmed down, or the equity fell below the margin.

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


class Watch:
    """What has been warned of and has not calmed down yet."""

    def __init__(self, share: Decimal, warned: Iterable[tuple[str, Where]] = ()) -> None:
        """Warns beyond ``share`` of a bound."""
        self._share = share
        self._warned = set(warned)

    @property
    def warned(self) -> list[tuple[str, Where]]:
        """What is warned of, to be stored."""
        return sorted(self._warned)

    def forget(self, limit: str, where: Where) -> None:
        """The limit is gone."""
        self._warned.discard((limit, where))

    @exactly
    def look(self, usages: Iterable[Usage], margins: Iterable[Margin]) -> list[Alarm]:
        """What is new, of these figures."""
        alarms = []
        for limit, (value, symbol) in usages:
            near = self._share * limit.bound
            calm = value < CALM * near or value == ZERO
            kind = self._turn((limit.name, limit.where), AlarmKind.NEAR_BREACH, value > near, calm)
            if kind is not None:
                alarms.append(Alarm(kind, limit.name, limit.where, symbol, limit.bound, value))
        for portfolio_id, equity, required in margins:
            where = Where(portfolio_id)
            short = required > equity
            kind = self._turn((MaintenanceMargin.name, where), AlarmKind.MARGIN_CALL, short, not short)
            if kind is not None:
                alarms.append(Alarm(kind, MaintenanceMargin.name, where, "", equity, required))
        return alarms

    def _turn(self, key: tuple[str, Where], warning: AlarmKind, warns: bool, calm: bool) -> AlarmKind | None:
        if warns and key not in self._warned:
            self._warned.add(key)
            return warning
        if calm and key in self._warned:
            self._warned.discard(key)
            return AlarmKind.CLEARED
        return None
