"""Who takes part in replays: the open streams, and the messages on them, as plain values."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Final, Protocol

from services.chassis.errors import ApiError
from services.domain.timeline import Wake
from services.marketdata.environment import Claim, Enrolment, View
from services.wire.cycle import Fold

VENUE: Final = "order"
PORTFOLIO: Final = "portfolio"
RISK: Final = "risk"


class Role(Enum):
    """What a participant does in a cycle."""

    VENUE = "VENUE"
    BOOKS = "BOOKS"
    STRATEGY = "STRATEGY"


TOLD_THE_ROLL: Final = (VENUE, RISK)
"""The venue takes orders of who takes part, and risk limits their strategies."""
NAMES: Final = {Role.VENUE: frozenset({VENUE}), Role.BOOKS: frozenset({PORTFOLIO, RISK})}


@dataclass(frozen=True, slots=True)
class Announced:
    """To a participant: the environment as it stands."""

    view: View


@dataclass(frozen=True, slots=True)
class Welcome:
    """To a strategy: its place."""

    environment_id: str
    deployment_id: str
    deployment_number: int
    start_sequence: int


@dataclass(frozen=True, slots=True)
class Grant:
    """To the venue: run up to `through`."""

    environment_id: str
    cycle: int
    through: int
    final: bool


@dataclass(frozen=True, slots=True)
class Decide:
    """To strategies of one participant that follow each other in number."""

    environment_id: str
    cycle: int
    tape_sequence: int
    order_head: int
    deployment_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Idle:
    """To everybody: time stands still."""

    environment_id: str
    cycle: int
    state: str
    tape_sequence: int


@dataclass(frozen=True, slots=True)
class Roll:
    """To the venue and to risk: who takes part, by number."""

    environment_id: str
    enrolments: tuple[Enrolment, ...]


@dataclass(frozen=True, slots=True)
class Refused:
    """To a strategy: what it said of a deployment changed nothing."""

    environment_id: str
    deployment_id: str
    error: ApiError


Message = Announced | Welcome | Grant | Fold | Decide | Idle | Roll | Refused


class Link:
    """One open stream of a participant."""

    def __init__(self, role: Role, name: str) -> None:
        self.role = role
        self.name = name
        self._messages: deque[Message | ApiError | None] = deque()
        self._waiting: asyncio.Future[None] | None = None
        self.closed = False

    def send(self, message: Message) -> None:
        """Queues a message. A cycle waits for its answers, so few are ever queued."""
        if not self.closed:
            self._put(message)

    def close(self, error: ApiError | None = None) -> None:
        """Ends the stream after what is queued."""
        if not self.closed:
            self.closed = True
            self._put(error)

    async def next(self) -> Message | None:
        """The next message to write; None at the end.

        Raises:
            ApiError: what the stream was closed with.
        """
        while not self._messages:
            self._waiting = asyncio.get_running_loop().create_future()
            await self._waiting
        message = self._messages.popleft()
        if isinstance(message, ApiError):
            raise message
        return message

    def _put(self, message: Message | ApiError | None) -> None:
        self._messages.append(message)
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(None)


class Seats(Protocol):
    """An environment's side of its participants; `coordinator.Coordinator`."""

    @property
    def ended(self) -> bool:
        """Whether nothing happens in it any more."""

    def view(self) -> View:
        """As it stands."""

    def join(self, link: Link, cycle: int, tape_sequence: int) -> None:
        """The venue or books take part."""

    def enrol(self, link: Link, claim: Claim, wake: Wake | None, cycle: int) -> None:
        """A strategy takes part."""

    def reached(self, link: Link, cycle: int, tape_sequence: int, order_head: int) -> None:
        """The venue's answer."""

    def applied(self, link: Link, cycle: int, ledger_head: int) -> None:
        """The books' answer."""

    def done(self, link: Link, cycle: int, wakes: Mapping[str, Wake]) -> None:
        """A strategy's answer."""

    def leave(self, claim: Claim) -> None:
        """A strategy takes part no more."""

    def lost(self, link: Link) -> None:
        """A stream has ended."""


class Ended:
    """An environment in which nothing happens any more: it is shown, and whoever joins is told so."""

    ended = True

    def __init__(self, view: View) -> None:
        self._view = view
        self.plan = view.plan

    def view(self) -> View:
        """As it stands."""
        return self._view

    def join(self, link: Link, cycle: int, tape_sequence: int) -> None:
        """Says that it is over."""
        link.send(Announced(self._view))

    def enrol(self, link: Link, claim: Claim, wake: Wake | None, cycle: int) -> None:
        """Says that it is over."""
        link.send(Announced(self._view))

    def reached(self, link: Link, cycle: int, tape_sequence: int, order_head: int) -> None:
        """Too late."""

    def applied(self, link: Link, cycle: int, ledger_head: int) -> None:
        """Too late."""

    def done(self, link: Link, cycle: int, wakes: Mapping[str, Wake]) -> None:
        """Too late."""

    def leave(self, claim: Claim) -> None:
        """Nobody waits for it."""

    def lost(self, link: Link) -> None:
        """Nobody waits for it."""


class Lost(Ended):
    """An environment whose tape is gone, for this life of ours.

    VENUE and BOOKS are not told of it: they could not load its tape either, and would come back for ever.
    """


class Participants:
    """Every open stream."""

    def __init__(self, environments: Mapping[str, Seats]) -> None:
        self._environments = environments
        self._links: dict[Link, None] = {}

    def open(self, role: Role, name: str) -> Link:
        """A participant said hello. VENUE and BOOKS are told of every environment that has not ended.

        Raises:
            ApiError: INVALID_ARGUMENT for a venue or books that nobody waits for.
        """
        known = NAMES.get(role)
        if known is not None and name not in known:
            description = f"is none of {', '.join(sorted(known))}"
            raise ApiError.invalid_field("hello.participant", description)
        link = Link(role, name)
        self._links[link] = None
        if known is not None:
            for environment in self._environments.values():
                if not environment.ended:
                    link.send(Announced(environment.view()))
        return link

    def environment(self, environment_id: str) -> Seats:
        """The environment of this id.

        Raises:
            ApiError: NOT_FOUND `ENVIRONMENT_NOT_FOUND`.
        """
        found = self._environments.get(environment_id)
        if found is None:
            raise ApiError.not_found("environment", environment_id, "ENVIRONMENT_NOT_FOUND")
        return found

    def announce(self, view: View, strategies: Iterable[Link]) -> None:
        """An environment is new or changed: told to VENUE and BOOKS, and to the strategies that take part in it."""
        told = [link for link in self._links if link.role is not Role.STRATEGY]
        for link in dict.fromkeys([*told, *strategies]):
            link.send(Announced(view))

    def lost(self, link: Link) -> None:
        """A stream has ended."""
        link.close()
        self._links.pop(link, None)
        for environment in self._environments.values():
            environment.lost(link)

    async def close_when(self, draining: asyncio.Event) -> None:
        """Ends every stream once the server drains."""
        await draining.wait()
        for link in list(self._links):
            link.close(ApiError.unavailable("SERVICE_UNAVAILABLE", "The coordinator is restarting; join again."))
