"""A participant's side of a replay's cycle: what all of them say, and the whole of it for those that keep books."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final, Literal, NamedTuple

from tickmesh.marketdata.v1 import replay_service_pb2
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub

from services.chassis.calls.barrier import Participant
from services.chassis.calls.channel import Channel
from services.wire.environments import Environment, environment_from_proto

SEAT_KEY: Final = "x-tickmesh-seat"
"""The metadata by which a deployment's orders show that they are its own."""

Request = replay_service_pb2.JoinReplayRequest
Response = replay_service_pb2.JoinReplayResponse


def hello(role: Literal["VENUE", "BOOKS", "STRATEGY"], participant: str) -> Request:
    """Says who we are."""
    number = replay_service_pb2.ParticipantRole.Value(f"PARTICIPANT_ROLE_{role}")
    return Request(hello=replay_service_pb2.Hello(role=number, participant=participant))


def join(environment_id: str, tape_sequence: int, cycle: int) -> Request:
    """Says that our part of an environment is recovered, and where it stands."""
    message = replay_service_pb2.Join(environment_id=environment_id, tape_sequence=tape_sequence, cycle=cycle)
    return Request(join=message)


def environment_of(message: Response) -> str:
    """Which environment a message of the coordinator is about."""
    kind = message.WhichOneof("message")
    if kind == "announced":
        return str(message.announced.environment.environment_id)
    return str(getattr(message, kind).environment_id) if kind else ""


class Fold(NamedTuple):
    """What books are to count: all up to these heads and this position."""

    environment_id: str
    cycle: int
    tape_sequence: int
    order_head: int
    ledger_head: int = 0


class Books:
    """Takes part in every environment that is announced, and folds when asked."""

    def __init__(
        self,
        channel: Channel,
        name: str,
        announced: Callable[[Environment], Awaitable[tuple[int, int] | None]],
        fold: Callable[[Fold], Awaitable[int]],
        enrolled: Callable[[str, Collection[str]], None] | None = None,
    ) -> None:
        """Takes what is done.

        Args:
            announced: told of an environment; once it is recovered, answers the (tape_sequence, cycle) it has come to,
                or None where it takes no part.
            fold: returns the last ledger entry there is, when all of it counts.
            enrolled: told in an environment of which strategies deployments take part.
        """
        self._announced, self._fold, self._enrolled = announced, fold, enrolled
        self._joined: set[str] = set()
        stub = ReplayServiceStub(channel)
        self._participant: Participant[Any, Any] = Participant(
            stub.JoinReplay, lambda: self._hello(name), self._handle, key=environment_of, name=name
        )

    async def run(self) -> None:
        """Takes part for as long as we live."""
        await self._participant.run()

    def _hello(self, name: str) -> list[Request]:
        self._joined.clear()
        return [hello("BOOKS", name)]

    async def _handle(self, message: Response) -> Request | None:
        match message.WhichOneof("message"):
            case "announced":
                return await self._join(environment_from_proto(message.announced.environment))
            case "fold":
                asked = message.fold
                heads = (asked.cycle, asked.tape_sequence, asked.order_head, asked.ledger_head)
                head = await self._fold(Fold(asked.environment_id, *heads))
                applied = replay_service_pb2.Applied(
                    environment_id=asked.environment_id, cycle=asked.cycle, ledger_head=head
                )
                return Request(applied=applied)
            case "roll" if self._enrolled is not None:
                roll = message.roll
                self._enrolled(roll.environment_id, {each.strategy_id for each in roll.deployments})
                return None
            case _:
                return None

    async def _join(self, environment: Environment) -> Request | None:
        stands = await self._announced(environment)
        if stands is None or environment.environment_id in self._joined:
            return None
        self._joined.add(environment.environment_id)
        return join(environment.environment_id, *stands)
