"""One environment's life as risk follows it: its tape, its two streams, its end.

Every peer may be away, at the start too. What cannot be had yet is asked for again, for ever, while all else is served.
"""

import asyncio
import logging
import random
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import aclosing
from typing import Any, Protocol

from services.chassis.errors import ApiError
from services.risk.clients import Peers
from services.risk.gate.gate import EnvironmentGate
from services.wire.environments import Environment

FIRST_BACKOFF_SECONDS = 0.05
LAST_BACKOFF_SECONDS = 1.0

_log = logging.getLogger(__name__)


class Report(Protocol):
    """Hears how a link stands, and why."""

    async def __call__(self, peer: str, environment_id: str, up: bool, why: str = "") -> None: ...


class Following:
    """One environment's life: its tape is loaded, its two streams are followed, until it has ended."""

    def __init__(self, gate: EnvironmentGate, peers: Peers, report: Report) -> None:
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
            "order", lambda: self._peers.order_events(name, lambda: folding.events_received), folding.take_events
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
