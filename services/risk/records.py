"""Limits, kill switches and their journal, as the service keeps them."""

from dataclasses import dataclass
from decimal import Decimal
from enum import StrEnum

from services.domain.limits import KillScope


class Scope(StrEnum):
    """What a kill switch stops."""

    ENVIRONMENT = "ENVIRONMENT"
    PORTFOLIO = "PORTFOLIO"
    STRATEGY = "STRATEGY"


@dataclass(frozen=True, slots=True)
class LimitRecord:
    """A limit as it was set; deleted ones are kept, so that versions go on.

    Attributes:
        portfolio_id: empty for the whole environment.
        name: the domain's, `max_order_notional`.
        version: counts this limit's changes from 1.
        update_time: wall time, ns.
    """

    environment_id: str
    portfolio_id: str
    name: str
    bound: Decimal
    deleted: bool
    version: int
    tape_sequence: int
    update_time: int
    principal: str
    owner: str


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


@dataclass(frozen=True, slots=True)
class Journalled:
    """One change, as the journal keeps it; numbered without gaps in its environment.

    Attributes:
        tape_sequence: where the environment stood.
        order_head: the last order event that counted.
        after_order_id: the last order checked before it, of those since the start; the next one met the change.
    """

    environment_id: str
    sequence: int
    kind: str
    payload: str
    tape_sequence: int
    order_head: int
    after_order_id: str
    create_time: int
    traceparent: str
    principal: str
    owner: str
