"""What happened at the gates as clients read it: in pages, and as a stream that resumes at any point of the past."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Any

from services.chassis.errors import ApiError
from services.chassis.streams.event_log import EventLog
from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import ResumeTokens
from services.risk.clients import Peers
from services.risk.environments import Environments
from services.risk.records import Journalled, RiskKind
from services.risk.store import Store
from services.wire.streams import Cursor, Envelopes


class RiskEvents:
    """What is stored, and what comes."""

    def __init__(
        self, store: Store, log: EventLog[Journalled], tokens: ResumeTokens, environments: Environments, peers: Peers
    ) -> None:
        self._store, self._log, self._tokens = store, log, tokens
        self._environments, self._peers = environments, peers

    async def home(self, environment_id: str, portfolio_id: str = "") -> str:
        """The environment that is meant: the one named, else the portfolio's, else the newest running one.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`, or `PORTFOLIO_NOT_FOUND` where that has no such portfolio;
                UNAVAILABLE while nobody can tell.
        """
        if portfolio_id:
            found = (await self._environments.of_portfolio(portfolio_id)).environment_id
            if environment_id not in {"", found}:
                message = f"{environment_id} has no portfolio {portfolio_id}."
                raise ApiError.not_found("portfolio", portfolio_id, "PORTFOLIO_NOT_FOUND", message)
            return found
        if not environment_id:
            return await self._peers.default_environment()
        return (await self._environments.open(environment_id)).environment_id

    async def page(
        self, environment_id: str, portfolio_id: str, kinds: Collection[RiskKind], after: int, limit: int
    ) -> Sequence[Journalled]:
        """An environment's events after a number; empty filters let all pass."""
        return await self._store.events(environment_id, after, limit, portfolio_id, kinds)

    async def stream(self, request: Any, response: Any, kinds: Collection[RiskKind]) -> AsyncGenerator[bytes]:
        """The messages of a validated StreamRiskEventsRequest.

        Raises:
            ApiError: as `RiskService.StreamRiskEvents` says.
        """
        cursor = Cursor(request, self._tokens)
        environment_id = cursor.partition or await self.home(request.environment_id, request.portfolio_id)
        subscription = self._log.subscribe(environment_id, cursor.after, _accept(request.portfolio_id, kinds))
        return Envelopes(response, environment_id, cursor).follow(subscription, "risk_events")


def reader(store: Store, encode: Callable[[Journalled], Entry[Journalled]]) -> Callable[[str, int, int], Any]:
    """Reads what fell out of the log's memory."""

    async def read(environment_id: str, after: int, limit: int) -> list[Entry[Journalled]]:
        return [encode(each) for each in await store.events(environment_id, after, limit)]

    return read


def _accept(portfolio_id: str, kinds: Collection[RiskKind]) -> Callable[[Journalled], bool] | None:
    if not portfolio_id and not kinds:
        return None
    return lambda event: portfolio_id in {"", event.portfolio_id} and (not kinds or event.kind in kinds)
