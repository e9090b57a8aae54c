"""The environments that there are: opened when somebody names one, followed to their end, stored as they move."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Collection, Coroutine
from decimal import Decimal
from typing import Any

from services.chassis import deadline
from services.chassis.errors import ApiError
from services.risk.clients import Peers
from services.risk.controls import Controls
from services.risk.gate.following import Following
from services.risk.gate.gate import EnvironmentGate
from services.risk.gate.parts import Part
from services.risk.journal.journal import Journal
from services.risk.settings import Settings
from services.risk.store import Store, Stored
from services.wire.cycle import Fold
from services.wire.environments import Environment

# Longest wait of a call for a portfolio whose opening entry is on its way.
ARRIVAL_SECONDS = 2.0

_log = logging.getLogger(__name__)

Report = Callable[[str, bool], Awaitable[None]]


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
        settings: Settings,
    ) -> None:
        """None yet.

        Args:
            spawn: starts a task for the life of the service.
            report: tells the health of a peer.
        """
        self._peers = peers
        self._store = store
        self._controls = controls
        self._journal = journal
        self._spawn = spawn
        self._tell = report
        self._patience = settings.risk_check_patience_ms / 1000
        self._warning_share = Decimal(repr(settings.risk_warning_share))
        self._gates: dict[str, EnvironmentGate] = {}
        self._followings: dict[str, Following] = {}
        self._broken: dict[str, set[str]] = {"marketdata": set(), "order": set(), "portfolio": set()}
        self._health: dict[str, bool] = {}
        self._enrolled: dict[str, set[str]] = {}

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

    async def require_strategy(self, gate: EnvironmentGate, strategy_id: str) -> None:
        """Makes sure that there may be a strategy: the service's, or that of a participant from outside.

        What nobody can be asked about now may be there: a kill switch must always work.

        Raises:
            ApiError: NOT_FOUND `STRATEGY_NOT_FOUND`.
        """
        enrolled = self._enrolled.get(gate.environment_id)
        if enrolled is None or strategy_id in enrolled or gate.folding.gate.knows_strategy(strategy_id):
            return
        if not await self._peers.has_strategy(strategy_id):
            raise ApiError.not_found("strategy", strategy_id, "STRATEGY_NOT_FOUND")

    def enrolled(self, environment_id: str, strategies: Collection[str]) -> None:
        """The coordinator tells whose strategies take part; those that have left may have open orders still."""
        self._enrolled.setdefault(environment_id, set()).update(strategies)

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
            following = self._followings[name] = Following(gate, self._peers, self._report)
            self._spawn(self._live(following, facts), f"environment {name}")

    async def _live(self, following: Following, facts: Environment | None) -> None:
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
