"""Deployments: strategies put to work in portfolios, and stopped."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from services.chassis import deadline
from services.chassis.errors import ApiError
from services.strategy.clients import Peers
from services.strategy.host.host import Host
from services.strategy.host.places import Place
from services.strategy.records import Deployment, State, unused_id
from services.strategy.store import Store
from services.strategy.workshop.strategies import Strategies

# What is left of a call's deadline for the answer's way back.
ANSWER_SECONDS: Final = 0.1


@dataclass(frozen=True, slots=True)
class NewDeployment:
    """A deployment as it is asked for; what is left to the service is empty."""

    strategy_id: str
    portfolio_id: str
    deployment_id: str
    request_id: str
    principal: str


class Deployments:
    """The use cases. An id is taken at once, but nothing shows before it is stored.

    Args:
        welcome_seconds: the longest wait for a new deployment's place.
    """

    def __init__(
        self, store: Store, strategies: Strategies, peers: Peers, host: Host, *, welcome_seconds: float
    ) -> None:
        self._store, self._strategies, self._peers, self._host = store, strategies, peers, host
        self._welcome_seconds = welcome_seconds
        self._claimed: dict[str, Deployment] = {}
        self._requests: dict[str, str] = {}

    def recover(self) -> None:
        """Takes back what the host has recovered."""
        for place in self.all():
            self._claim(place.deployment)

    def all(self) -> Iterable[Place]:
        """All deployments, oldest first."""
        return self._host.places.values()

    def find(self, deployment_id: str) -> Place:
        """A deployment.

        Raises:
            ApiError: NOT_FOUND `DEPLOYMENT_NOT_FOUND`.
        """
        found = self._host.places.get(deployment_id)
        if found is None:
            raise ApiError.not_found("deployment", deployment_id, "DEPLOYMENT_NOT_FOUND")
        return found

    async def deploy(self, wanted: NewDeployment) -> Place:
        """Deploys a strategy; returns it RUNNING, or PENDING where its environment takes longer to let it in.

        Raises:
            ApiError: NOT_FOUND `STRATEGY_NOT_FOUND`, `STRATEGY_KIND_NOT_FOUND` or `PORTFOLIO_NOT_FOUND`,
                FAILED_PRECONDITION `ENVIRONMENT_COMPLETED`, ALREADY_EXISTS `ALREADY_EXISTS` or `REQUEST_ID_REUSED`,
                UNAVAILABLE `SERVICE_UNAVAILABLE`.
        """
        found = self._existing(wanted)
        if found is None:
            environment_id = await self._environment_of(wanted)
            # Somebody else may have been faster while we asked.
            found = self._existing(wanted)
            if found is None:
                found = self._made(wanted, environment_id)
                await self._host.enter(found)
        await self._store.writer.drain()
        return await self._settled(self.find(found.deployment_id))

    async def stop(self, strategy_id: str, deployment_id: str) -> list[Place]:
        """Stops one deployment of a strategy, or all that run; returns those.

        Raises:
            ApiError: NOT_FOUND `STRATEGY_NOT_FOUND` or `DEPLOYMENT_NOT_FOUND`, FAILED_PRECONDITION `DEPLOYMENT_ENDED`.
        """
        self._strategies.find(strategy_id)
        places = [place for place in self.all() if place.deployment.strategy_id == strategy_id and not place.ending]
        if deployment_id:
            places = [self._stoppable(self.find(deployment_id), strategy_id)]
        await self._host.end(places, State.STOPPED)
        return places

    def _stoppable(self, place: Place, strategy_id: str) -> Place:
        deployment = place.latest
        if deployment.strategy_id != strategy_id:
            raise ApiError.not_found("deployment", deployment.deployment_id, "DEPLOYMENT_NOT_FOUND")
        if not deployment.live and deployment.state is not State.STOPPED:
            raise ApiError.failed_precondition(
                "DEPLOYMENT_ENDED",
                f"The deployment {deployment.deployment_id} is {deployment.state} already.",
                subject=deployment.deployment_id,
                metadata={"state": deployment.state},
            )
        return place

    async def _environment_of(self, wanted: NewDeployment) -> str:
        """The environment of the portfolio, which must not have ended, nor the strategy's kind have vanished."""
        strategy = self._strategies.find(wanted.strategy_id)
        if strategy.kind not in self._strategies.kinds:
            raise ApiError.not_found("strategy kind", strategy.kind, "STRATEGY_KIND_NOT_FOUND")
        environment_id = await self._peers.portfolios.environment_of(wanted.portfolio_id)
        if (await self._peers.market.environment(environment_id)).ended:
            message = f"The environment {environment_id} has ended."
            raise ApiError.failed_precondition("ENVIRONMENT_COMPLETED", message, subject=environment_id)
        return environment_id

    def _existing(self, wanted: NewDeployment) -> Deployment | None:
        """The deployment that this request made, or one of the same id and values."""
        first = self._requests.get(wanted.request_id)
        if first is not None:
            if wanted.deployment_id not in {"", first} or not _same(self._claimed[first], wanted):
                raise ApiError.already_exists(
                    "request", wanted.request_id, "REQUEST_ID_REUSED", metadata={"deployment_id": first}
                )
            return self._claimed[first]
        taken = self._claimed.get(wanted.deployment_id)
        if taken is not None and not _same(taken, wanted):
            raise ApiError.already_exists("deployment", wanted.deployment_id, "ALREADY_EXISTS")
        return taken

    def _made(self, wanted: NewDeployment, environment_id: str) -> Deployment:
        siblings = sum(each.strategy_id == wanted.strategy_id for each in self._claimed.values())
        made = Deployment(
            deployment_id=wanted.deployment_id or unused_id(wanted.strategy_id, siblings + 1, self._claimed),
            number=len(self._claimed) + 1,
            strategy_id=wanted.strategy_id,
            portfolio_id=wanted.portfolio_id,
            environment_id=environment_id,
            request_id=wanted.request_id,
            create_time=time.time_ns(),
            principal=wanted.principal,
            owner=wanted.principal,
            seat_token=secrets.token_hex(16),
        )
        self._claim(made)
        return made

    def _claim(self, deployment: Deployment) -> None:
        self._claimed[deployment.deployment_id] = deployment
        if deployment.request_id:
            self._requests[deployment.request_id] = deployment.deployment_id

    async def _settled(self, place: Place) -> Place:
        left = deadline.remaining()
        patience = self._welcome_seconds if left is None else min(self._welcome_seconds, left - ANSWER_SECONDS)
        with suppress(TimeoutError):
            async with asyncio.timeout(max(0.0, patience)):
                await place.settled.wait()
        return place


def _same(found: Deployment, wanted: NewDeployment) -> bool:
    return (found.strategy_id, found.portfolio_id) == (wanted.strategy_id, wanted.portfolio_id)
