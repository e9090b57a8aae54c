"""The environments that there are: opened when somebody names one, followed to their end, stored as they move.

Every peer may be away, at the start too. What cannot be had yet is asked for again, for ever, while all else is served.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Any, Protocol

from services.chassis import deadline
from services.chassis.errors import ApiError
from services.risk.clients import Peers
from services.risk.controls import Controls
from services.risk.gate import EnvironmentGate
from services.risk.journal import Journal
from services.risk.parts import Part
from services.risk.store import Store, Stored
from services.wire.cycle import Fold
from services.wire.environments import Environment

FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 1.0
# Longest wait of a call for a portfolio whose opening entry is on its way.
ARRIVAL_SECONDS = 2.0

_log = logging.getLogger(__name__)

Report = Callable[[str, bool], Awaitable[None]]


class _Report(Protocol):
    """Hears how a link stands, and why."""

    async def __call__(self, peer: str, environment_id: str, up: bool, why: str = "") -> None: ...


class _Following:
    """One environment's life: its tape is loaded, its two streams are followed, until it has ended."""

    def __init__(self, gate: EnvironmentGate, peers: Peers, report: _Report) -> None:
        self.gate = gate
        self._peers = peers
        self._report = report
        self._final: asyncio.Future[Environment] = asyncio.get_running_loop().create_future()
        self._hurry = asyncio.Event()
        self._caught_up = {"order": asyncio.Event(), "portfolio": asyncio.Event()}
        self._closing = False

    def hurry(self) -> None:
        """Somebody waits: try at once what is being retried."""
        self._hurry.set()

    def end(self, facts: Environment) -> None:
        """The coordinator says that the environment has ended."""
        if not self._final.done():
            self._final.set_result(facts)

    async def run(self, facts: Environment | None) -> None:
        """Follow it to its end."""
        name, folding = self.gate.environment_id, self.gate.folding
        facts = facts or await self._persist("marketdata", lambda: self._peers.environment(name))
        known = facts
        folding.begin(await self._persist("marketdata", lambda: self._peers.scene(known)))
        if facts.ended:
            self.end(facts)
        async with asyncio.TaskGroup() as group:
            followers = self._follow(group)
            final = await self._final
            if folding.cursor.cycle < final.cycle:
                # The last folds went to somebody who died with them: what the streams hold now is all there is.
                for follower in followers:
                    follower.cancel()
                self._closing = True
                followers = self._follow(group)
                for caught_up in self._caught_up.values():
                    await caught_up.wait()
            folding.raise_barrier(final.tape_sequence, final.cycle)
            folding.advance()
            for follower in followers:
                follower.cancel()
        self.gate.finish()
        _log.info("an environment has ended", extra={"environment_id": name})

    def _follow(self, group: asyncio.TaskGroup) -> list[asyncio.Task[None]]:
        name, folding = self.gate.environment_id, self.gate.folding
        orders = self._stream(
            "order", lambda: self._peers.order_events(name, folding.events_received), folding.take_events
        )
        entries = self._stream(
            "portfolio", lambda: self._peers.ledger_entries(name, folding.entries_received), folding.take_entries
        )
        return [group.create_task(orders), group.create_task(entries)]

    async def _stream(
        self, peer: str, read: Callable[[], AsyncGenerator[list[Any]]], take: Callable[[Sequence[Any]], None]
    ) -> None:
        """One stream, from where we stand, again and again."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            heard = False
            try:
                async with aclosing(read()) as stream:
                    async for items in stream:
                        heard = True
                        await self._report(peer, self.gate.environment_id, True)
                        take(items)
                        if self._closing and not items:
                            self._caught_up[peer].set()
                            return
                        if self._closing:
                            # Only when it is opened does a stream say at once that it has no more.
                            break
                why = "the stream has ended"
            except (ApiError, ValueError) as error:
                why = str(error)
            await self._report(peer, self.gate.environment_id, False, why)
            backoff = await self._pause(FIRST_BACKOFF_SECONDS if heard else backoff)

    async def _persist(self, peer: str, ask: Callable[[], Awaitable[Any]]) -> Any:
        """Ask until there is an answer."""
        backoff = FIRST_BACKOFF_SECONDS
        while True:
            try:
                answer = await ask()
            except ApiError as error:
                await self._report(peer, self.gate.environment_id, False, str(error))
                backoff = await self._pause(backoff)
            else:
                await self._report(peer, self.gate.environment_id, True)
                return answer

    async def _pause(self, backoff: float) -> float:
        self._hurry.clear()
        try:
            async with asyncio.timeout(backoff * random.uniform(0.5, 1.0)):
                await self._hurry.wait()
        except TimeoutError:
            return min(2 * backoff, LAST_BACKOFF_SECONDS)
        return FIRST_BACKOFF_SECONDS


class Environments:
    """All gates by environment id."""

    def __init__(
        self,
        peers: Peers,
        store: Store,
        controls: Controls,
        journal: Journal,
        *,
        spawn: Callable[[Coroutine[Any, Any, None], str], object],
        report: Report,
        patience: float,
        warning_share: Decimal,
    ) -> None:
        """None yet.

        Args:
            spawn: starts a task for the life of the service.
            report: tells the health of a peer.
            patience: seconds that a batch of checks may wait for what it names.
            warning_share: of a bound; a figure beyond it is near.
        """
        self._peers = peers
        self._store = store
        self._controls = controls
        self._journal = journal
        self._spawn = spawn
        self._tell = report
        self._patience = patience
        self._warning_share = warning_share
        self._gates: dict[str, EnvironmentGate] = {}
        self._followings: dict[str, _Following] = {}
        self._broken: dict[str, set[str]] = {"marketdata": set(), "order": set(), "portfolio": set()}
        self._health: dict[str, bool] = {}

    def recover(self, stored: Stored) -> None:
        """Take what was stored; call before serving."""
        parts = {part.environment_id: part for part in stored.parts}
        limited = {each.environment_id for each in stored.limits}
        killed = {each.environment_id for each in stored.kill_switches}
        for name in parts.keys() | stored.epochs.keys() | limited | killed:
            gate = self._make(name, stored.owners[name], stored.epochs.get(name, 0), parts.get(name))
            self._add(gate, None)

    async def open(self, environment_id: str) -> EnvironmentGate:
        """The gate of an environment, made now if it is new here.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE, nobody here knows it and marketdata is away.
        """
        gate = self._gates.get(environment_id)
        if gate is None:
            gate = self._know(await self._peers.environment(environment_id))
        if environment_id in self._followings:
            self._followings[environment_id].hurry()
        return gate

    async def of_portfolio(self, portfolio_id: str) -> EnvironmentGate:
        """The gate that counts a portfolio, once its opening entry counts there.

        Raises:
            ApiError: NOT_FOUND `PORTFOLIO_NOT_FOUND`; UNAVAILABLE, the portfolio is new and its entry has not come.
        """
        for gate in self._gates.values():
            if gate.folding.gate.knows(portfolio_id):
                return gate
        opening = await self._peers.opening(portfolio_id)
        gate = await self.open(opening.environment_id)
        try:
            left = deadline.budget(ARRIVAL_SECONDS)
            async with asyncio.timeout(left):
                await gate.folding.until(lambda: gate.folding.gate.knows(portfolio_id))
        except TimeoutError:
            message = f"The opening entry of {portfolio_id} has not come yet."
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", message) from None
        return gate

    async def require_symbol(self, environment_id: str, symbol: str) -> None:
        """Makes sure that a symbol trades in an environment.

        Raises:
            ApiError: FAILED_PRECONDITION `INSTRUMENT_NOT_IN_ENVIRONMENT`; UNAVAILABLE while marketdata is away.
        """
        if symbol not in (await self._peers.environment(environment_id)).symbols:
            message, metadata = f"{symbol} does not trade in {environment_id}.", {"symbol": symbol}
            reason = "INSTRUMENT_NOT_IN_ENVIRONMENT"
            raise ApiError.failed_precondition(reason, message, subject=symbol, metadata=metadata)

    async def announced(self, facts: Environment) -> tuple[int, int] | None:
        """The coordinator tells of an environment; where we stand in it, once we can take part."""
        if facts.ended and facts.environment_id not in self._gates:
            return None
        gate = self._know(facts)
        following = self._followings.get(facts.environment_id)
        if facts.ended and following is not None:
            following.end(facts)
        if facts.ended or following is None:
            return None
        following.hurry()
        await gate.folding.until(lambda: gate.ended or gate.folding.scene is not None)
        return gate.folding.cursor.tape_sequence, gate.folding.cursor.cycle

    async def fold(self, asked: Fold) -> int:
        """A cycle's fold; returns its ledger head when all of it counts."""
        gate = await self.open(asked.environment_id)
        await gate.folding.fold(asked.cycle, asked.tape_sequence, asked.order_head, asked.ledger_head)
        return asked.ledger_head

    async def save(self) -> None:
        """Store what changed."""
        for gate in list(self._gates.values()):
            await self._journal.save(gate)

    async def keep(self, interval: float) -> None:
        """Store what changed, every `interval` seconds."""
        while True:
            await asyncio.sleep(interval)
            await self.save()

    def _know(self, facts: Environment) -> EnvironmentGate:
        gate = self._gates.get(facts.environment_id)
        if gate is None:
            gate = self._make(facts.environment_id, facts.owner)
            self._add(gate, facts)
        return gate

    def _make(self, environment_id: str, owner: str, epoch: int = 0, part: Part | None = None) -> EnvironmentGate:
        return EnvironmentGate(
            environment_id,
            owner=owner,
            patience=self._patience,
            store_epoch=self._store.raise_epoch,
            epoch=epoch,
            part=part,
            warning_share=self._warning_share,
        )

    def _add(self, gate: EnvironmentGate, facts: Environment | None) -> None:
        name = gate.environment_id
        self._controls.restore(gate)
        self._gates[name] = gate
        if not gate.ended:
            following = self._followings[name] = _Following(gate, self._peers, self._report)
            self._spawn(self._live(following, facts), f"environment {name}")

    async def _live(self, following: _Following, facts: Environment | None) -> None:
        await following.run(facts)
        del self._followings[following.gate.environment_id]

    async def _report(self, peer: str, environment_id: str, up: bool, why: str = "") -> None:
        broken = self._broken[peer]
        if up is (environment_id in broken) or (up and peer not in self._health):
            extra = {"peer": peer, "environment_id": environment_id, "error": why}
            _log.info("found a peer" if up else "lost a peer", extra=extra)
        broken.discard(environment_id) if up else broken.add(environment_id)
        if self._health.get(peer) != (not broken):
            self._health[peer] = not broken
            await self._tell(peer, not broken)
