"""A stream's messages follow each other, from its beginning or from any token of it."""

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable
from contextlib import aclosing
from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.strategy.v1 import strategy_service_pb2

from services.chassis.errors import ApiError
from services.chassis.streams.event_log import EventLog
from services.chassis.streams.ring import Entry
from services.chassis.streams.tokens import ResumeTokens, filter_hash, length_delimited
from services.wire.streams import GOES_ON, MISSED, Cursor, Envelopes, messages

Streamed = order_service_pb2.StreamOrderEventsRequest
Response = order_service_pb2.StreamOrderEventsResponse
TOKENS = ResumeTokens("life")
OF_ANOTHER = Cursor(Streamed(portfolio_id="another"), TOKENS)
# By event: 4 to 9 are not for who asks for portfolio "p".
EVENTS = ["p", "p", "p", *["q"] * 6, "p"]


def event_log(events: list[str], draining: asyncio.Event | None = None) -> EventLog[str]:
    log: EventLog[str] = EventLog(draining=draining, batch=2, heartbeat_seconds=0.01)
    publish(log, events)
    return log


def publish(log: EventLog[str], events: list[str]) -> None:
    head = log.head("e")
    for number, portfolio_id in enumerate(events, head + 1):
        event = order_pb2.OrderEvent(sequence=number).SerializeToString()
        log.publish("e", [Entry(number, portfolio_id, length_delimited(1, event))])


def follow(
    log: EventLog[str], request: Any, snapshot: Callable[[Envelopes], Iterable[bytes]] | None = None
) -> AsyncGenerator[bytes]:
    cursor = Cursor(request, TOKENS)
    envelopes = Envelopes(Response, "e", cursor)
    accept = (lambda event: event == request.portfolio_id) if request.portfolio_id else None
    subscription = log.subscribe("e", cursor.after, accept)
    return envelopes.follow(subscription, "order_events", snapshot and (lambda: snapshot(envelopes)))


async def first(stream: AsyncGenerator[bytes], count: int) -> list[Any]:
    async with aclosing(stream):
        return [Response.FromString(await anext(stream)) for _ in range(count)]


def numbers(found: list[Any]) -> list[int]:
    return [event.sequence for message in found for event in message.order_events.events]


async def test_a_filtered_stream_goes_on_from_any_message_of_it_as_if_it_had_not_broken() -> None:
    log = event_log(EVENTS[:9])
    whole = await first(follow(log, Streamed(portfolio_id="p", after_sequence=0)), 3)
    assert [message.WhichOneof("event") for message in whole] == ["order_events", "order_events", "heartbeat"]
    publish(log, EVENTS[9:])
    for at, message in enumerate(whole):
        broken = Streamed(portfolio_id="p", resume_token=message.resume_token)
        rest = await first(follow(log, broken), 2 + (at == 0))
        assert rest[0].previous_sequence == message.sequence
        assert [each.previous_sequence for each in rest[1:]] == [each.sequence for each in rest[:-1]]
        assert numbers(whole[: at + 1] + rest) == [1, 2, 3, 10]


async def test_a_cursor_that_broke_begins_with_a_snapshot_or_goes_on_with_what_comes() -> None:
    def snapshot(envelopes: Envelopes) -> list[bytes]:
        return [envelopes.wrap("snapshot", order_service_pb2.OrderSnapshot(last=True).SerializeToString(), 10)]

    log = event_log(EVENTS)
    of_another_life = Streamed(resume_token=ResumeTokens("another").encode({"e": 3}, filter_hash(Streamed())))
    from_the_future = Streamed(after_sequence=50)
    for request, before in ((of_another_life, 0), (from_the_future, 50)):
        reset, beat = await first(follow(log, request), 2)
        assert (reset.reset.message, reset.previous_sequence, reset.sequence) == (GOES_ON, before, 10)
        assert (beat.heartbeat.scanned_sequence, beat.previous_sequence) == (10, 10)
        reset, shown, *_ = await first(follow(log, request, snapshot), 2)
        assert (reset.reset.message, shown.snapshot.last, shown.previous_sequence) == (MISSED, True, 10)


async def test_who_begins_anew_gets_a_snapshot_or_what_comes_from_now_on() -> None:
    log = event_log(EVENTS)
    [beat] = await first(follow(log, Streamed()), 1)
    assert (beat.WhichOneof("event"), beat.sequence, beat.previous_sequence) == ("heartbeat", 10, 10)
    [shown] = await first(follow(log, Streamed(), lambda envelopes: [envelopes.wrap("snapshot", b"", 10)]), 1)
    assert (shown.WhichOneof("event"), shown.sequence, shown.previous_sequence) == ("snapshot", 10, 0)


async def test_a_stream_that_drains_says_so_and_ends() -> None:
    draining = asyncio.Event()
    log = event_log(EVENTS, draining)
    draining.set()
    [closed], error = await heard(follow(log, Streamed(after_sequence=0)))
    assert ApiError.from_status(closed.closed.status).reason == error.reason == "SERVICE_UNAVAILABLE"


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (Streamed(resume_token="x"), "RESUME_TOKEN_INVALID"),
        (Streamed(resume_token=TOKENS.encode({}, filter_hash(Streamed()))), "RESUME_TOKEN_INVALID"),
        (Streamed(resume_token=TOKENS.encode({"e": 1, "f": 2}, filter_hash(Streamed()))), "RESUME_TOKEN_INVALID"),
        (
            Streamed(resume_token=Cursor(Streamed(portfolio_id="p"), TOKENS).token("e", 1)),
            "RESUME_TOKEN_FILTER_MISMATCH",
        ),
        (Streamed(resume_token=Cursor(Streamed(), TOKENS).token("e", 1), after_sequence=1), "INVALID_ARGUMENT"),
    ],
)
def test_a_cursor_that_cannot_be_meant_is_refused(request_: Any, reason: str) -> None:
    with pytest.raises(ApiError) as refused:
        Cursor(request_, TOKENS)
    assert (refused.value.code.name, refused.value.reason) == ("INVALID_ARGUMENT", reason)


def test_every_message_names_the_one_before() -> None:
    envelopes = Envelopes(Response, "e", cursor := Cursor(Streamed(after_sequence=3), TOKENS))
    event = order_service_pb2.OrderEvents(events=[order_pb2.OrderEvent(sequence=5)]).SerializeToString()
    error = ApiError.unavailable("SERVICE_UNAVAILABLE", "bye")
    sent = [
        Response.FromString(each)
        for each in (
            envelopes.wrap("order_events", event, 5),
            envelopes.heartbeat(9),
            envelopes.reset("TOKEN_EXPIRED", 2, "gone"),
            envelopes.closed(error),
        )
    ]
    assert [(each.previous_sequence, each.sequence) for each in sent] == [(3, 5), (5, 9), (9, 2), (2, 2)]
    assert [each.resume_token for each in sent] == [cursor.token("e", each.sequence) for each in sent]
    assert [each.WhichOneof("event") for each in sent] == ["order_events", "heartbeat", "reset", "closed"]
    assert sent[0].order_events.events[0].sequence == 5
    assert sent[1].heartbeat.scanned_sequence == 9
    assert {each.partition for each in sent} == {"e"}
    assert len({each.subscription_id for each in sent}) == 1
    assert ApiError.from_status(sent[3].closed.status).reason == "SERVICE_UNAVAILABLE"


async def heard(sent: AsyncGenerator[bytes]) -> tuple[list[Any], ApiError]:
    """All of a stream, and what it ended with."""
    found = []
    try:
        async for message in sent:
            found.append(Response.FromString(message))  # noqa: PERF401 what came before the error counts
    except ApiError as error:
        return found, error
    pytest.fail("the stream ended well")


@pytest.mark.parametrize("failure", [ApiError.not_found("order", "1", "ORDER_NOT_FOUND"), KeyError("x")])
async def test_a_stream_that_fails_says_why_once_and_then_ends_with_the_error(failure: Exception) -> None:
    envelopes = Envelopes(Response, "e", Cursor(Streamed(), TOKENS))

    async def told() -> AsyncGenerator[bytes]:
        yield envelopes.heartbeat(4)
        raise failure

    async def ended() -> AsyncGenerator[bytes]:
        error = ApiError.unavailable("SERVICE_UNAVAILABLE", "bye")
        yield envelopes.closed(error)
        raise error

    for messages_of, arms in ((told(), ["heartbeat", "closed"]), (ended(), ["closed"])):
        sent, error = await heard(envelopes.closing(messages_of))
        assert [each.WhichOneof("event") for each in sent] == arms
        assert ApiError.from_status(sent[-1].closed.status).reason == error.reason


async def test_who_follows_a_stream_hears_of_its_end() -> None:
    class Call:
        def __init__(self, *told: Any) -> None:
            self.told, self.canceled = told, False

        async def __aiter__(self) -> AsyncIterator[Any]:
            for each in self.told:
                yield each

        def cancel(self) -> None:
            self.canceled = True

    signal, broken = strategy_service_pb2.StreamSignalsResponse(), strategy_service_pb2.StreamSignalsResponse()
    signal.signals.SetInParent()
    broken.reset.message = "gone"
    call = Call(signal, broken, signal)
    stream = messages(call)
    assert await anext(stream) == signal
    with pytest.raises(ApiError, match="gone"):
        await anext(stream)
    assert call.canceled
