"""What strategies wait for."""

from __future__ import annotations

from functools import lru_cache

from tickmesh.marketdata.v1 import replay_service_pb2

from services.domain.timeline import Wake
from services.wire.values import time_from, timestamp


@lru_cache(maxsize=1024)
def wake_to_proto(wake: Wake) -> replay_service_pb2.NextWake:
    """What a strategy waits for; the same message for the same wait, not to be changed."""
    return replay_service_pb2.NextWake(
        record_symbols=sorted(wake.records),
        bars=[replay_service_pb2.BarKey(symbol=symbol, interval=interval) for symbol, interval in sorted(wake.bars)],
        time=None if wake.time is None else timestamp(wake.time),
        tape_sequence=wake.sequence,
    )


def wake_from_proto(wake: replay_service_pb2.NextWake) -> Wake:
    """What a strategy waits for.

    Raises:
        ApiError: INVALID_ARGUMENT for a time that is none.
    """
    return Wake(
        records=frozenset(wake.record_symbols),
        bars=frozenset((each.symbol, each.interval) for each in wake.bars),
        time=time_from("next_wake.time", wake.time) if wake.HasField("time") else None,
        sequence=wake.tape_sequence,
    )
