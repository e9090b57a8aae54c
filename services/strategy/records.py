"""What the service keeps: strategies, deployments, how far each has decided, and signals. Plain values."""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from services.domain.timeline import Wake


class State(StrEnum):
    """Where a deployment stands."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    STOPPED = "STOPPED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


LIVE = frozenset({State.PENDING, State.RUNNING})


@dataclass(frozen=True, slots=True)
class StrategyRecord:
    """A kind with its parameters and symbols; never changes.

    Attributes:
        number: strategies are numbered in the order they were created.
        parameters: all of them, as text.
        request_id: the creator's, or empty.
        create_time: wall time, ns.
    """

    strategy_id: str
    number: int
    display_name: str
    kind: str
    parameters: Mapping[str, str]
    symbols: tuple[str, ...]
    request_id: str
    create_time: int
    principal: str
    owner: str


@dataclass(frozen=True, slots=True)
class Deployment:
    """A strategy at work in a portfolio.

    Attributes:
        number: deployments are numbered in the order they were created.
        deployment_number: its place among the strategies of its environment; 0 while PENDING.
        start_sequence: records up to it are history.
        released: the coordinator need not be told any more that it left.
        seat_token: holds its seat; nobody else can join, leave or give orders as this deployment.
    """

    deployment_id: str
    number: int
    strategy_id: str
    portfolio_id: str
    environment_id: str
    request_id: str
    create_time: int
    principal: str
    owner: str
    deployment_number: int = 0
    state: State = State.PENDING
    error: str = ""
    start_sequence: int = 0
    released: bool = False
    seat_token: str = field(default="", repr=False)

    @property
    def live(self) -> bool:
        """Whether it takes part, or is about to."""
        return self.state in LIVE


@dataclass(frozen=True, slots=True)
class Progress:
    """How far a deployment has decided.

    Attributes:
        cycle: the last one it was stored in; it has decided nothing since that cannot be worked out again.
        tape_sequence, order_head: the position and the order events known in that cycle.
        runner: the state of its `StrategyRunner` as JSON; empty before it has decided anything.
    """

    cycle: int = 0
    tape_sequence: int = 0
    order_head: int = 0
    signal_count: int = 0
    runner: str = ""


class Seat(NamedTuple):
    """Where a deployment stands when it joins its environment; `wake` is None where it is to be asked."""

    environment_id: str
    deployment_id: str
    cycle: int = 0
    tape_sequence: int = 0
    wake: Wake | None = None
    seat_token: str = ""
    strategy_id: str = ""
    portfolio_id: str = ""


class SignalKey(NamedTuple):
    """What filters of signals look at."""

    deployment_id: str
    symbol: str
    signal_id: str


class Made(NamedTuple):
    """A signal that is yet to be numbered. `body` is its encoding without the sequence."""

    key: SignalKey
    body: bytes


class Moment(NamedTuple):
    """A cycle's question: records up to `tape_sequence` and order events up to `order_head` are known."""

    environment_id: str
    cycle: int
    tape_sequence: int
    order_head: int


def unused_id(stem: str, number: int, taken: Container[str]) -> str:
    """`stem-number`, or with the next number that is free; within the 64 characters of an id."""
    while (name := f"{stem[:56]}-{number}") in taken:
        number += 1
    return name
