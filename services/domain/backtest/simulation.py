"""The cycle that moves venue, books and strategies along a tape, in process (rules 31 to 35).

A replay through the mesh speaks the same cycle over RPC with the same participants: ``Venue``, ``Books``, ``Gate`` and
``StrategyRunner``, and ends every cycle where ``next_through`` says. So both give the same fills, refusals and ledgers,
of which ``digest`` is the proof.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from services.domain.accounting.books import Books, EquityPoint
from services.domain.accounting.ledger import EntryKind, Ledger
from services.domain.backtest.digest import digest
from services.domain.backtest.express import ExpressGate, ExpressVenue
from services.domain.backtest.plans import DeploymentPlan, PortfolioPlan
from services.domain.backtest.result import Cycle, Result
from services.domain.backtest.trading import Trading
from services.domain.costs import ModelChange, VenueModels
from services.domain.deployment.commands import Command, NewOrder
from services.domain.deployment.runner import StrategyRunner
from services.domain.instrument import Instrument
from services.domain.orders.events import event_of
from services.domain.orders.order import ExecType, OrderEvent
from services.domain.risk.limits import LimitChange
from services.domain.risk.valuing import Valuing
from services.domain.tape import Tape
from services.domain.timeline import Timeline, next_through
from services.domain.venue.matching import VenueSettings

__all__ = [
    "Cycle",
    "DeploymentPlan",
    "EquityPoint",
    "PortfolioPlan",
    "Result",
    "Simulation",
    "Timeline",
    "digest",
    "next_through",
]

FILL_KINDS = frozenset({EntryKind.TRADE, EntryKind.COMMISSION})
"""Entries that the gate knows from the order events already."""
_NEW = ExecType.NEW


class Simulation:
    """A backtest: the portfolios and deployments of one environment on one tape.

    Args:
        start_sequence: records up to it are history; the portfolios' cash is deposited there.
        environment_id: first part of the order ids.
        venue_settings: how orders fill for which the models say nothing of it.
        models: what trading costs and how orders fill, as it was set; where anything is, no order goes the express way.
        limits: as they were set, beside those of the portfolios' plans.
        express: let strategies that can look ahead skip what they would not act on, and fill at once what is certain to
            fill. The outcome is the same.
    """

    def __init__(
        self,
        tape: Tape,
        instruments: Mapping[str, Instrument],
        portfolios: Sequence[PortfolioPlan],
        deployments: Sequence[DeploymentPlan] = (),
        *,
        start_sequence: int = 0,
        venue_settings: VenueSettings | None = None,
        models: Sequence[ModelChange] = (),
        environment_id: str = "backtest",
        limits: Sequence[LimitChange] = (),
        express: bool = True,
    ) -> None:
        self.timeline = Timeline(tape)
        self.instruments = instruments
        self.position = start_sequence
        self.venue = ExpressVenue(instruments, venue_settings)
        self.venue.prime(tape, start_sequence)
        all_limits = [*(change.limit for change in limits), *(limit for plan in portfolios for limit in plan.limits)]
        self.gate = ExpressGate(detailed=any(limit.needs_detail for limit in all_limits))
        self._valuing = Valuing(self.gate, self.timeline, start_sequence) if self.gate.detailed else None
        self.books = Books(self.timeline, instruments, start_sequence)
        self.result = Result(tuple(portfolios), start_sequence, self.books.ledgers)
        self._models = VenueModels(models, venue_settings) if models else None
        self.trading = Trading(
            self.venue,
            self.gate,
            instruments,
            self.timeline,
            environment_id=environment_id,
            models=self._models,
            limits=limits if all_limits else None,
            valuing=self._valuing,
        )
        self._express = express
        for plan in portfolios:
            self._open(plan)
        self._plans = sorted(deployments, key=lambda plan: plan.number)
        self.runners = [self._runner(plan, express) for plan in self._plans]

    @property
    def done(self) -> bool:
        """Whether the tape has ended."""
        return self.position >= self.timeline.end

    def run(self) -> Result:
        """Run to the tape's end; orders that rest then expire (rule 33)."""
        while not self.done:
            self._cycle(self._express)
        expired = self.venue.expire_all(self.position, self.timeline.time(self.position))
        self._fold(expired)
        self._value_at_end()
        return self.result

    def cycle(self) -> Cycle:
        """Run one cycle: venue, books, then each strategy that waits for this position or has order events."""
        first = len(self.result.events)
        self._cycle(express=False)
        return Cycle(self.position, self.result.events[first:])

    def _cycle(self, express: bool) -> None:
        """One cycle, or ``express``, as many as one strategy has to itself."""
        timeline = self.timeline
        awaited = (runner.next_sequence(timeline) for runner in self.runners)
        through = min(timeline.next_split(self.position), timeline.end, *awaited)
        self.position, events = self.venue.advance(timeline.tape, self.position, through)
        if events or timeline.edges(self.books.position, self.position):
            self._fold(events)
        for plan, runner in zip(self._plans, self.runners, strict=True):
            own = [event for event in events if event.order.deployment_id == plan.deployment_id]
            if own or runner.due(timeline, self.position):
                self._run_strategy(plan, runner, own, express and len(own) == len(events))
        self.result.position = self.position

    def _run_strategy(self, plan: DeploymentPlan, runner: StrategyRunner, own: list[OrderEvent], express: bool) -> None:
        commands: list[Command] = runner.step(self.timeline, self.position, own)
        while commands or (express and self._skip_to_next(runner)):
            filled = self._fill_at_once(plan, runner, commands[0]) if express and len(commands) == 1 else None
            if filled is not None:
                commands = runner.acknowledge([filled])
            elif commands:
                commands = runner.acknowledge([event for each in commands for event in self._carry_out(plan, each)])
            else:
                commands = runner.step(self.timeline, self.position)
        self.result.signals += [(plan.number, signal) for signal in runner.take_signals()]

    def _skip_to_next(self, runner: StrategyRunner) -> bool:
        """Move to where the only strategy runs next, if no order waits and nothing but prices comes before.

        One that has yet to look at the bar which filled its order need not move, and need not be the only one.
        """
        awaited = runner.next_sequence(self.timeline)
        if awaited == self.position > runner.position:
            return True
        if len(self.runners) > 1 or self.venue.waiting or awaited >= self.timeline.next_split(self.position):
            return False
        self.venue.move(awaited)
        self.position = awaited
        return True

    def _fill_at_once(self, plan: DeploymentPlan, runner: StrategyRunner, command: Command) -> OrderEvent | None:
        """Carry the command out up to its fill, and move there, if nothing can come between; else do nothing."""
        if not isinstance(command, NewOrder) or not runner.passes_acknowledgements or self._models is not None:
            return None
        if self.trading.limits_change:
            return None
        fill = self.venue.certain_fill(command)
        if fill is None or not self._undisturbed(runner, fill.sequence):
            return None
        reservation = self.gate.trade_at_once(plan.portfolio_id, command, self.instruments[command.symbol], fill)
        if reservation is None:
            return None
        order = self.trading.order(plan, command, reservation)
        filled = self.venue.fill_at_once(order, fill)
        self.position = fill.sequence
        self.result.events.append(event_of(_NEW, order, (command.basis_sequence, command.basis_time)))
        self._keep([filled])
        return filled

    def _undisturbed(self, runner: StrategyRunner, through: int) -> bool:
        """Whether nothing runs before ``through`` and there only ``runner``, and no split comes up to there."""
        if self.timeline.next_split(self.position) <= through:
            return False
        if through == self.position + 1 and len(self.runners) == 1:
            return True
        awaited = ((other, other.next_sequence(self.timeline)) for other in self.runners)
        return all(sequence > through or (sequence == through and other is runner) for other, sequence in awaited)

    def _carry_out(self, plan: DeploymentPlan, command: Command) -> list[OrderEvent]:
        """Whatever came of it is folded before the next command."""
        events = self.trading.carry_out(plan, command)
        self._fold(events)
        return events

    def _fold(self, events: list[OrderEvent]) -> None:
        if self._valuing is not None:
            self._valuing.advance(self.position)
        self._keep(events)
        for event in events:
            self.gate.fold(event, self.instruments[event.order.symbol])

    def _keep(self, events: list[OrderEvent]) -> None:
        """Events happened at the position: to the books, and what the books make of splits to the gate."""
        result = self.result
        result.events += events
        folded = self.books.fold(self.position, events)
        result.equity += folded.points
        for portfolio_id, posting in folded.postings:
            result.entries[portfolio_id] += posting.entries
            if posting.entries and posting.entries[0].kind not in FILL_KINDS:
                for entry in posting.entries:
                    self.gate.fold_entry(portfolio_id, entry)

    def _open(self, plan: PortfolioPlan) -> None:
        self.books.ledgers[plan.portfolio_id] = ledger = Ledger(plan.portfolio_id, plan.currency_code)
        self.gate.open_portfolio(plan.portfolio_id)
        for limit in plan.limits:
            self.gate.set_limit(replace(limit, where=limit.where._replace(portfolio_id=plan.portfolio_id)))
        if plan.cash:
            time = self.timeline.time(self.position)
            for entry in ledger.deposit(plan.cash, time, self.position, f"{plan.portfolio_id}-deposit"):
                self.result.entries[plan.portfolio_id].append(entry)
                self.gate.fold_entry(plan.portfolio_id, entry)

    def _runner(self, plan: DeploymentPlan, express: bool) -> StrategyRunner:
        start = self.position if plan.start_sequence is None else plan.start_sequence
        runner = StrategyRunner(plan.number, plan.strategy, self.instruments, start, scanning=express)
        runner.warm_up(self.timeline)
        return runner

    def _value_at_end(self) -> None:
        """A last equity point for portfolios that had none at the tape's last record."""
        valued = {point.portfolio_id for point in self.result.equity if point.tape_sequence == self.position}
        self.result.equity += [
            self.books.point(portfolio_id, self.position)
            for portfolio_id in self.books.ledgers
            if portfolio_id not in valued
        ]
