"""What a client of the order service sees: orders, refusals, repeats, lists."""

import asyncio
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.order.v1 import order_pb2, order_service_pb2, venue_model_service_pb2
from tickmesh.order.v1.venue_model_service_pb2_grpc import VenueModelServiceStub

from services.chassis.errors import ApiError
from services.chassis.streams.tokens import decode_page_token, encode_page_token
from tests.component.order.calls import cancel, refused
from tests.component.order.support import ENVIRONMENT, Mesh, limit, request, start_peer, stop_peer

STATE = order_pb2.OrderState


def listing(**fields: Any) -> order_service_pb2.ListOrdersRequest:
    return order_service_pb2.ListOrdersRequest(**fields)


async def test_an_order_is_accepted_filled_and_told_of(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(request("a", label="first"))
    assert (order.order_id, order.state, order.environment_id) == ("replay-1-1", STATE.ORDER_STATE_NEW, ENVIRONMENT)
    assert (order.quantity, order.leaves_quantity, order.label, order.owner) == ("10", "10", "first", "local")
    assert order.reservation.cash == "1000.05"
    await mesh.market.run(1, 10)
    filled = await mesh.get("a")
    assert (filled.state, filled.avg_price, filled.gross_amount) == (STATE.ORDER_STATE_FILLED, "100.0100", "1000.10")
    assert await mesh.orders.GetOrder(order_service_pb2.GetOrderRequest(order_id="replay-1-1")) == filled
    told = await mesh.orders.ListOrderEvents(order_service_pb2.ListOrderEventsRequest(order_id="replay-1-1"))
    assert [event.exec_type for event in told.order_events] == [
        order_pb2.ExecType.EXEC_TYPE_NEW,
        order_pb2.ExecType.EXEC_TYPE_TRADE,
    ]
    assert told.order_events == await mesh.events()
    assert [event.cause for event in told.order_events] == ["command", "tape"]
    fills = await mesh.orders.ListExecutions(order_service_pb2.ListExecutionsRequest(portfolio_id="trend"))
    assert [(fill.exec_id, fill.price, fill.quantity, fill.tape_sequence) for fill in fills.executions] == [
        ("replay-1-1-2", "100.0100", "10", 4)
    ]


async def test_the_same_values_give_the_order_as_it_is_now(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a", "50", label="one"))
    again = limit("a", "50.00", label="two", quantity="10.0")
    assert await mesh.orders.CreateOrder(again) == first
    await mesh.orders.CancelOrder(cancel(first.order_id))
    assert (await mesh.orders.CreateOrder(again)).state == STATE.ORDER_STATE_CANCELED
    assert len(await mesh.events()) == 2


async def test_other_values_under_a_used_id_are_refused_and_change_nothing(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a", "50"))
    for other in (limit("a", "51"), limit("a", "50", quantity="11"), request("a"), limit("a", "50", symbol="MSFT")):
        error = await refused(mesh.orders.CreateOrder(other))
        assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "CLIENT_ORDER_ID_REUSED")
        assert error.metadata["order_id"] == first.order_id
    assert len(await mesh.events()) == 1
    # Ids are unique in a portfolio only.
    assert (await mesh.orders.CreateOrder(limit("a", "50", portfolio_id="other"))).order_id != first.order_id


async def test_a_hundred_identical_calls_at_once_make_one_order(mesh: Mesh) -> None:
    orders = await asyncio.gather(*(mesh.orders.CreateOrder(limit("a")) for _ in range(100)))
    assert {order.order_id for order in orders} == {"replay-1-1"}
    assert len(await mesh.events()) == 1


async def test_calls_at_once_under_one_id_with_other_values_make_one_order(mesh: Mesh) -> None:
    calls = [mesh.orders.CreateOrder(limit("a", str(50 + n % 2))) for n in range(20)]
    answers = await asyncio.gather(*calls, return_exceptions=True)
    orders = [each for each in answers if isinstance(each, order_pb2.Order)]
    reasons = {each.reason for each in answers if isinstance(each, ApiError)}
    assert len(orders) == 10
    assert len({order.limit_price for order in orders}) == 1
    assert reasons == {"CLIENT_ORDER_ID_REUSED"}
    assert len(await mesh.events()) == 1


async def test_a_refusal_is_an_order_and_a_repeat_gets_the_same_answer(mesh: Mesh) -> None:
    errors = [await refused(mesh.orders.CreateOrder(request("a", quantity="2000"))) for _ in range(2)]
    for error in errors:
        assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BUYING_POWER")
        assert error.metadata == {
            "order_id": "replay-1-1",
            "limit": "buying_power",
            "bound": "100000",
            "value": "200010",
            "missing": "100010",
            "portfolio_id": "trend",
        }
        assert error.precondition_violations[0].type == "FUNDS"
    order = await mesh.get("a")
    assert (order.state, order.refusal.missing) == (STATE.ORDER_STATE_REJECTED, "100010")
    assert len(await mesh.events()) == 1


async def test_a_short_sale_is_refused_by_default(mesh: Mesh) -> None:
    error = await refused(mesh.orders.CreateOrder(request("a", side=2)))
    assert (error.reason, error.metadata["missing"]) == ("SHORT_NOT_ALLOWED", "10")


async def test_of_two_orders_that_fit_only_singly_exactly_one_passes(mesh: Mesh) -> None:
    for n in range(1000):
        pair = [mesh.orders.CreateOrder(request(f"{n}-{i}", quantity="600")) for i in range(2)]
        answers = await asyncio.gather(*pair, return_exceptions=True)
        passed = [each for each in answers if isinstance(each, order_pb2.Order)]
        assert len(passed) == 1
        await mesh.orders.CancelOrder(cancel(passed[0].order_id))
    assert mesh.gate.gate.exposure("trend").reserved_cash in {0, 60003}


@pytest.mark.parametrize(
    ("values", "reason", "field"),
    [
        ({"quantity": "1.5"}, "OFF_INCREMENT", "quantity"),
        ({"order_type": 2, "limit_price": "100.00005"}, "OFF_INCREMENT", "limit_price"),
        ({"order_type": 3, "stop_price": "0.00001"}, "OFF_INCREMENT", "stop_price"),
        ({"order_type": 2, "limit_price": "123456789012.3456"}, "INVALID_ARGUMENT", "limit_price"),
        ({"order_type": 5, "trailing_amount": "1", "time_in_force": 6}, "INVALID_ARGUMENT", "time_in_force"),
        ({"order_type": 5, "trailing_percent": "1", "time_in_force": 7}, "INVALID_ARGUMENT", "time_in_force"),
    ],
)
async def test_what_is_off_the_instruments_steps_or_can_never_fill_is_refused(
    mesh: Mesh, values: dict[str, Any], reason: str, field: str
) -> None:
    error = await refused(mesh.orders.CreateOrder(request("a", **values)))
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, reason)
    assert [violation.field for violation in error.field_violations] == [field]
    if reason == "OFF_INCREMENT":
        assert error.metadata["increment"] == ("1" if field == "quantity" else "0.0001")
    # The id is still free.
    assert (await mesh.orders.CreateOrder(request("a"))).order_id == "replay-1-1"


BAD = {
    "negative": {"quantity": "-1"},
    "exponent": {"quantity": "1e5"},
    "no number": {"quantity": "NaN"},
    "no whole digit": {"quantity": ".5"},
    "19 digits": {"quantity": "1234567890123456789"},
    "zero": {"quantity": "0"},
    "no quantity": {"quantity": ""},
    "two quantities": {"cash_quantity": "5"},
    "cash to sell": {"quantity": "", "cash_quantity": "5", "side": 2},
    "no side": {"side": 0},
    "side 99": {"side": 99},
    "type 99": {"order_type": 99},
    "no time in force": {"time_in_force": 0},
    "limit without a price": {"order_type": 2},
    "market with a price": {"limit_price": "5"},
    "stop without a price": {"order_type": 3},
    "10 kB id": {"client_order_id": "x" * 10_000},
    "id with a colon": {"client_order_id": "a:b"},
    "no id": {"client_order_id": ""},
    "small symbol": {"symbol": "aapl"},
    "basis without deployment": {"basis_sequence": 3},
    "negative basis": {"deployment_id": "d", "basis_sequence": -1},
    "long label": {"label": "x" * 201},
}


@pytest.mark.parametrize("values", BAD.values(), ids=BAD.keys())
async def test_a_bad_order_is_an_invalid_argument_and_changes_nothing(mesh: Mesh, values: dict[str, Any]) -> None:
    bad = request("a")
    for name, value in values.items():
        setattr(bad, name, value)
    error = await refused(mesh.orders.CreateOrder(bad))
    assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT")
    assert error.field_violations
    assert not await mesh.events()


async def test_what_is_unknown_is_not_found(mesh: Mesh) -> None:
    orders = mesh.orders
    calls = [
        (orders.CreateOrder(request("a", portfolio_id="nobody")), "PORTFOLIO_NOT_FOUND"),
        (orders.CreateOrder(request("a", symbol="NONE")), "INSTRUMENT_NOT_FOUND"),
        (mesh.get("a"), "ORDER_NOT_FOUND"),
        *(
            (call(kind(order_id=order_id)), "ORDER_NOT_FOUND")
            for order_id in ("replay-1-1", "replay-1-0", "replay-1-01", "replay-1-", "x", "nowhere-1", "replay-1-1.5")
            for call, kind in (
                (orders.GetOrder, order_service_pb2.GetOrderRequest),
                (orders.CancelOrder, order_service_pb2.CancelOrderRequest),
                (orders.ListOrderEvents, order_service_pb2.ListOrderEventsRequest),
            )
        ),
    ]
    for call, reason in calls:
        error = await refused(call)
        assert (error.code, error.reason) == (StatusCode.NOT_FOUND, reason)
        assert error.resource is not None


async def test_an_instrument_of_another_tape_does_not_trade_here(mesh: Mesh) -> None:
    error = await refused(mesh.orders.CreateOrder(request("a", symbol="IBM")))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "INSTRUMENT_NOT_IN_ENVIRONMENT")


async def test_a_cancel_is_repeatable_and_says_how_an_order_ended(mesh: Mesh) -> None:
    resting = await mesh.orders.CreateOrder(limit("a"))
    canceled = await mesh.orders.CancelOrder(cancel(resting.order_id))
    assert (canceled.state, canceled.cancel_reason) == (
        STATE.ORDER_STATE_CANCELED,
        order_pb2.CancelReason.CANCEL_REASON_REQUESTED,
    )
    assert await mesh.orders.CancelOrder(cancel(resting.order_id)) == canceled
    filled = await mesh.orders.CreateOrder(request("b"))
    await mesh.market.run(1, 10)
    error = await refused(mesh.orders.CancelOrder(cancel(filled.order_id)))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "ORDER_ENDED")
    assert error.metadata == {"order_id": filled.order_id, "state": "FILLED"}


async def test_cancels_at_once_are_one_cancel(mesh: Mesh) -> None:
    resting = await mesh.orders.CreateOrder(limit("a"))
    answers = await asyncio.gather(*(mesh.orders.CancelOrder(cancel(resting.order_id)) for _ in range(20)))
    assert {order.state for order in answers} == {STATE.ORDER_STATE_CANCELED}
    assert len(await mesh.events()) == 2


async def test_pages_are_newest_first_and_survive_inserts(mesh: Mesh) -> None:
    for n in range(7):
        await mesh.orders.CreateOrder(limit(f"a-{n}", portfolio_id="trend" if n % 2 else "other"))
    first = await mesh.orders.ListOrders(listing(page_size=3))
    await mesh.orders.CreateOrder(limit("later"))
    second = await mesh.orders.ListOrders(listing(page_size=3, page_token=first.next_page_token))
    third = await mesh.orders.ListOrders(listing(page_size=3, page_token=second.next_page_token))
    pages = [*first.orders, *second.orders, *third.orders]
    assert [order.client_order_id for order in pages] == [f"a-{n}" for n in range(6, -1, -1)]
    assert third.next_page_token == ""
    of_one = await mesh.orders.ListOrders(listing(portfolio_id="trend", environment_id=ENVIRONMENT))
    assert [order.client_order_id for order in of_one.orders] == ["later", "a-5", "a-3", "a-1"]
    await mesh.orders.CancelOrder(cancel(of_one.orders[0].order_id))
    still = await mesh.orders.ListOrders(listing(portfolio_id="trend", open_only=True))
    assert [order.client_order_id for order in still.orders] == ["a-5", "a-3", "a-1"]
    assert not (await mesh.orders.ListOrders(listing(symbol="MSFT"))).orders


async def test_a_page_token_of_another_list_is_refused(mesh: Mesh) -> None:
    for n in range(3):
        await mesh.orders.CreateOrder(limit(f"a-{n}"))
    token = (await mesh.orders.ListOrders(listing(page_size=1))).next_page_token
    executions, events = order_service_pb2.ListExecutionsRequest, order_service_pb2.ListOrderEventsRequest
    forged = [encode_page_token(*decode_page_token(token, 4)[:3], number) for number in ("x", "9" * 30, "-1", "")]
    calls = [
        *(mesh.orders.ListOrders(listing(page_size=1, page_token=each)) for each in forged),
        mesh.orders.ListOrders(listing(page_token=token, open_only=True)),
        mesh.orders.ListOrders(listing(page_token="nonsense")),
        mesh.orders.ListExecutions(executions(page_token=token, portfolio_id="trend")),
        mesh.orders.ListOrderEvents(events(page_token=token, order_id="replay-1-1")),
    ]
    for call in calls:
        error = await refused(call)
        assert (error.code, error.reason) == (StatusCode.INVALID_ARGUMENT, "PAGE_TOKEN_INVALID")


async def test_executions_and_events_are_listed_in_pages(mesh: Mesh) -> None:
    for n in range(5):
        await mesh.orders.CreateOrder(request(f"a-{n}", symbol="AAPL" if n < 3 else "MSFT"))
    await mesh.market.run(1, 6)
    await mesh.market.run(2, 6)
    asked = order_service_pb2.ListExecutionsRequest(page_size=2)
    found = []
    while True:
        page = await mesh.orders.ListExecutions(asked)
        found += page.executions
        if not page.next_page_token:
            break
        asked.page_token = page.next_page_token
    assert [fill.client_order_id for fill in found] == [f"a-{n}" for n in range(5)]
    for narrowed, count in (
        ({"symbol": "MSFT"}, 2),
        ({"order_id": "replay-1-1"}, 1),
        ({"portfolio_id": "other"}, 0),
        ({"order_id": "replay-1-1", "portfolio_id": "other"}, 0),
    ):
        page = await mesh.orders.ListExecutions(order_service_pb2.ListExecutionsRequest(**narrowed))
        assert len(page.executions) == count, narrowed
    events = order_service_pb2.ListOrderEventsRequest(order_id="replay-1-1", page_size=1)
    first = await mesh.orders.ListOrderEvents(events)
    events.page_token = first.next_page_token
    second = await mesh.orders.ListOrderEvents(events)
    assert [event.sequence for event in (*first.order_events, *second.order_events)] == [1, 6]
    assert second.next_page_token == ""


async def test_what_is_listed_of_nobody_is_told_so(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    lists = {
        mesh.orders.ListOrders: order_service_pb2.ListOrdersRequest,
        mesh.orders.ListExecutions: order_service_pb2.ListExecutionsRequest,
        mesh.orders.ListOrderEvents: order_service_pb2.ListOrderEventsRequest,
        VenueModelServiceStub(mesh.channel).ListVenueModels: venue_model_service_pb2.ListVenueModelsRequest,
    }
    of_orders = {order_service_pb2.ListExecutionsRequest, order_service_pb2.ListOrderEventsRequest}
    for method, asked in lists.items():
        for name, fields in (
            ("ENVIRONMENT", {"environment_id": "elsewhere"}),
            ("PORTFOLIO", {"portfolio_id": "nobody"}),
            ("PORTFOLIO", {"portfolio_id": "nobody", "environment_id": ENVIRONMENT}),
            ("PORTFOLIO", {"portfolio_id": "trend", "environment_id": "elsewhere"}),
            ("ORDER", {"order_id": "nobody"}),
            ("ORDER", {"order_id": f"{ENVIRONMENT}-9"}),
            ("ORDER", {"order_id": f"{ENVIRONMENT}-1", "environment_id": "elsewhere"}),
            ("PORTFOLIO", {"order_id": f"{ENVIRONMENT}-1", "portfolio_id": "nobody"}),
        ):
            if "order_id" not in fields or asked in of_orders:
                error = await refused(method(asked(**fields)))
                assert (error.code, error.reason) == (StatusCode.NOT_FOUND, f"{name}_NOT_FOUND"), (asked, fields)


async def test_lists_are_empty_before_the_first_order(mesh: Mesh) -> None:
    assert not (await mesh.orders.ListOrders(listing())).orders
    assert not (await mesh.orders.ListExecutions(order_service_pb2.ListExecutionsRequest())).executions


async def test_orders_need_the_portfolio_service_only_for_portfolios_that_never_traded(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    await mesh.stop()
    await stop_peer(mesh, "portfolio")
    await mesh.start()
    await mesh.market.joined()
    assert (await mesh.place(limit("b"))).order_id == "replay-1-2"
    error = await refused(mesh.orders.CreateOrder(limit("c", portfolio_id="other"), timeout=5))
    assert error.code in {StatusCode.UNAVAILABLE, StatusCode.DEADLINE_EXCEEDED}
    await start_peer(mesh, "portfolio")
    assert (await mesh.place(limit("c", portfolio_id="other"))).order_id == "replay-1-3"


async def test_a_flood_for_a_new_portfolio_asks_for_it_once(mesh: Mesh) -> None:
    await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"a-{n}")) for n in range(50)))
    assert mesh.portfolios.asked == 1
