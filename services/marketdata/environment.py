"""What an environment is: what was asked for, where it stands, who takes part. Times are ns since the epoch, UTC."""

from __future__ import annotations

import hashlib
import json
from asyncio import Future
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Final, NamedTuple, Protocol

from services.chassis.errors import ApiError

# What an environment is BLOCKED on whose tape is lost: us.
OURSELVES: Final = "marketdata"


class State(StrEnum):
    """As clients see it. BLOCKED is never stored: it is RUNNING with somebody missing."""

    CREATED = "CREATED"
    RUNNING = "RUNNING"
    PAUSED = "PAUSED"
    BLOCKED = "BLOCKED"
    COMPLETED = "COMPLETED"
    STOPPED = "STOPPED"


ENDED = frozenset({State.COMPLETED, State.STOPPED})


@dataclass(frozen=True, slots=True)
class Pace:
    """How fast market time may go; nothing set is as fast as the participants can.

    Attributes:
        multiple: market seconds a wall second.
        sessions_per_second: session closes a wall second.
    """

    multiple: float | None = None
    sessions_per_second: float | None = None


FULL_SPEED = Pace()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The part of a replay's request that makes its tape. Times are ns; None for the data set's own."""

    data_set_id: str
    symbols: tuple[str, ...] = ()
    start_time: int | None = None
    end_time: int | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """A replay as it is asked for; empty ids are the service's choice."""

    environment_id: str
    display_name: str
    wanted: Wanted
    warm_up_sessions: int
    pace: Pace
    seed: int
    request_id: str

    def digest(self) -> str:
        """Equal for equal values; the ids it is told apart by do not count."""
        values = asdict(self)
        del values["request_id"], values["environment_id"]
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Plan:
    """What never changes about a replay.

    Attributes:
        number: environments are numbered in the order they were created.
        request_id: the creator's, or empty.
        request_digest: of the request's values, to tell a repeat from a reuse of its ids.
        start_time, end_time: what its records lie between; None for all of the data set's.
        tape_digest: names the tape's file.
    """

    environment_id: str
    number: int
    display_name: str
    data_set_id: str
    symbols: tuple[str, ...]
    start_time: int | None
    end_time: int | None
    tape_digest: str
    start_sequence: int
    end_sequence: int
    seed: int
    request_id: str
    request_digest: str
    owner: str
    create_time: int


@dataclass(frozen=True, slots=True)
class Control:
    """What its owner asked for. `stopping` is set until the closing cycle has made it STOPPED."""

    state: State = State.CREATED
    stopping: bool = False
    pace: Pace = FULL_SPEED


@dataclass(frozen=True, slots=True)
class Position:
    """Where it stands between two cycles, and the grant of the next one once that may have been sent.

    Attributes:
        cycle: the last finished one; -1 before priming, which is cycle 0.
        market_time: of `tape_sequence`, ns; 0 before the first record.
        granted_through: of cycle + 1; None while it is not granted. A crash repeats exactly this grant, unless the
            venue knows of the next one already.
        final: the granted cycle closes the environment.
    """

    cycle: int = -1
    tape_sequence: int = 0
    order_head: int = 0
    ledger_head: int = 0
    market_time: int = 0
    granted_through: int | None = None
    final: bool = False


class Claim(NamedTuple):
    """A strategy's say that a deployment is its own; where it first joins, what its orders will name."""

    deployment_id: str
    seat_digest: str
    strategy_id: str = ""
    portfolio_id: str = ""


@dataclass(frozen=True, slots=True)
class Enrolment:
    """A strategy's place in an environment; `seat_digest` is of the token by which it is held."""

    deployment_id: str
    number: int
    start_sequence: int
    seat_digest: str
    strategy_id: str = ""
    portfolio_id: str = ""
    left: bool = False


@dataclass(frozen=True, slots=True)
class Stored:
    """An environment as the store holds it; `enrolments` by number, those that left included."""

    plan: Plan
    control: Control
    position: Position
    enrolments: tuple[Enrolment, ...] = ()

    def standing(self, state: State, *blocked_on: str) -> View:
        """How it is shown while nothing happens in it."""
        position, pace = self.position, self.control.pace
        time, cycle = position.market_time or None, max(position.cycle, 0)
        return View(self.plan, state, blocked_on, pace, position.tape_sequence, time, cycle)


@dataclass(frozen=True, slots=True)
class View:
    """An environment as it is shown. `market_time` is None before the first record."""

    plan: Plan
    state: State
    blocked_on: tuple[str, ...]
    pace: Pace
    tape_sequence: int
    market_time: int | None
    cycle: int


def tape_lost(plan: Plan) -> ApiError:
    """UNAVAILABLE: the tape's file is gone, and its data set does not make it any more."""
    message = f"The tape of {plan.environment_id} is lost, and {plan.data_set_id} does not make it any more."
    return ApiError.unavailable("ENVIRONMENT_BLOCKED", message, metadata={"blocked_on": OURSELVES})


class Writes(Protocol):
    """The part of the store that moves environments."""

    def put(
        self, plan: Plan, parts: Sequence[Control | Position | Enrolment], then: Callable[[], None] | None = None
    ) -> Future[None]:
        """Replaces what changed, in one transaction."""
