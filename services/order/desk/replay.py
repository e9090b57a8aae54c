"""All desks, and the venue's part in replays: it joins every environment and runs when it is granted time (rule 32)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from functools import partial
from typing import Any

from services.chassis.errors import ApiError
from services.order.clients import Peers
from services.order.commands.roll import Roll
from services.order.desk.desk import Desk
from services.order.desk.replay_mapping import Grant, Idle, instruction, reached_to_proto
from services.order.gate.door import Door
from services.order.gate.runaways import Runaways
from services.order.journal.journal import Journal
from services.order.journal.log import OrderLog
from services.order.records import EnvironmentRow
from services.order.settings import Settings
from services.order.store import Store
from services.wire import cycle
from services.wire.environments import Environment

Spawn = Callable[[Coroutine[Any, Any, None], str], asyncio.Task[None]]


class Desks:
    """The desk of each environment, and what the coordinator says to them.

    Attributes:
        log: the stream of order events, a partition an environment.
        peers: other services.
        store: what is durable.
    """

    def __init__(
        self,
        settings: Settings,
        store: Store,
        log: OrderLog,
        peers: Peers,
        *,
        open_checks: Callable[[], Any],
        report_runaway: Callable[[Any], Awaitable[Any]],
        spawn: Spawn,
    ) -> None:
        self.log = log
        self.peers = peers
        self.store = store
        self._settings = settings
        self._open_checks = open_checks
        self._runaways = Runaways(store, report_runaway)
        self._spawn = spawn
        self._desks: dict[str, Desk] = {}
        self._runs: dict[str, asyncio.Task[None]] = {}
        self._gates: dict[str, asyncio.Task[None]] = {}
        self._stored: dict[str, EnvironmentRow] = {}
        self._opening = asyncio.Lock()
        self._joined: set[str] = set()
        self._connection = 0

    async def recover(self) -> None:
        """Opens the desks of all environments that have not ended, without asking anybody."""
        await self._runaways.recover()
        _ = self._spawn(self._runaways.run(), "runaways")
        await self.peers.recover()
        for row in await self.store.environments():
            self._stored[row.environment_id] = row
            self.log.recover(row.environment_id, row.head)
            if not row.ended:
                await self._open(row)

    def existing(self, environment_id: str) -> Desk | None:
        """The desk of an environment that is open here."""
        return self._desks.get(environment_id)

    def all(self) -> Iterable[Desk]:
        """The desks that are open here."""
        return self._desks.values()

    async def traded(self, environment_id: str) -> Desk | None:
        """The desk of an environment that had orders, ended ones too; nobody is asked."""
        desk = self._desks.get(environment_id)
        if desk is None and (row := self._stored.get(environment_id)) is not None:
            desk = await self._open(row)
        return desk

    async def get(self, environment_id: str) -> Desk:
        """The desk of any environment; marketdata is asked about one that was never seen.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE.
        """
        return await self.traded(environment_id) or await self._meet(await self.peers.environment(environment_id))

    def hello(self) -> Sequence[Any]:
        """What is said at each connection. Until the coordinator answers, it is away."""
        self._connection += 1
        self._joined.clear()
        for desk in self._desks.values():
            desk.lost()
        return [cycle.hello("VENUE", "order")]

    async def handle(self, message: Any) -> Any:
        """Answers the coordinator."""
        match instruction(message):
            case Environment() as environment:
                return await self._announced(environment)
            case Grant() as grant:
                return reached_to_proto(grant.environment_id, await self._desk(grant.environment_id).grant(grant))
            case Roll() as roll:
                self._desk(roll.environment_id).roll = roll
            case Idle() as idle:
                self._desk(idle.environment_id).idle(idle)
        return None

    async def _announced(self, environment: Environment) -> Any:
        connection, environment_id = self._connection, environment.environment_id
        desk = await self.traded(environment_id) or await self._meet(environment)
        desk.blocked_on = environment.blocked_on
        if environment.ended:
            self._end(desk)
            return None
        if environment_id in self._joined:
            return None
        if desk.tape is None:
            await self.peers.fetch_instruments(environment.symbols)
            desk.load(environment, await self.peers.tape(environment))
        if connection == self._connection:
            self._joined.add(environment_id)
        return cycle.join(environment_id, desk.row.tape_sequence, desk.row.cycle)

    def _desk(self, environment_id: str) -> Desk:
        desk = self._desks.get(environment_id)
        if desk is None or desk.tape is None:
            raise ApiError.not_found("environment", environment_id, "ENVIRONMENT_NOT_FOUND")
        return desk

    async def _meet(self, environment: Environment) -> Desk:
        """Opens the desk of an environment that has no order yet; its row is stored with its first commit."""
        row = EnvironmentRow(
            environment.environment_id,
            tape_sequence=environment.start_sequence,
            principal=environment.owner,
            owner=environment.owner,
        )
        desk = await self._open(row)
        if environment.ended:
            self._end(desk)
        return desk

    async def _open(self, row: EnvironmentRow) -> Desk:
        environment_id = row.environment_id
        async with self._opening:
            if environment_id in self._desks:
                return self._desks[environment_id]
            journal = Journal(row, self.store, self.log, self.peers.instruments)
            door = Door(partial(self._runaways.tell, row))
            desk = Desk(journal, self.store, self.peers, self._settings, door=door, open_checks=self._open_checks)
            await desk.restore()
            self._desks[environment_id] = desk
        self._runs[environment_id] = self._spawn(desk.run(), f"desk:{environment_id}")
        if not row.ended:
            self._gates[environment_id] = self._spawn(desk.gate.run(), f"risk-gate:{environment_id}")
        return desk

    def _end(self, desk: Desk) -> None:
        desk.end()
        gate = self._gates.pop(desk.row.environment_id, None)
        if gate is not None:
            gate.cancel()
