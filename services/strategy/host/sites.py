"""What the deployments of an environment stand on: its tape, its instruments, and their own order events."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

from services.chassis import deadline
from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.orders.order import OrderEvent
from services.domain.timeline import Timeline
from services.strategy.host.places import Place
from services.strategy.records import Moment
from services.wire.market import Market


class OwnEvents:
    """Order events of an environment, of which each deployment's own are held until it has decided on them.

    Args:
        after: events up to this one are known.
        wanted: whether a deployment decides here.

    Attributes:
        arrived: the last event that has come, whoever's it is.
        wanted: see above.
    """

    def __init__(self, after: int, wanted: Callable[[str], bool]) -> None:
        self.arrived = after
        self.wanted = wanted
        self._own: dict[str, deque[tuple[int, OrderEvent]]] = {}
        self._changed = asyncio.Event()

    def add(self, sequence: int, event: OrderEvent | None) -> None:
        """Takes the next event in, to hold where one is given; one that came before changes nothing.

        Raises:
            ApiError: UNAVAILABLE, when one in between is missing.
        """
        if sequence <= self.arrived:
            return
        if sequence != self.arrived + 1:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", f"Order event {self.arrived + 1} is missing.")
        if event is not None:
            self._own.setdefault(event.order.deployment_id, deque()).append((sequence, event))
        self.arrived = sequence
        self._changed.set()

    async def own(self, deployment_id: str, head: int) -> list[OrderEvent]:
        """A deployment's events up to `head` that it has not decided on, once everything up to there has come."""
        while self.arrived < head:
            self._changed.clear()
            await self._changed.wait()
        return [event for sequence, event in self._own.get(deployment_id, ()) if sequence <= head]

    def decided(self, deployment_id: str, head: int) -> None:
        """A deployment needs its events up to `head` no more."""
        own = self._own.get(deployment_id)
        while own and own[0][0] <= head:
            own.popleft()

    def forget(self, deployment_id: str) -> None:
        """A deployment decides no more."""
        self._own.pop(deployment_id, None)


@dataclass(slots=True)
class Site:
    """One environment that strategies take part in."""

    timeline: Timeline
    instruments: Mapping[str, Instrument]
    events: OwnEvents
    feeding: asyncio.Task[None]


class Feed(Protocol):
    """The order service's stream; `clients.OrderFeed`."""

    async def run(self, environment_id: str, events: OwnEvents) -> None:
        """Brings an environment's events, for ever."""


class Sites:
    """One site an environment, for as long as somebody decides in it."""

    def __init__(self, market: Market, feed: Feed, places: Mapping[str, Place]) -> None:
        self._market, self._feed, self._places = market, feed, places
        self._sites: dict[str, Site] = {}

    async def get(self, moment: Moment) -> Site:
        """The site of a moment's environment, read on first use."""
        environment_id = moment.environment_id
        site = self._sites.get(environment_id)
        if site is None:
            environment = await self._market.environment(environment_id)
            instruments = await self._market.instruments(environment.symbols)
            timeline = Timeline(await self._market.tape(environment))
            events = OwnEvents(self._heard(moment), self._decides_here)
            feeding = deadline.detach(self._feed.run(environment_id, events), name="order-events")
            site = self._sites[environment_id] = Site(timeline, instruments, events, feeding)
        return site

    def leave(self, place: Place) -> None:
        """A deployment decides no more; with the last one its site goes: a tape of a million records takes 60 MB."""
        environment_id = place.deployment.environment_id
        site = self._sites.get(environment_id)
        if site is not None:
            site.events.forget(place.deployment.deployment_id)
            if not self._deciding(environment_id):
                site.feeding.cancel()
                del self._sites[environment_id]

    def close(self) -> None:
        """Ends what goes on in the background."""
        for site in self._sites.values():
            site.feeding.cancel()

    def _decides_here(self, deployment_id: str) -> bool:
        place = self._places.get(deployment_id)
        return place is not None and not place.ending

    def _heard(self, moment: Moment) -> int:
        """The last order event that all of an environment know of; who never decided has none before now."""
        heads = [
            place.progress.order_head if place.progress.runner else moment.order_head
            for place in self._deciding(moment.environment_id)
        ]
        return min(heads, default=moment.order_head)

    def _deciding(self, environment_id: str) -> list[Place]:
        return [
            place
            for place in self._places.values()
            if place.deployment.environment_id == environment_id and not place.ending
        ]
