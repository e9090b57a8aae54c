"""Resumable streams, as they are served and as they are followed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Any, Final

from google.protobuf.message import Message
from tickmesh.common.v1 import stream_pb2

from services.chassis.errors import ApiError, api_error
from services.chassis.streams.tokens import ResumeTokens, length_delimited
from services.wire.values import now

MISSED: Final = "The cursor is of another life of this stream; a snapshot follows."
"""What the reset of a stream with snapshots says."""


class Envelopes:
    """One subscription's messages. What they bring is encoded already; only the envelope's head is their own.

    Attributes:
        told: `sequence` of the message before.
        scanned: the last sequence looked at, which a filter may leave behind.
    """

    def __init__(
        self, response: type[Message], partition: str, token: Callable[[int, int], str], told: int = 0, scanned: int = 0
    ) -> None:
        """Takes the stream's message type, and what makes a resume token of (sequence, scanned)."""
        self.told, self.scanned = told, max(told, scanned)
        self._response: Any = response
        self._arms = {name: field.number for name, field in response.DESCRIPTOR.fields_by_name.items()}
        self._partition = partition
        self._token = token
        self._subscription_id = uuid.uuid4().hex
        self._closed = False

    def wrap(self, arm: str, data: bytes, sequence: int, scanned: int = 0) -> bytes:
        """An envelope around encoded data."""
        return self._message(arm, data, sequence, max(scanned, sequence, self.scanned))

    def around(self, event: bytes, sequence: int) -> bytes:
        """An envelope around an event that is encoded with its arm: what many are sent is copied once for each."""
        return self._head(sequence, max(sequence, self.scanned)) + event

    def heartbeat(self, sequence: int, scanned: int) -> bytes:
        """Nothing new."""
        return self._message("heartbeat", _bytes(stream_pb2.Heartbeat(scanned_sequence=scanned)), sequence, scanned)

    def reset(self, reason: str, head: int, message: str) -> bytes:
        """The cursor broke; it goes on after `head`."""
        number = stream_pb2.ResetReason.Value(f"RESET_REASON_{reason}")
        return self._message("reset", _bytes(stream_pb2.Reset(reason=number, message=message)), head, head)

    def closed(self, error: ApiError) -> bytes:
        """The stream ends."""
        self._closed = True
        return self._message("closed", _bytes(stream_pb2.Closed(status=error.to_status())), self.told, self.scanned)

    async def closing(self, messages: AsyncGenerator[bytes]) -> AsyncGenerator[bytes]:
        """The messages; if they fail, `closed` says why before the error ends the stream: over REST nothing else does.

        Raises:
            ApiError: what they failed with.
        """
        async with aclosing(messages):
            try:
                async for message in messages:
                    yield message
            except Exception as error:
                known = api_error(error)
                if not self._closed:
                    yield self.closed(known)
                raise known from error

    def _message(self, arm: str, data: bytes, sequence: int, scanned: int) -> bytes:
        return self._head(sequence, scanned) + length_delimited(self._arms[arm], data)

    def _head(self, sequence: int, scanned: int) -> bytes:
        head = self._response(
            subscription_id=self._subscription_id,
            partition=self._partition,
            sequence=sequence,
            previous_sequence=self.told,
            publish_time=now(),
            resume_token=self._token(sequence, scanned),
        )
        self.told, self.scanned = sequence, scanned
        return _bytes(head)


def resume_point(tokens: ResumeTokens, token: str, hashed: str) -> tuple[str, int]:
    """The partition and the sequence after which a stream of one partition goes on.

    Raises:
        ApiError: INVALID_ARGUMENT `RESUME_TOKEN_INVALID`, or `RESUME_TOKEN_FILTER_MISMATCH` for another filter's.
        TokenExpired: the token is of another life of the stream.
    """
    try:
        ((partition, sequence),) = tokens.decode(token, hashed).items()
    except ValueError:
        raise ApiError.invalid_field("resume_token", "is no token of this stream", "RESUME_TOKEN_INVALID") from None
    return partition, sequence


async def messages(call: Any) -> AsyncGenerator[Any]:
    """The messages of a stream that is followed by its sequence; those that tell of its end raise.

    Raises:
        ApiError: why it ended; UNAVAILABLE when the cursor is not known any more: what was missed is missed.
    """
    try:
        async for message in call:
            kind = message.WhichOneof("event")
            if kind == "closed":
                raise ApiError.from_status(message.closed.status)
            if kind == "reset":
                raise ApiError.unavailable("SERVICE_UNAVAILABLE", f"Our cursor is not known: {message.reset.message}")
            yield message
    finally:
        call.cancel()


def _bytes(message: Message) -> bytes:
    return message.SerializeToString()
