"""What happened at the gates as clients read it: in pages, and as a stream that resumes at any point of the past."""

from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from typing import Any, Final

from services.chassis.errors import ApiError
from services.chassis.streams.event_log import Closed, EventLog, Events, Heartbeat, Reset
from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import ResumeTokens, TokenExpired
from services.risk.clients import Peers
from services.risk.environments import Environments
from services.risk.records import Journalled, RiskKind
from services.risk.store import Store
from services.wire.streams import Envelopes, resume_point

_MISSED: Final = "What was missed is no longer known; the stream goes on with what comes."


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

    async def stream(
        self, request: Any, response: Any, hashed: str, kinds: Collection[RiskKind]
    ) -> AsyncGenerator[bytes]:
        """The messages of a validated StreamRiskEventsRequest.

        Raises:
            ApiError: as `RiskService.StreamRiskEvents` says.
        """
        environment_id, after, expired = await self._cursor(request, hashed)
        tokens = self._tokens
        envelopes = Envelopes(response, environment_id, lambda _, at: tokens.encode({environment_id: at}, hashed))
        if expired:
            yield envelopes.reset("TOKEN_EXPIRED", after, _MISSED)
        envelopes.told = envelopes.scanned = after
        async for item in self._log.subscribe(environment_id, after, _accept(request.portfolio_id, kinds)):
            match item:
                case Events():
                    yield envelopes.wrap("risk_events", item.data, item.sequence, item.scanned)
                case Heartbeat():
                    yield envelopes.heartbeat(envelopes.told, item.scanned)
                case Reset():
                    yield envelopes.reset(item.reason, item.head, _MISSED)
                case Closed():
                    yield envelopes.closed(item.error)
                    raise item.error

    async def _cursor(self, request: Any, hashed: str) -> tuple[str, int, bool]:
        """The environment, the event to begin after, and whether a token had expired."""
        if request.resume_token and request.HasField("after_sequence"):
            raise ApiError.invalid_field("after_sequence", "goes with no resume_token")
        expired = False
        if request.resume_token:
            try:
                return *resume_point(self._tokens, request.resume_token, hashed), False
            except TokenExpired:
                expired = True
        environment_id = await self.home(request.environment_id, request.portfolio_id)
        head = self._log.head(environment_id)
        return environment_id, request.after_sequence if request.HasField("after_sequence") else head, expired


def reader(store: Store, encode: Callable[[Journalled], Entry[Journalled]]) -> Callable[[str, int, int], Any]:
    """Reads what fell out of the log's memory."""

    async def read(environment_id: str, after: int, limit: int) -> list[Entry[Journalled]]:
        return [encode(each) for each in await store.events(environment_id, after, limit)]

    return read


def _accept(portfolio_id: str, kinds: Collection[RiskKind]) -> Callable[[Journalled], bool] | None:
    if not portfolio_id and not kinds:
        return None
    return lambda event: portfolio_id in {"", event.portfolio_id} and (not kinds or event.kind in kinds)
