"""The desk of one environment: takes orders, has them checked, runs the paper venue, makes all of it durable.

One task does everything that changes the environment, step by step, so that what happens is a sequence of decisions.
Each is durable before the next begins, but for orders: they are checked while those before them are being made durable.
It decides in this order: kill switches and cancels, which never wait for risk; orders, as many as have queued; a grant.

What may be done depends on the phase (rules 32 and 33). A strategy's commands belong to the cycle in which it decides
and are served at once; commands from outside wait until time stands still between two cycles.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.costs import VenueModels
from services.domain.tape import Tape
from services.domain.venue.matching import Venue
from services.order.clients import Peers
from services.order.commands.cancel_timers import CancelTimers
from services.order.commands.canceling import Canceling
from services.order.commands.create import Create
from services.order.commands.order_lists import CreateList, OrderLists
from services.order.commands.placing import Placing
from services.order.commands.previewing import Previewing, Trial
from services.order.commands.remodeling import Remodel, Remodeling
from services.order.commands.replacing import Replace, Replacing
from services.order.commands.roll import Roll, stale
from services.order.desk.phase import OTHERS_TURN, Phase
from services.order.desk.replay_mapping import Grant, Idle, Reached
from services.order.desk.urgent import Urgent
from services.order.desk.walk import Walk
from services.order.gate.checks import Checks
from services.order.gate.door import Door
from services.order.gate.risk_gate import RiskGate
from services.order.journal.journal import Journal
from services.order.journal.positions import Held, held_after, held_at
from services.order.settings import Settings
from services.order.store import Store
from services.wire.environments import Environment

AnyCommand = Create | CreateList | Replace | Trial | Remodel
Serve = Callable[[list[Any]], Awaitable[Sequence[AnyCommand] | None]]


class Desk:
    """Orders of one environment. `run` is its task; everything else hands it something to do."""

    def __init__(
        self,
        journal: Journal,
        store: Store,
        peers: Peers,
        settings: Settings,
        *,
        door: Door,
        open_checks: Callable[[], Any],
    ) -> None:
        self.journal = journal
        self.row = row = journal.row
        self.phase = Phase.ENDED if row.ended else Phase.AWAY
        self.blocked_on: tuple[str, ...] = ()
        self.roll = Roll(row.environment_id)
        self.symbols: frozenset[str] | None = None
        self.venue = Venue(peers.instruments)
        self.door = door
        self._wake = asyncio.Event()
        self.timers = CancelTimers(self, store, self._wake.set)
        self.urgent = Urgent(Canceling(self, store), self.timers, self._wake.set)
        self.gate = RiskGate(row.environment_id, open_checks, self._begin_epoch, self.urgent.kill, self.door.guard)
        checks = Checks(journal, self.gate, self.urgent)
        self._placing = Placing(self, store, checks)
        self._remodeling = Remodeling(self, store)
        self._serve: Mapping[type[AnyCommand], Serve] = {
            Create: self._placing.place,
            CreateList: OrderLists(self, store, self._placing, checks).place,
            Replace: Replacing(self, store, peers.instruments, checks).replace,
            Trial: Previewing(self, checks).preview,
            Remodel: self._remodeling.change,
        }
        self._risk_seconds = settings.order_risk_deadline_ms / 1000
        self._batch_size = settings.order_batch_size
        self._peers = peers
        self._walk = Walk(row)
        self._ready: deque[AnyCommand] = deque()
        self._waiting: list[AnyCommand] = []
        self._held: Held = ()
        self._grant: tuple[Grant, asyncio.Future[Reached]] | None = None
        self._behind: Idle | None = None

    @property
    def models(self) -> VenueModels:
        """What trading costs here."""
        return self._remodeling.models

    @property
    def tape(self) -> Tape | None:
        """The tape, once it is here and as long as it is needed."""
        return self._walk.tape

    @property
    def ending(self) -> bool:
        """Whether no order will meet another record."""
        return self.phase is Phase.ENDED or (self._grant is not None and self._grant[0].final)

    async def restore(self) -> None:
        """Takes the open orders back from the store. No session has survived: who asked for it is disconnected."""
        orders, headroom = await self.journal.restore()
        await self._remodeling.restore()
        self._held = await self.journal.held()
        self.venue.restore(orders, headroom)
        for order in orders:
            if session_id := self.journal.session_of(order.order_id):
                self.urgent.disconnect(session_id)
        await self.timers.restore()

    def load(self, environment: Environment, tape: Tape) -> None:
        """Puts the venue on its tape, where it stood; records up to the environment's start are history."""
        row = self.row
        self._walk.tape = tape
        self.symbols = frozenset(environment.symbols)
        row.tape_sequence = max(row.tape_sequence, environment.start_sequence)
        row.market_time = self._walk.time(row.tape_sequence)
        self.venue.restore((), {}, *held_at(self._held, self._peers.instruments, tape, row.tape_sequence))
        self.venue.prime(tape, row.tape_sequence)
        # What is held is known now: a kill switch may have waited for that.
        self._wake.set()

    def end(self) -> None:
        """The environment has ended; its tape is needed no more."""
        self._enter(Phase.ENDED)
        if not self.venue.open_orders():
            # The venue holds the tape as well.
            self._walk.tape, self.venue = None, Venue(self._peers.instruments)

    def lost(self) -> None:
        """The coordinator is away: what depends on it is refused until it speaks again."""
        if self.phase is not Phase.ENDED:
            self.blocked_on = ("marketdata",)
            self._enter(Phase.AWAY)

    def idle(self, idle: Idle) -> None:
        """Time stands still: what waited for this is served."""
        if self.phase is Phase.ENDED:
            return
        if idle.tape_sequence > self.row.tape_sequence:
            # We restarted from a commit older than the last grant: the venue goes there first.
            self._behind = idle
            self._wake.set()
        else:
            self._enter(Phase.BLOCKED if idle.blocked else Phase.IDLE)

    async def grant(self, grant: Grant) -> Reached:
        """Lets the venue run, after the commands that waited for it; a repeated grant gets its answer again."""
        answer: asyncio.Future[Reached] = asyncio.get_running_loop().create_future()
        self._grant, self._behind = (grant, answer), None
        if self.phase is not Phase.ENDED:
            if grant.cycle > self.row.cycle:
                self._serve_waiting()
            self._enter(Phase.GRANTED)
        self._wake.set()
        return await answer

    async def objection(self, create: Create) -> ApiError | None:
        """Why a new order cannot come in now, if it cannot; one that is known already always gets its answer."""
        ticket = create.ticket
        standstill = self.standstill(of_strategy=ticket.of_strategy)
        if standstill is not None:
            return standstill
        if not ticket.of_strategy:
            return await self.door.objection(ticket.portfolio_id, create.arrived, create.principal)
        return self.roll.objection(ticket, create.seat_token) or stale(ticket.basis_sequence, self.row)

    async def objection_to(self, change: Replace | Remodel) -> ApiError | None:
        """Why nothing can be changed now; as orders, a strategy's those that it decided itself."""
        decision = change.decision if isinstance(change, Replace) else None
        standstill = self.standstill(of_strategy=decision is not None)
        if standstill is not None or not isinstance(change, Replace):
            return standstill
        order = self.venue.order(change.order_id)
        if decision is not None:
            return self.roll.objection_to(decision, order) or stale(decision.sequence, self.row)
        if order is None:
            return None
        return await self.door.objection(order.portfolio_id, change.arrived, change.principal)

    def standstill(self, *, of_strategy: bool) -> ApiError | None:
        """Why nothing new can come in now, if it cannot."""
        environment_id = self.row.environment_id
        if self.ending:
            message = f"{environment_id} has ended."
            return ApiError.failed_precondition("ENVIRONMENT_COMPLETED", message, subject=environment_id)
        if self.phase is Phase.AWAY or (self.phase is Phase.BLOCKED and not of_strategy):
            missing = ", ".join(self.blocked_on) or "marketdata"
            message = f"Time stands still in {environment_id} until it is back: {missing}."
            return ApiError.unavailable("ENVIRONMENT_BLOCKED", message, metadata={"blocked_on": missing})
        return None

    def submit(self, command: AnyCommand) -> None:
        """Takes an order, a list, a thought of one, new terms, a venue model; its `answer` tells what became of it."""
        one = command.orders[0] if isinstance(command, CreateList) else command
        of_strategy = isinstance(one, Create | Replace) and one.of_strategy
        (self._waiting if self.phase in OTHERS_TURN and not of_strategy else self._ready).append(command)
        self._wake.set()

    async def run(self) -> None:
        """Does what there is to do; until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while await self._step():
                pass

    async def _step(self) -> bool:
        orders = self._behind is None and self._ready and isinstance(self._ready[0], Create)
        if self.urgent.waits:
            await self.urgent.serve()
        elif self._behind is None and not self._ready and self._grant is None:
            return False
        elif self._placing.unsettled and not orders:
            # Nothing but orders is decided before that is durable: risk must know of it.
            await self._placing.settled()
        elif self._behind is not None:
            await self._catch_up(self._behind)
        elif self._ready:
            await self._place()
        elif self._grant is not None:
            await self._run_venue(*self._grant)
        return True

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        if phase not in OTHERS_TURN:
            self._serve_waiting()
        self._wake.set()

    def _serve_waiting(self) -> None:
        self._ready.extend(self._waiting)
        self._waiting.clear()

    async def _begin_epoch(self) -> tuple[int, Callable[[], int]]:
        return await self.journal.raise_epoch(), lambda: self.journal.committed_head

    async def _place(self) -> None:
        # The clock starts for all that could be served now: who queues behind this batch waits for risk as well.
        due = time.monotonic() + self._risk_seconds
        for command in self._ready:
            command.deadline = command.deadline or due
        batch = self._next(kind := type(self._ready[0]))
        try:
            self._ready.extendleft(reversed(await self._serve[kind](batch) or ()))
        except ApiError as error:
            # The store could not be asked; what was decided nevertheless, a repeat will find.
            for command in batch:
                command.fail(error)

    def _next(self, kind: type[AnyCommand]) -> list[AnyCommand]:
        """Commands of one kind, in the order they came, up to the first of another."""
        batch = list[AnyCommand]()
        while self._ready and len(batch) < self._batch_size and isinstance(command := self._ready[0], kind):
            batch.append(command)
            self._ready.popleft()
        return batch

    async def _run_venue(self, grant: Grant, answer: asyncio.Future[Reached]) -> None:
        row = self.row
        if grant.cycle > row.cycle:
            events = await self._walk.advance(self.venue, grant.through)
            if grant.final:
                events += self.venue.expire_all(row.tape_sequence, row.market_time)
            row.cycle, row.reached_head, row.ended = grant.cycle, row.head + len(events), grant.final
            if (held := held_after(events, self.venue)) or events or grant.final:
                await self.journal.commit(events, cause="tape", held=held)
                failpoint("order.after_reached_commit")
        # What the tape brought is news for everybody, and the cycle's fold waits for all up to the head that is told.
        self.journal.flush()
        if self._grant is not None and self._grant[1] is answer:
            # Else a coordinator that came back has granted something meanwhile.
            self._grant = None
        if self.phase is not Phase.AWAY:
            self._enter(Phase.ENDED if row.ended else Phase.IN_CYCLE)
        if answer.done():
            return
        if grant.cycle < row.cycle:
            answer.set_exception(RuntimeError(f"cycle {grant.cycle} was granted after {row.cycle}"))
        else:
            answer.set_result(Reached(row.cycle, row.tape_sequence, row.reached_head))

    async def _catch_up(self, idle: Idle) -> None:
        """Goes where the coordinator stands; whatever happened until there is in the store."""
        if await self._walk.advance(self.venue, idle.tape_sequence):
            raise RuntimeError(f"{self.row.environment_id}: the coordinator knows nothing of what happened before it")
        if self._behind is idle:
            self._behind = None
            self._enter(Phase.BLOCKED if idle.blocked else Phase.IDLE)
