"""Strategies' commands carried out in a simulation, as the order service and risk do it for a replay (rule 32d)."""

from collections import deque
from collections.abc import Iterable, Mapping

from services.domain.backtest.plans import DeploymentPlan, order_from
from services.domain.costs import VenueModels
from services.domain.deployment.commands import CancelOrder, Command, NewOrder, NewOrderList, ReplaceOrder
from services.domain.instrument import Instrument
from services.domain.money import ZERO
from services.domain.orders.lists import check_list, inverted, listed
from services.domain.orders.order import Order, OrderEvent, Refusal, Reservation
from services.domain.orders.replacing import REFUSED_QUIETLY, CannotReplace, needs_check
from services.domain.risk.gate import Gate, Verdict
from services.domain.risk.limits import LimitChange
from services.domain.risk.valuing import Valuing
from services.domain.timeline import Timeline
from services.domain.venue.matching import Venue

NO_PRICE = Refusal("NO_REFERENCE_PRICE", "reference_price", ZERO, ZERO)
"""An order of a symbol that has no price yet: there is nothing to check it against."""


class Trading:
    """Checks what strategies order, and has the venue take it.

    Args:
        environment_id: first part of the order ids.
        models: what trading costs, where anything was set.
        limits: changes of limits, in order; None where there are no limits beyond the defaults, which read marks.
        valuing: what some limits need to know of the portfolios' worth; None where none does.
    """

    def __init__(
        self,
        venue: Venue,
        gate: Gate,
        instruments: Mapping[str, Instrument],
        timeline: Timeline,
        *,
        environment_id: str,
        models: VenueModels | None,
        limits: Iterable[LimitChange] | None,
        valuing: Valuing | None = None,
    ) -> None:
        self._venue, self._gate, self._instruments, self._timeline = venue, gate, instruments, timeline
        self._environment_id = environment_id
        self._models = models
        self._limited, self._valuing = limits is not None, valuing
        self._changes = deque(limits or ())
        self._orders = 0
        self._order_ids: dict[tuple[str, str], str] = {}
        self._marks: dict[str, int] = {}
        self._set_limits()

    @property
    def limits_change(self) -> bool:
        """Whether the next order may be checked against other limits."""
        return bool(self._changes)

    def carry_out(self, plan: DeploymentPlan, command: Command) -> list[OrderEvent]:
        """What came of a command, not yet folded.

        Raises:
            ValueError: nothing can ever come of it.
        """
        if self._changes:
            self._set_limits()
        if isinstance(command, NewOrder):
            return self._place(plan, command)
        if isinstance(command, NewOrderList):
            return self._place_list(plan, command)
        order_id = self._order_ids[plan.portfolio_id, command.client_order_id]
        if isinstance(command, CancelOrder):
            return self._venue.cancel(order_id, command.basis_sequence, command.basis_time)
        return self._replace(order_id, command)

    def order(self, plan: DeploymentPlan, command: NewOrder, reservation: Reservation | None = None) -> Order:
        """The order that a command asks for; with a reservation as the venue takes it."""
        self._orders += 1
        order_id = f"{self._environment_id}-{self._orders}"
        self._order_ids[plan.portfolio_id, command.client_order_id] = order_id
        if self._models is None:
            return order_from(command, plan, order_id, reservation)
        self._models.reach(self._orders - 1)
        terms = self._models.terms(plan.portfolio_id, self._instruments[command.symbol], command.client_order_id)
        return order_from(command, plan, order_id, reservation, terms)

    def _place(self, plan: DeploymentPlan, command: NewOrder) -> list[OrderEvent]:
        order = self.order(plan, command)
        at, time = order.basis_sequence, order.basis_time
        verdict = self._check(order)
        if verdict.reservation is None:
            return self._venue.refuse(order, verdict.refusal or NO_PRICE, at, time)
        return self._venue.accept(order._replace(reservation=verdict.reservation), at, time)

    def _place_list(self, plan: DeploymentPlan, command: NewOrderList) -> list[OrderEvent]:
        """All of the orders are asked about, and all taken or none."""
        at, time = command.basis_sequence, command.basis_time
        asked = [self.order(plan, each) for each in command.orders]
        check_list(command.contingency_type, asked)
        orders = listed(command.contingency_type, asked)
        verdicts = [self._check(order) for order in orders]
        accepted = []
        for order, verdict in zip(orders, verdicts, strict=True):
            if verdict.reservation is None:
                refusal = (verdict.refusal or NO_PRICE)._replace(order_id=order.order_id)
                return [event for each in orders for event in self._venue.refuse(each, refusal, at, time)]
            accepted.append(order._replace(reservation=verdict.reservation))
        first = orders[0]
        if clash := inverted(orders, self._venue.reference_price(first.symbol, first.side)):
            return [event for each in orders for event in self._venue.refuse(each, clash, at, time)]
        return self._venue.accept_list(accepted, at, time)

    def _replace(self, order_id: str, command: ReplaceOrder) -> list[OrderEvent]:
        """Nothing where the order has ended or the terms come too late for it, or are refused."""
        before = self._venue.order(order_id)
        if before is None:
            return []
        try:
            after = self._venue.replaced(before, command.terms)
        except CannotReplace as error:
            if error.reason in REFUSED_QUIETLY:
                return []
            raise
        at, time, reservation = command.basis_sequence, command.basis_time, None
        if needs_check(before, after):
            reservation = self._check(after, time).reservation
            if reservation is None:
                return []
        return [] if after == before else self._venue.replace(order_id, command.terms, at, time, reservation)

    def _check(self, order: Order, replaced_at: int | None = None) -> Verdict:
        """What the gate says of a new order, or of an open one on new terms at a market time (ns)."""
        reference = self._venue.reference_price(order.symbol, order.side)
        if reference is None:
            return Verdict(order.order_id, refusal=NO_PRICE)
        if self._limited:
            self._mark(order.symbol)
        if self._valuing is not None:
            self._valuing.settle(self._venue.position)
        instrument, slip = self._instruments[order.symbol], self._venue.slip(order)
        if replaced_at is None:
            return self._gate.check(order, instrument, reference, order.basis_time, slip=slip)
        return self._gate.check_replacement(order, instrument, reference, replaced_at, slip=slip)

    def _set_limits(self) -> None:
        """Set those that hold for the orders after those there were so far."""
        while self._changes and self._changes[0].order_count <= self._orders:
            _, limit, deleted = self._changes.popleft()
            if deleted:
                self._gate.delete_limit(limit.name, *limit.where)
            else:
                self._gate.set_limit(limit)

    def _mark(self, symbol: str) -> None:
        """Bring the gate's marks to the position, of all symbols that were ever ordered: no other is held.

        Only limits beyond the defaults read them.
        """
        position = self._venue.position
        self._marks.setdefault(symbol, -1)
        for each, marked in self._marks.items():
            if marked != position and (price := self._timeline.mark(each, position)) is not None:
                self._gate.mark(each, price)
                self._marks[each] = position
