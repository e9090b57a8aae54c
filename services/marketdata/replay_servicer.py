"""The replay's barrier and its tape over gRPC."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Any, Final

import grpc
from tickmesh.marketdata.v1 import replay_service_pb2, tape_service_pb2
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceServicer
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceServicer

from services.chassis.deadline import detach
from services.chassis.errors import ApiError, api_error
from services.marketdata.environment import Claim
from services.marketdata.environments import Environments
from services.marketdata.mapping import environment_to_proto, state_to_proto
from services.marketdata.replay.participants import (
    Announced,
    Decide,
    Grant,
    Idle,
    Link,
    Message,
    Participants,
    Refused,
    Role,
    Roll,
    Welcome,
)
from services.wire.cycle import Fold
from services.wire.tapes import stretches_to_proto
from services.wire.wakes import wake_from_proto

Context = grpc.aio.ServicerContext[Any, Any]

# Envoy puts it on every call that comes through it.
EDGE_KEY: Final = "x-tickmesh-edge"

_ROLES: Final = {
    replay_service_pb2.PARTICIPANT_ROLE_VENUE: Role.VENUE,
    replay_service_pb2.PARTICIPANT_ROLE_BOOKS: Role.BOOKS,
    replay_service_pb2.PARTICIPANT_ROLE_STRATEGY: Role.STRATEGY,
}
_ANSWERS: Final = {"reached": Role.VENUE, "applied": Role.BOOKS, "done": Role.STRATEGY, "leave": Role.STRATEGY}


class ReplayServicer(ReplayServiceServicer):
    """JoinReplay: a stream of a participant, whatever the number of its environments."""

    def __init__(self, environments: Environments) -> None:
        self._participants = environments.participants

    async def JoinReplay(
        self, requests: AsyncIterator[replay_service_pb2.JoinReplayRequest], context: Context
    ) -> AsyncIterator[replay_service_pb2.JoinReplayResponse]:
        """Notes what the participant says, and writes what it is to do."""
        link = await _hello(requests, context, self._participants)
        if link is None:
            return
        reader = detach(_listen(requests, link, self._participants), name=f"participant:{link.name}")
        try:
            while (message := await link.next()) is not None:
                yield to_proto(message)
        finally:
            reader.cancel()
            self._participants.lost(link)


class TapeServicer(TapeServiceServicer):
    """ReadTape."""

    def __init__(self, environments: Environments) -> None:
        self._environments = environments

    async def ReadTape(self, request: tape_service_pb2.ReadTapeRequest, context: Context) -> AsyncIterator[Any]:
        """Streams the tape in chunks of columns."""
        if _at_edge(context):
            raise _not_open("Tapes show the future")
        tape = await self._environments.tape(request.environment_id)
        after = min(request.after_sequence, len(tape))
        stop = min(len(tape), after + request.limit) if request.limit else len(tape)
        for stretch in stretches_to_proto(tape, after, stop):
            yield stretch


async def _hello(
    requests: AsyncIterator[replay_service_pb2.JoinReplayRequest], context: Context, participants: Participants
) -> Link | None:
    first = await anext(requests, None)
    if first is None:
        return None
    if first.WhichOneof("message") != "hello":
        raise ApiError.invalid_field("hello", "must be the first message")
    role = _ROLES[first.hello.role]
    if role is not Role.STRATEGY and _at_edge(context):
        raise _not_open(f"{role.value} takes part only inside")
    return participants.open(role, first.hello.participant)


async def _listen(
    requests: AsyncIterator[replay_service_pb2.JoinReplayRequest], link: Link, participants: Participants
) -> None:
    try:
        async for request in requests:
            _take(request, link, participants)
    except Exception as error:  # noqa: BLE001 whatever it is, the participant gets a status
        link.close(api_error(error))
    else:
        link.close()


def _take(request: replay_service_pb2.JoinReplayRequest, link: Link, participants: Participants) -> None:
    kind = request.WhichOneof("message")
    if kind in _ANSWERS and _ANSWERS[kind] is not link.role:
        raise ApiError.invalid_field(kind, f"is not for {link.role.value} to say")
    match kind:
        case "join":
            _join(request.join, link, participants)
        case "reached":
            said = request.reached
            environment = participants.environment(said.environment_id)
            environment.reached(link, said.cycle, said.tape_sequence, said.order_head)
        case "applied":
            applied = request.applied
            participants.environment(applied.environment_id).applied(link, applied.cycle, applied.ledger_head)
        case "done":
            done = request.done
            wakes = {each.deployment_id: wake_from_proto(each.next_wake) for each in done.wakes}
            participants.environment(done.environment_id).done(link, done.cycle, wakes)
        case "leave":
            leave = request.leave
            environment = participants.environment(leave.environment_id)
            with _refusing(link, leave.environment_id, leave.deployment_id):
                environment.leave(Claim(leave.deployment_id, _digest(leave.seat_token)))
        case _:
            raise ApiError.invalid_field("hello", "may be said only once")


def _join(join: replay_service_pb2.Join, link: Link, participants: Participants) -> None:
    environment = participants.environment(join.environment_id)
    if link.role is not Role.STRATEGY:
        environment.join(link, join.cycle, join.tape_sequence)
        return
    if not join.deployment_id:
        raise ApiError.invalid_field("join.deployment_id", "is what a strategy takes part by")
    if not join.seat_token:
        raise ApiError.invalid_field("join.seat_token", "is what a strategy holds its seat by")
    wake = wake_from_proto(join.next_wake) if join.HasField("next_wake") else None
    claim = Claim(join.deployment_id, _digest(join.seat_token), join.strategy_id, join.portfolio_id)
    with _refusing(link, join.environment_id, join.deployment_id):
        environment.enrol(link, claim, wake, join.cycle)


def _digest(seat_token: str) -> str:
    return hashlib.sha256(seat_token.encode()).hexdigest()


@contextmanager
def _refusing(link: Link, environment_id: str, deployment_id: str) -> Iterator[None]:
    """What one deployment is refused does not end the stream: it is the stream of others as well."""
    try:
        yield
    except ApiError as error:
        link.send(Refused(environment_id, deployment_id, error))


def to_proto(message: Message) -> replay_service_pb2.JoinReplayResponse:
    """A message to a participant."""
    wire = replay_service_pb2
    match message:
        case Grant(environment_id, cycle, through, final):
            made = wire.Grant(environment_id=environment_id, cycle=cycle, through=through, final=final)
            return wire.JoinReplayResponse(grant=made)
        case Fold(environment_id, cycle, tape_sequence, order_head, ledger_head):
            fold = wire.Fold(environment_id=environment_id, cycle=cycle, tape_sequence=tape_sequence)
            fold.order_head, fold.ledger_head = order_head, ledger_head
            return wire.JoinReplayResponse(fold=fold)
        case Decide(environment_id, cycle, tape_sequence, order_head, deployment_ids):
            decide = wire.Decide(environment_id=environment_id, cycle=cycle, tape_sequence=tape_sequence)
            decide.order_head = order_head
            decide.deployment_ids.extend(deployment_ids)
            return wire.JoinReplayResponse(decide=decide)
        case Idle(environment_id, cycle, state, tape_sequence):
            idle = wire.Idle(environment_id=environment_id, cycle=cycle, tape_sequence=tape_sequence)
            idle.state = state_to_proto(state)
            return wire.JoinReplayResponse(idle=idle)
        case Welcome(environment_id, deployment_id, number, start):
            welcome = wire.Welcome(environment_id=environment_id, deployment_id=deployment_id)
            welcome.deployment_number, welcome.start_sequence = number, start
            return wire.JoinReplayResponse(welcome=welcome)
        case Roll(environment_id, enrolments):
            roll = wire.Roll(environment_id=environment_id)
            for each in enrolments:
                entry = roll.deployments.add(deployment_id=each.deployment_id, deployment_number=each.number)
                entry.strategy_id, entry.portfolio_id = each.strategy_id, each.portfolio_id
                entry.seat_digest = each.seat_digest
            return wire.JoinReplayResponse(roll=roll)
        case Refused(environment_id, deployment_id, error):
            refused = wire.Refused(environment_id=environment_id, deployment_id=deployment_id, error=error.to_status())
            return wire.JoinReplayResponse(refused=refused)
        case Announced(view):
            return wire.JoinReplayResponse(announced=wire.Announced(environment=environment_to_proto(view)))


def _at_edge(context: Context) -> bool:
    return any(key == EDGE_KEY for key, _ in context.invocation_metadata() or ())


def _not_open(message: str) -> ApiError:
    return ApiError.permission_denied("NOT_OPEN_AT_EDGE", f"{message}; this is not open at the edge.")
