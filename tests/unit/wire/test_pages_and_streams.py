"""A page goes on where the one before ended; a stream's messages follow each other."""

from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.strategy.v1 import strategy_service_pb2

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import encode_page_token
from services.wire.pages import Page, pages
from services.wire.streams import Envelopes, messages

Request = order_service_pb2.ListOrdersRequest
Response = order_service_pb2.StreamOrderEventsResponse


def test_a_page_ends_with_a_token_only_where_there_is_more() -> None:
    page = Page(Request(page_size=2), 2)
    assert (page.size, page.after, page.number) == (2, [], None)
    assert page.cut([5, 6], lambda each: ("e", each)) == ([5, 6], "")
    shown, token = page.cut([5, 6, 7], lambda each: ("e", each))
    assert shown == [5, 6]
    following = Page(Request(page_size=9, page_token=token), 2)
    assert (following.after, following.number) == (["e", "6"], 6)


def test_another_lists_token_is_refused() -> None:
    token = Page(Request(symbol="A")).token(5)
    for other in (
        Request(symbol="B", page_token=token),
        order_service_pb2.ListExecutionsRequest(symbol="A", page_token=token),
    ):
        with pytest.raises(ApiError) as caught:
            Page(other)
        assert caught.value.reason == "PAGE_TOKEN_INVALID"


@pytest.mark.parametrize("value", ["", "x", "-", "-1", "--1", "1e3", "٣", str(2**63), "1" * 5000])
def test_a_number_that_is_none_is_refused(value: str) -> None:
    page = Page(Request(page_token=Page(Request()).token(value)))
    with pytest.raises(ApiError) as caught:
        _ = page.number
    assert caught.value.reason == "PAGE_TOKEN_INVALID"
    with pytest.raises(ApiError):
        Page(Request(page_token=encode_page_token(value)))


def test_days_before_1970_are_numbers_too() -> None:
    assert Page(Request(page_token=Page(Request()).token(-5))).signed == -5


async def test_a_list_is_read_to_its_end() -> None:
    tokens = []

    async def call(request: Any) -> Any:
        tokens.append(request.page_token)
        orders = [order_pb2.Order(order_id=str(len(tokens)))]
        return order_service_pb2.ListOrdersResponse(orders=orders, next_page_token="next" if len(tokens) < 3 else "")

    found = await pages(call, Request(), "orders")
    assert [each.order_id for each in found] == ["1", "2", "3"]
    assert tokens == ["", "next", "next"]


def test_every_message_names_the_one_before() -> None:
    envelopes = Envelopes(Response, "e", lambda sequence, scanned: f"{sequence}/{scanned}", told=3)
    event = order_service_pb2.OrderEvents(events=[order_pb2.OrderEvent(sequence=5)]).SerializeToString()
    error = ApiError.unavailable("SERVICE_UNAVAILABLE", "bye")
    sent = [
        Response.FromString(each)
        for each in (
            envelopes.wrap("order_events", event, 5, 8),
            envelopes.heartbeat(5, 9),
            envelopes.reset("TOKEN_EXPIRED", 2, "gone"),
            envelopes.closed(error),
        )
    ]
    told = [(each.previous_sequence, each.sequence, each.resume_token) for each in sent]
    assert told == [(3, 5, "5/8"), (5, 5, "5/9"), (5, 2, "2/2"), (2, 2, "2/2")]
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
    envelopes = Envelopes(Response, "e", lambda sequence, _: str(sequence))

    async def told() -> AsyncGenerator[bytes]:
        yield envelopes.heartbeat(0, 4)
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
