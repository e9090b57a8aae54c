"""What a simulation came to."""

from collections import defaultdict
from dataclasses import dataclass, field

from services.domain.accounting.books import EquityPoint
from services.domain.accounting.ledger import Entry, Ledger
from services.domain.backtest.digest import digest, history
from services.domain.backtest.plans import PortfolioPlan
from services.domain.deployment.context import Signal
from services.domain.orders.order import ExecType, Order, OrderEvent


@dataclass(slots=True)
class Result:
    """What happened, in order.

    Attributes:
        position: the last record that was met.
        entries: of each portfolio's ledger.
        signals: (deployment number, signal).
    """

    portfolios: tuple[PortfolioPlan, ...]
    position: int
    ledgers: dict[str, Ledger]
    events: list[OrderEvent] = field(default_factory=list)
    entries: dict[str, list[Entry]] = field(default_factory=lambda: defaultdict(list))
    equity: list[EquityPoint] = field(default_factory=list)
    signals: list[tuple[int, Signal]] = field(default_factory=list)

    @property
    def fills(self) -> list[OrderEvent]:
        """The events that traded."""
        return [event for event in self.events if event.exec_type is ExecType.TRADE]

    @property
    def refusals(self) -> list[Order]:
        """The orders that were refused."""
        return [event.order for event in self.events if event.exec_type is ExecType.REJECTED]

    def digest(self) -> str:
        """What all of it came to; see ``digest.digest``."""
        events = defaultdict(list)
        for event in self.events:
            events[event.order.portfolio_id].append(event)
        ids = ((plan.portfolio_id, plan.label) for plan in self.portfolios)
        return digest(history(label, events[key], self.entries[key]) for key, label in ids)


@dataclass(frozen=True, slots=True)
class Cycle:
    """One cycle's outcome: the position reached and every event of it, acknowledgements included."""

    through: int
    events: list[OrderEvent]
