"""The messages exchanged with the coordinator, as values: pure functions."""

from __future__ import annotations

from typing import NamedTuple

from tickmesh.marketdata.v1 import environment_pb2, replay_service_pb2

from services.order.commands.roll import Enrolled, Roll
from services.wire.environments import Environment, environment_from_proto


class Grant(NamedTuple):
    """The venue may run up to `through`; `final` says that the tape ends there."""

    environment_id: str
    cycle: int
    through: int
    final: bool


class Idle(NamedTuple):
    """Time stands still at `tape_sequence`; `blocked` where it does because somebody is missing."""

    environment_id: str
    tape_sequence: int
    blocked: bool


class Reached(NamedTuple):
    """How far a grant led."""

    cycle: int
    tape_sequence: int
    order_head: int


def reached_to_proto(environment_id: str, reached: Reached) -> replay_service_pb2.JoinReplayRequest:
    """Answers a grant."""
    message = replay_service_pb2.Reached(environment_id=environment_id, **reached._asdict())
    return replay_service_pb2.JoinReplayRequest(reached=message)


def instruction(message: replay_service_pb2.JoinReplayResponse) -> Environment | Grant | Idle | Roll | None:
    """What the coordinator tells the venue; None for what is none of its business."""
    match message.WhichOneof("message"):
        case "announced":
            return environment_from_proto(message.announced.environment)
        case "grant":
            grant = message.grant
            return Grant(grant.environment_id, grant.cycle, grant.through, grant.final)
        case "roll":
            deployments = {
                each.deployment_id: Enrolled(each.strategy_id, each.portfolio_id, each.seat_digest)
                for each in message.roll.deployments
            }
            return Roll(message.roll.environment_id, deployments)
        case "idle":
            idle = message.idle
            return Idle(
                idle.environment_id, idle.tape_sequence, idle.state == environment_pb2.ENVIRONMENT_STATE_BLOCKED
            )
        case _:
            return None
