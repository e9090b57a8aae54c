"""Environments as marketdata tells of them."""

from __future__ import annotations

from typing import Final, NamedTuple

from tickmesh.marketdata.v1 import environment_pb2

_ENDED: Final = frozenset({environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED})


class Environment(NamedTuple):
    """What takes part in an environment's cycle wants to know of it.

    Attributes:
        start_sequence, end_sequence: the tape positions where history ends, and where the tape does.
        tape_sequence, cycle: where time stands.
        ended: it is completed or stopped.
    """

    environment_id: str
    symbols: tuple[str, ...] = ()
    start_sequence: int = 0
    end_sequence: int = 0
    tape_sequence: int = 0
    cycle: int = 0
    ended: bool = False
    blocked_on: tuple[str, ...] = ()
    owner: str = ""


def environment_from_proto(message: environment_pb2.Environment) -> Environment:
    """An environment as it stands."""
    return Environment(
        environment_id=message.environment_id,
        symbols=tuple(message.symbols),
        start_sequence=message.start_sequence,
        end_sequence=message.end_sequence,
        tape_sequence=message.tape_sequence,
        cycle=message.cycle,
        ended=message.state in _ENDED,
        blocked_on=tuple(message.blocked_on),
        owner=message.owner,
    )
