"""Resumable streams, as they are served and as they are followed."""

from __future__ import annotations

import uuid
from collections.abc import AsyncGenerator, Callable, Iterable
from contextlib import aclosing
from typing import Any, Final

from google.protobuf.message import Message
from tickmesh.common.v1 import stream_pb2

from services.chassis.errors import ApiError, api_error
from services.chassis.streams.event_log import Closed, Events, Heartbeat, Reset, Subscription
from services.chassis.streams.tokens import ResumeTokens, TokenExpired, filter_hash, length_delimited
from services.wire.values import now

MISSED: Final = "What was missed is no longer known; a snapshot follows."
"""What the reset of a stream with snapshots says."""
GOES_ON: Final = "What was missed is no longer known; the stream goes on with what comes."
"""What that of any other says."""


class Cursor:
    """Where a subscription to one partition is to begin.

    Attributes:
        partition: of its token; empty without one that is good.
        after: the last sequence that is known; None where it begins anew.
        expired: whether its token is of another life of the stream.
    """

    def __init__(self, request: Any, tokens: ResumeTokens, *no_filter: str) -> None:
        """Takes a stream's request, its tokens, and the names of the fields that are no filter.

        Raises:
            ApiError: INVALID_ARGUMENT; `RESUME_TOKEN_INVALID`, `RESUME_TOKEN_FILTER_MISMATCH` for another filter's
                token, or where `after_sequence` is given beside one.
        """
        self._tokens, self._filter = tokens, filter_hash(request, "after_sequence", *no_filter)
        self.partition, self.expired = "", False
        self.after: int | None = None
        if "after_sequence" in request.DESCRIPTOR.fields_by_name and request.HasField("after_sequence"):
            if request.resume_token:
                raise ApiError.invalid_field("after_sequence", "goes with no resume_token")
            self.after = request.after_sequence
        elif request.resume_token:
            self._resume(request.resume_token)

    def token(self, partition: str, sequence: int) -> str:
        """What resumes the subscription after a sequence."""
        return self._tokens.encode({partition: sequence}, self._filter)

    def _resume(self, token: str) -> None:
        try:
            ((self.partition, self.after),) = self._tokens.decode(token, self._filter).items()
        except TokenExpired:
            self.expired = True
        except ValueError:
            raise ApiError.invalid_field("resume_token", "is no token of this stream", "RESUME_TOKEN_INVALID") from None


class Envelopes:
    """One subscription's messages. What they bring is encoded already; only the envelope's head is their own.

    Attributes:
        told: `sequence` of the message before: the last that it brought or, left behind by a filter, told of.
    """

    def __init__(self, response: type[Message], partition: str, cursor: Cursor) -> None:
        """Takes the stream's message type, the partition, and where the subscription begins."""
        self.told = cursor.after or 0
        self._response: Any = response
        self._arms = {name: field.number for name, field in response.DESCRIPTOR.fields_by_name.items()}
        self._partition = partition
        self._cursor = cursor
        self._subscription_id = uuid.uuid4().hex
        self._closed = False

    def wrap(self, arm: str, data: bytes, sequence: int) -> bytes:
        """An envelope around encoded data."""
        return self._head(sequence) + length_delimited(self._arms[arm], data)

    def around(self, event: bytes, sequence: int) -> bytes:
        """An envelope around an event that is encoded with its arm: what many are sent is copied once for each."""
        return self._head(sequence) + event

    def heartbeat(self, scanned: int) -> bytes:
        """Nothing new."""
        return self.wrap("heartbeat", _bytes(stream_pb2.Heartbeat(scanned_sequence=scanned)), scanned)

    def reset(self, reason: str, head: int, message: str) -> bytes:
        """The cursor broke; it goes on after `head`."""
        number = stream_pb2.ResetReason.Value(f"RESET_REASON_{reason}")
        return self.wrap("reset", _bytes(stream_pb2.Reset(reason=number, message=message)), head)

    def closed(self, error: ApiError) -> bytes:
        """The stream ends."""
        self._closed = True
        return self.wrap("closed", _bytes(stream_pb2.Closed(status=error.to_status())), self.told)

    def other(self, item: Heartbeat | Reset | Closed, missed: str) -> bytes:
        """What a subscription tells beside events."""
        match item:
            case Heartbeat():
                return self.heartbeat(item.scanned)
            case Reset():
                return self.reset(item.reason, item.head, missed)
            case Closed():
                return self.closed(item.error)

    async def follow(
        self, subscription: Subscription[Any], arm: str, snapshot: Callable[[], Iterable[bytes]] | None = None
    ) -> AsyncGenerator[bytes]:
        """The messages of a subscription to events that are encoded one by one.

        Args:
            subscription: what they tell.
            arm: of the events.
            snapshot: seeks to the newest event and tells of all up to it, at the beginning and wherever the cursor
                broke; None for a stream that goes on with what comes.

        Raises:
            ApiError: why it ended.
        """
        missed = GOES_ON if snapshot is None else MISSED
        if self._cursor.expired:
            yield self.reset("TOKEN_EXPIRED", subscription.position, missed)
        if self._cursor.after is None and snapshot is not None:
            for part in snapshot():
                yield part
        else:
            self.told = subscription.position
        async for item in subscription:
            if isinstance(item, Events):
                # `sequence` is the last one looked at, so that a resume begins where the last message ended.
                yield self.wrap(arm, item.data, item.scanned)
                continue
            yield self.other(item, missed)
            if isinstance(item, Closed):
                raise item.error
            if isinstance(item, Reset) and snapshot is not None:
                for part in snapshot():
                    yield part

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

    def _head(self, sequence: int) -> bytes:
        head = self._response(
            subscription_id=self._subscription_id,
            partition=self._partition,
            sequence=sequence,
            previous_sequence=self.told,
            publish_time=now(),
            resume_token=self._cursor.token(self._partition, sequence),
        )
        self.told = sequence
        return _bytes(head)


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
