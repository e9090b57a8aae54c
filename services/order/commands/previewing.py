"""How orders are previewed: risk is asked about them as about any order, and nothing comes of it."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from services.chassis.errors import ApiError
from services.domain.backtest.trading import NO_PRICE
from services.domain.costs import VenueModels
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.order import Order
from services.domain.risk.gate import Verdict
from services.domain.risk.preview import Preview, commission_of
from services.domain.venue.matching import Venue
from services.order.commands.answered import Answered
from services.order.gate.checks import Checks, risk_unavailable
from services.order.gate.mapping import Check
from services.order.gate.risk_gate import RiskUnavailable
from services.order.records import EnvironmentRow, PortfolioRow
from services.order.ticket import Provenance, Ticket


class Outlook(NamedTuple):
    """What would become of an order.

    Attributes:
        market_time: of the tape position, ns.
        reference: the venue's last price for its side; None before the first one.
        commission: of all of it.
    """

    tape_sequence: int
    market_time: int
    reference: Decimal | None
    preview: Preview
    commission: Decimal


@dataclass(slots=True, eq=False)
class Trial(Answered[Outlook]):
    """Somebody asks what would become of an order.

    Attributes:
        deadline: monotonic seconds; set once nothing but risk is waited for.
    """

    ticket: Ticket
    portfolio: PortfolioRow
    instrument: Instrument
    answer: asyncio.Future[Outlook]
    deadline: float = 0.0


class Desk(Protocol):
    """What previewing needs of its desk."""

    row: EnvironmentRow
    venue: Venue

    @property
    def models(self) -> VenueModels:
        """What trading costs."""
        ...

    def standstill(self, *, of_strategy: bool) -> ApiError | None:
        """Why nothing new can come in now."""
        ...


class Previewing:
    """Previews orders, many at a time."""

    def __init__(self, desk: Desk, checks: Checks) -> None:
        self._desk = desk
        self._asking = checks
        self._numbers = itertools.count(1)

    async def preview(self, batch: Sequence[Trial]) -> None:
        """Answers what would become of orders, as of where the environment stands."""
        standstill = self._desk.standstill(of_strategy=False)
        if standstill is not None:
            for trial in batch:
                trial.fail(standstill)
            return
        asked = [(trial, self._order(trial), self._reference(trial)) for trial in batch]
        checks = [self._check(trial, order, price) for trial, order, price in asked if price is not None]
        try:
            previews = await self._asking.previews(checks, min(trial.deadline for trial in batch))
        except RiskUnavailable:
            for trial in batch:
                trial.fail(risk_unavailable())
            return
        for trial, order, price in asked:
            unpriced = Verdict(order.order_id, refusal=NO_PRICE)
            preview = previews.get(order.order_id) or Preview(unpriced, ZERO, order.quantity, ZERO, ZERO, NO_PRICE)
            # The venue looks at its session last, as when an order comes in.
            closed = self._desk.venue.objection(order, order.basis_sequence, order.basis_time)
            commission = commission_of(order, preview, trial.instrument)
            row, told = self._desk.row, preview.unless(closed)
            trial.answer_with(Outlook(row.tape_sequence, row.market_time, price, told, commission))

    def _order(self, trial: Trial) -> Order:
        row, ticket = self._desk.row, trial.ticket
        terms = self._desk.models.terms(ticket.portfolio_id, trial.instrument, ticket.fields["client_order_id"])
        return Order(
            # No order has it: theirs end in a number alone.
            order_id=f"{row.environment_id}-preview-{next(self._numbers)}x",
            basis_sequence=row.tape_sequence,
            basis_time=row.market_time,
            costs=terms.costs,
            latency=terms.latency,
            fill_settings=terms.fill_settings,
            **ticket.fields,
        )

    def _check(self, trial: Trial, order: Order, price: Decimal) -> Check:
        origin = Provenance(trial.portfolio.environment_id, trial.ticket.client_key, trial.ticket.asked)
        opening, slip = trial.portfolio.opening_ledger_sequence, self._desk.venue.slip(order)
        return Check(order, origin, trial.instrument, price, opening, "", slip)

    def _reference(self, trial: Trial) -> Decimal | None:
        return self._desk.venue.reference_price(trial.ticket.symbol, trial.ticket.fields["side"])
