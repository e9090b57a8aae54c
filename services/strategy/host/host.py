"""The strategies' side of replays (rule 32): who takes part, what each decides, and when that is stored."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import grpc

from services.chassis import deadline
from services.chassis.details import clip
from services.chassis.errors import ApiError
from services.chassis.failpoints import failpoint
from services.domain.strategy import Strategy
from services.domain.timeline import Wake
from services.strategy.clients import Peers
from services.strategy.host.journal import Journal
from services.strategy.host.places import Place
from services.strategy.host.runner import Decider, Stale
from services.strategy.host.sites import Site, Sites
from services.strategy.host.turns import Turn
from services.strategy.records import Deployment, Made, Moment, Seat, State
from services.strategy.store import Store, Stored
from services.strategy.workshop.mind import Decision, Mind, StrategyFailed
from services.wire.environments import Environment

# The order service and the coordinator disagree on the position for as long as one of them restarts.
STALE_SECONDS: Final = 0.02
LONGEST_ERROR: Final = 1000

_log = logging.getLogger(__name__)


class Host:
    """All deployments.

    Args:
        make: makes the strategy of a deployment.
        scanning: let strategies skip what they would not act on.
    """

    def __init__(
        self,
        store: Store,
        journal: Journal,
        peers: Peers,
        make: Callable[[Deployment], Strategy],
        *,
        scanning: bool = True,
    ) -> None:
        self.places: dict[str, Place] = {}
        self._store, self._journal, self._peers = store, journal, peers
        self._make, self._scanning = make, scanning
        self._sites = Sites(peers.market, peers.feed, self.places)
        self._saying: set[asyncio.Task[None]] = set()

    def recover(self, stored: Stored) -> None:
        """Takes back what is stored; call once, before serving."""
        self._journal.recover(stored.heads)
        for deployment, progress in stored.deployments:
            at = max(progress.tape_sequence, deployment.start_sequence)
            place = Place(deployment, progress, progress.cycle, at, ending=not deployment.live)
            if deployment.state is not State.PENDING:
                place.settled.set()
            if not deployment.live:
                place.over.set()
            self.places[deployment.deployment_id] = place

    def close(self) -> None:
        """Ends what goes on in the background."""
        self._sites.close()
        for task in self._saying:
            task.cancel()

    # --- what clients ask for

    async def enter(self, deployment: Deployment) -> None:
        """Stores a new deployment and asks for its place."""
        place = Place(deployment)

        def then() -> None:
            self.places[deployment.deployment_id] = place

        await self._store.put_deployments([deployment], then)
        self._say(self._peers.replays.join(place.seat))

    async def end(
        self,
        places: Sequence[Place],
        state: State,
        error: str = "",
        made: Sequence[Made] = (),
        *,
        released: bool = False,
    ) -> None:
        """Ends deployments for good, if they have not ended; a decision under way is dropped.

        Args:
            made: the last signals of the only one of `places`.
            released: the coordinator need not be told.
        """
        ending = [place for place in places if not place.ending]
        for place in ending:
            place.ending = True
            place.latest = replace(place.latest, state=state, error=clip(error, LONGEST_ERROR), released=released)
            _log.info(
                "a deployment ends",
                extra={"deployment_id": place.latest.deployment_id, "state": state.value, "error": error},
            )
            if place.scope is not None:
                place.scope.reschedule(asyncio.get_running_loop().time())
        if ending:
            await self._store_end(ending, made)
        if not released:
            for place in ending:
                self._say(self._peers.replays.leave(place.seat))
        for place in places:
            await place.over.wait()

    async def _store_end(self, ending: Sequence[Place], made: Sequence[Made]) -> None:
        # What was decided before is stored first: then this is the last that is.
        await self._store.writer.drain()
        unit = self._store.deployments_unit([place.latest for place in ending])
        shown = []
        for place in ending:
            count = place.progress.signal_count + len(made)
            last = replace(place.progress, tape_sequence=place.tape_sequence, signal_count=count)
            more, show = self._journal.unit(place, last, made)
            unit += more
            shown.append(show)

        def then() -> None:
            for place, show in zip(ending, shown, strict=True):
                self._ended(place)
                show()

        await self._store.writer.commit(unit, then)

    def _ended(self, place: Place) -> None:
        place.deployment = place.latest
        place.rest()
        place.settled.set()
        place.over.set()
        self._sites.leave(place)

    # --- what the coordinator says

    async def roll(self) -> tuple[list[Seat], list[Seat]]:
        """Who joins and who has left, at each connection; environments that ended meanwhile are closed.

        Raises:
            ApiError: UNAVAILABLE, when marketdata cannot be asked.
        """
        told = [place for place in self.places.values() if not place.deployment.released]
        for environment_id in dict.fromkeys(place.deployment.environment_id for place in told):
            try:
                await self.announced(await self._peers.market.environment(environment_id))
            except ApiError as error:
                if error.code is not grpc.StatusCode.NOT_FOUND:
                    raise
                _log.error("an environment is gone", extra={"environment_id": environment_id})
                await self._close(environment_id, State.FAILED, f"the environment {environment_id} is gone")
        told = [place for place in self.places.values() if not place.deployment.released]
        return [each.seat for each in told if not each.ending], [each.seat for each in told if each.ending]

    async def announced(self, environment: Environment) -> None:
        """An environment is as it is: when it has ended, so have its deployments."""
        if environment.ended:
            await self._close(environment.environment_id, State.COMPLETED)

    async def welcomed(self, deployment_id: str, deployment_number: int, start_sequence: int) -> None:
        """A deployment has its place; what is said again changes nothing."""
        place = self.places.get(deployment_id)
        if place is None or place.ending or place.deployment.state is not State.PENDING:
            return
        running = place.latest = replace(
            place.latest, deployment_number=deployment_number, start_sequence=start_sequence, state=State.RUNNING
        )

        def then() -> None:
            place.deployment, place.tape_sequence = running, start_sequence
            place.settled.set()

        await self._store.put_deployments([running], then)
        _log.info(
            "a deployment begins",
            extra={"deployment_id": deployment_id, "number": deployment_number, "start_sequence": start_sequence},
        )

    async def refused(self, deployment_id: str, error: ApiError) -> None:
        """A deployment has no place: somebody else came with its id first, or it has left; it ends."""
        place = self.places.get(deployment_id)
        if place is not None and not place.ending:
            await self.end([place], State.FAILED, str(error), released=True)

    async def decide(self, moment: Moment, deployment_ids: Sequence[str]) -> Mapping[str, Wake] | Seat | None:
        """Lets deployments decide, one after the other; returns when all that came of it is stored.

        Returns:
            What each waits for now; or the seat of one whose decision was void, to be asked again; or None where nobody
            is left to answer.
        """
        began = time.time_ns()
        site = await self._sites.get(moment)
        with Turn(lambda wakes, storing: self._say(self._done(moment, wakes, storing))) as turn:
            for deployment_id in deployment_ids:
                place = self.places.get(deployment_id)
                if place is None or place.ending:
                    if place is not None:
                        self._say(self._peers.replays.leave(place.seat))
                    continue
                if moment.cycle <= place.cycle and place.wake is not None:
                    turn.take(deployment_id, place.wake)
                    continue
                try:
                    decision = await self._decide(place, site, moment, began)
                except Stale as error:
                    _log.info("a decision is void", extra={"deployment_id": deployment_id, "error": str(error)})
                    place.rest()
                    await asyncio.sleep(STALE_SECONDS)
                    return place.seat
                except StrategyFailed as error:
                    await self.end([place], State.FAILED, str(error), error.made)
                    continue
                if decision is not None and not place.ending:
                    site.events.decided(deployment_id, moment.order_head)
                    turn.take(deployment_id, decision.wake, self._journal.take(place, moment, decision))
        wakes = await turn.answer()
        failpoint("strategy.before_done")
        return wakes or None

    async def _done(self, moment: Moment, wakes: Mapping[str, Wake], storing: Iterable[Awaitable[None]]) -> None:
        for stored in storing:
            await stored
        await self._peers.replays.done(moment, wakes)

    async def _decide(self, place: Place, site: Site, moment: Moment, began: int) -> Decision | None:
        """A deployment's decision; None where it was ended meanwhile."""
        deployment = place.deployment
        try:
            async with asyncio.timeout(None) as scope:
                place.scope = scope
                if place.decider is None:
                    place.decider = self._decider(place, site)
                    await place.decider.start()
                if moment.cycle <= place.cycle:
                    # Stored, then forgotten by a restart.
                    return Decision(await place.decider.wake())
                events = await site.events.own(deployment.deployment_id, moment.order_head)
                return await place.decider.decide(moment, events, began)
        except TimeoutError:
            if not place.ending:
                raise
            return None
        finally:
            place.scope = None

    def _decider(self, place: Place, site: Site) -> Decider:
        deployment = place.deployment
        think = partial(
            Mind,
            deployment,
            place.progress,
            partial(self._make, deployment),
            timeline=site.timeline,
            instruments=site.instruments,
            scanning=self._scanning,
        )
        return Decider(deployment, think, self._peers.orders)

    async def _close(self, environment_id: str, state: State, error: str = "") -> None:
        """Ends all deployments of an environment that has ended."""
        of_it = [place for place in self.places.values() if place.deployment.environment_id == environment_id]
        await self.end(of_it, state, error, released=True)
        left = [place for place in of_it if not place.latest.released]
        if left:
            for place in left:
                place.latest = replace(place.latest, released=True)

            def then() -> None:
                for place in left:
                    place.deployment = place.latest

            await self._store.put_deployments([place.latest for place in left], then)

    def _say(self, saying: Coroutine[Any, Any, None]) -> None:
        """Says something to the coordinator as soon as it is there."""
        task = deadline.detach(saying, name="saying")
        self._saying.add(task)
        task.add_done_callback(self._saying.discard)
