"""A page goes on where the one before ended."""

from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import encode_page_token
from services.wire.pages import Page, pages

Request = order_service_pb2.ListOrdersRequest


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
