"""Signals as clients read them: in pages, and as a stream that can be resumed at any point of the past."""

from __future__ import annotations

from collections.abc import Callable

from services.chassis.errors import ApiError
from services.chassis.streams.event_log import EventLog, Subscription
from services.strategy.clients import Peers
from services.strategy.host.host import Host
from services.strategy.records import SignalKey
from services.strategy.store import Store


class Signals:
    """What is stored, and what comes."""

    def __init__(self, store: Store, log: EventLog[SignalKey], host: Host, peers: Peers) -> None:
        self._store, self._log, self._host, self._market = store, log, host, peers.market

    async def home(self, environment_id: str, deployment_id: str) -> str:
        """The environment that is named, or that a deployment belongs to, or the default where neither is given.

        Raises:
            ApiError: NOT_FOUND `DEPLOYMENT_NOT_FOUND`, also where the named environment has no such deployment;
                `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE when nobody can tell.
        """
        if deployment_id:
            place = self._host.places.get(deployment_id)
            found = "" if place is None else place.deployment.environment_id
            if not found or environment_id not in {"", found}:
                message = f"{environment_id} has no deployment {deployment_id}." if found else ""
                raise ApiError.not_found("deployment", deployment_id, "DEPLOYMENT_NOT_FOUND", message)
            return found
        if environment_id:
            await self.require(environment_id)
            return environment_id
        return (await self._market.default()).environment_id

    async def require(self, environment_id: str) -> None:
        """Makes sure that there is such an environment.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`; UNAVAILABLE when nobody can tell.
        """
        deployed = (place.deployment.environment_id for place in self._host.places.values())
        if not self._log.head(environment_id) and environment_id not in deployed:
            await self._market.environment(environment_id)

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
