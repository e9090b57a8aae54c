"""Marketdata, as its peers ask it."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable
from typing import Final, TypeVar

import grpc
from tickmesh.marketdata.v1 import environment_service_pb2, instrument_service_pb2, tape_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub

from services.chassis.calls.channel import Channel
from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.domain.market import Record
from services.domain.tape import Tape
from services.wire.environments import Environment, environment_from_proto
from services.wire.instruments import instrument_from_proto
from services.wire.tapes import TapeReader

T = TypeVar("T")

IDEMPOTENT: Final = (
    "tickmesh.marketdata.v1.EnvironmentService/GetEnvironment",
    "tickmesh.marketdata.v1.EnvironmentService/GetDefaultEnvironment",
    "tickmesh.marketdata.v1.InstrumentService/GetInstrument",
)
"""The calls made here that may be repeated; a stream is not repeated by its channel."""


class Market:
    """Environments, instruments and tapes. Instruments never change, so each is asked for once.

    All of it raises ApiError: NOT_FOUND for what there is not, UNAVAILABLE `SERVICE_UNAVAILABLE` while marketdata is
    away.
    """

    def __init__(self, channel: Channel) -> None:
        self._environments = EnvironmentServiceStub(channel)
        self._instruments = InstrumentServiceStub(channel)
        self._tapes = TapeServiceStub(channel)
        self._known: dict[str, Instrument] = {}

    async def environment(self, environment_id: str) -> Environment:
        """An environment as it stands."""
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=environment_id)
        return environment_from_proto(await promptly(self._environments.GetEnvironment(request), "marketdata"))

    async def default(self) -> Environment:
        """The environment that is meant by who names none."""
        request = environment_service_pb2.GetDefaultEnvironmentRequest()
        return environment_from_proto(await promptly(self._environments.GetDefaultEnvironment(request), "marketdata"))

    async def instruments(self, symbols: Iterable[str]) -> dict[str, Instrument]:
        """The instruments of these symbols."""
        found: dict[str, Instrument] = {}
        for symbol in symbols:
            if symbol not in self._known:
                request = instrument_service_pb2.GetInstrumentRequest(symbol=symbol)
                self._known[symbol] = instrument_from_proto(await self._instruments.GetInstrument(request))
            found[symbol] = self._known[symbol]
        return found

    async def record(self, environment_id: str, sequence: int) -> Record | None:
        """One record of a tape; None where it has no such."""
        wanted = tape_service_pb2.ReadTapeRequest(environment_id=environment_id, after_sequence=sequence - 1, limit=1)
        reader = TapeReader()
        async for part in self._tapes.ReadTape(wanted):
            reader.add(part)
        tape = reader.tape()
        return tape.record(1) if len(tape) else None

    async def tape(self, environment: Environment) -> Tape:
        """An environment's whole tape."""
        return await read_tape(self._tapes, environment.environment_id, environment.end_sequence)


async def read_tape(stub: TapeServiceStub, environment_id: str, end_sequence: int) -> Tape:
    """A whole tape, which ends at `end_sequence`.

    Raises:
        ApiError: UNAVAILABLE `SERVICE_UNAVAILABLE`, also when it came short.
    """
    reader = TapeReader()
    async for part in stub.ReadTape(tape_service_pb2.ReadTapeRequest(environment_id=environment_id)):
        reader.add(part)
    tape = reader.tape()
    if len(tape) != end_sequence:
        message = f"The tape of {environment_id} came short, in {reader.parts} parts."
        raise ApiError.unavailable("SERVICE_UNAVAILABLE", message)
    return tape


async def promptly(call: Awaitable[T], service: str) -> T:
    """A peer that does not answer is away: that is what the caller is to know, not whose deadline passed."""
    try:
        return await call
    except ApiError as error:
        if error.code is grpc.StatusCode.DEADLINE_EXCEEDED:
            raise ApiError.unavailable("SERVICE_UNAVAILABLE", f"The {service} service does not answer.") from error
        raise
