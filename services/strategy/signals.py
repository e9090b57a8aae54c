"""Signals as clients read them: in pages, and as a stream that can be resumed at any point of the past."""

from __future__ import annotations

from collections.abc import Callable

from services.chassis.streams.event_log import EventLog, Subscription
from services.strategy.clients import Peers
from services.strategy.host.host import Host
from services.strategy.records import SignalKey
from services.strategy.store import Store


class Signals:
    """What is stored, and what comes."""

    def __init__(self, store: Store, log: EventLog[SignalKey], host: Host, peers: Peers) -> None:
        self._store, self._log, self._host, self._market = store, log, host, peers.market

    async def default(self) -> str:
        """The environment that is meant by who names none, as marketdata says.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE when nobody can tell.
        """
        return (await self._market.default()).environment_id

    def of_deployment(self, deployment_id: str) -> str:
        """A deployment's environment; empty where there is no such deployment."""
        place = self._host.places.get(deployment_id)
        return "" if place is None else place.deployment.environment_id

    async def home(self, environment_id: str, deployment_id: str) -> str:
        """The environment that is meant: the one named, else the deployment's, else the newest running one.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE when nobody can tell.
        """
        known = environment_id or self.of_deployment(deployment_id)
        if not known:
            return await self.default()
        if not self._log.head(known):
            await self._market.environment(known)
        return known

    async def page(self, environment_id: str, after: int, limit: int, **filters: str) -> list[tuple[int, bytes]]:
        """(number, encoded signal) of an environment's signals after a number; empty filters let all pass."""
        return await self._store.signals_page(environment_id, after, limit, **filters)

    def subscribe(self, environment_id: str, after: int | None, deployment_id: str) -> Subscription[SignalKey]:
        """Signals after a number, or from now on, as they come; only of one deployment where one is named."""
        accept: Callable[[SignalKey], bool] | None = None
        if deployment_id:

            def accept(key: SignalKey) -> bool:
                return key.deployment_id == deployment_id

        return self._log.subscribe(environment_id, after, accept)
