"""Limits, kill switches and the journal of what happened, as the service keeps them."""

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum
from typing import Any, Final

from services.domain.risk.limit import Where
from services.domain.risk.limits import KillScope

GUARD: Final = "runaway_guard"
"""The one limit that holds at the order service's door, by wall time, and not at the gate."""


class Scope(StrEnum):
    """What a kill switch stops."""

    ENVIRONMENT = "ENVIRONMENT"
    PORTFOLIO = "PORTFOLIO"
    STRATEGY = "STRATEGY"


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A limit as it was set; deleted ones are kept, so that versions go on.

    Attributes:
        portfolio_id, strategy_id, symbol: what it is set for; all empty for the whole environment.
        name: the domain's, `max_order_notional`, or `runaway_guard`, which is the order service's.
        version: counts this limit's changes from 1.
        update_time: wall time, ns.
    """

    environment_id: str
    portfolio_id: str
    strategy_id: str
    symbol: str
    name: str
    bound: Decimal
    deleted: bool
    version: int
    tape_sequence: int
    update_time: int
    principal: str
    owner: str

    @property
    def where(self) -> Where:
        """What it is set for, as the gate says it."""
        return Where(self.portfolio_id, self.strategy_id, self.symbol)


@dataclass(frozen=True, slots=True)
class KillRecord:
    """A kill switch as it was set; released ones are kept.

    Attributes:
        target_id: the portfolio or strategy; empty for the environment.
        version: counts the changes of all kill switches of the environment from 1.
        update_time: wall time, ns.
    """

    environment_id: str
    scope: Scope
    target_id: str
    engaged: bool
    allow_reducing: bool
    reason: str
    version: int
    tape_sequence: int
    update_time: int
    principal: str
    owner: str

    @property
    def kill_scope(self) -> KillScope:
        """The same for the gate."""
        portfolio_id = self.target_id if self.scope is Scope.PORTFOLIO else ""
        strategy_id = self.target_id if self.scope is Scope.STRATEGY else ""
        return KillScope(portfolio_id, strategy_id)


class RiskKind(StrEnum):
    """What happened."""

    BREACH = "BREACH"
    RUNAWAY = "RUNAWAY"
    NEAR_BREACH = "NEAR_BREACH"
    EXCEEDED = "EXCEEDED"
    CLEARED = "CLEARED"
    MARGIN_CALL = "MARGIN_CALL"
    LIMIT_SET = "LIMIT_SET"
    LIMIT_DELETED = "LIMIT_DELETED"
    KILL_SWITCH_ENGAGED = "KILL_SWITCH_ENGAGED"
    KILL_SWITCH_RELEASED = "KILL_SWITCH_RELEASED"


@dataclass(frozen=True, slots=True)
class Happening:
    """Something that happened, before it has its number.

    Attributes:
        portfolio_id: whose it is; empty for all.
        payload: JSON-able values.
        tape_sequence, market_time: where it happened; the time, ns, is 0 before the tape is known.
        principal: who did it; the environment's owner where nobody did.
    """

    kind: RiskKind
    portfolio_id: str
    payload: Mapping[str, Any]
    tape_sequence: int
    market_time: int
    principal: str = ""
    traceparent: str = ""
    order_head: int = 0
    after_order_id: str = ""


@dataclass(frozen=True, slots=True)
class Journalled:
    """One thing that happened, as the journal keeps it; numbered without gaps in its environment.

    Attributes:
        kind: a `RiskKind`.
        portfolio_id: whose it is; empty for all.
        payload: JSON.
        tape_sequence, market_time: where the environment stood.
        order_head: the last order event that counted.
        after_order_id: the last order whose check before it counts; the next one met the change.
    """

    environment_id: str
    sequence: int
    kind: RiskKind
    portfolio_id: str
    payload: str
    tape_sequence: int
    market_time: int
    order_head: int
    after_order_id: str
    create_time: int
    traceparent: str
    principal: str
    owner: str
