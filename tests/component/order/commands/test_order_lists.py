"""Orders that belong together: what a client sees, what risk holds, what survives (rules 1 to 5, 7 and 13)."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.order.v1 import order_book_service_pb2, order_list_pb2, order_pb2, order_service_pb2
from tickmesh.order.v1.order_book_service_pb2_grpc import OrderBookServiceStub
from tickmesh.risk.v1 import risk_pb2

from services.chassis.errors import ApiError
from services.domain.risk.limits import KillScope
from tests.component.order import sessions
from tests.component.order.calls import BRACKET, BUY, LIMIT, STOP, bracket, cancel, listed, refused
from tests.component.order.support import SEAT, Mesh, limit, request, running

CancelReason, State = order_pb2.CancelReason, order_pb2.OrderState
OCO, OTO = order_pb2.CONTINGENCY_TYPE_OCO, order_pb2.CONTINGENCY_TYPE_OTO
ListedOrder, CreateOrderList = order_list_pb2.ListedOrder, order_list_pb2.CreateOrderListRequest


def breakout(low: str = "90", high: str = "110", quantity: str = "10") -> CreateOrderList:
    """A purchase far below the market or far above it, whichever comes first."""
    orders = [
        listed("low", BUY, order_type=LIMIT, limit_price=low, quantity=quantity),
        listed("high", BUY, order_type=STOP, stop_price=high, quantity=quantity),
    ]
    return CreateOrderList(portfolio_id="trend", contingency_type=OCO, orders=orders)


async def get(mesh: Mesh, order_list_id: str) -> order_list_pb2.OrderList:
    return await mesh.orders.GetOrderList(order_list_pb2.GetOrderListRequest(order_list_id=order_list_id))


def states(order_list: order_list_pb2.OrderList) -> list[str]:
    return [State.Name(order.state).removeprefix("ORDER_STATE_") for order in order_list.orders]


def told(events: list[order_pb2.OrderEvent]) -> list[tuple[str, str, str]]:
    """Of each event whose it is, what happened, and why it ended."""
    return [
        (
            event.order.client_order_id,
            order_pb2.ExecType.Name(event.exec_type).removeprefix("EXEC_TYPE_"),
            CancelReason.Name(event.order.cancel_reason).removeprefix("CANCEL_REASON_").replace("UNSPECIFIED", ""),
        )
        for event in events
    ]


async def folded(mesh: Mesh) -> Decimal:
    """What risk holds once it knows all that has happened."""
    await mesh.gate.fold(len(await mesh.events()))
    return mesh.gate.gate.exposure("trend").reserved_cash


async def test_a_bracket_waits_for_its_entry_and_ends_by_its_target(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(bracket())
    assert made.order_list_id == made.orders[0].order_id
    assert [(order.order_list_id, order.parent_order_id) for order in made.orders] == [
        (made.order_list_id, ""),
        (made.order_list_id, made.order_list_id),
        (made.order_list_id, made.order_list_id),
    ]
    assert {order.contingency_type for order in made.orders} == {BRACKET}
    assert [order.quantity for order in made.orders] == ["10", "10", "10"]
    assert [order.reduce_only for order in made.orders] == [False, True, True]
    assert states(made) == ["NEW", "HELD", "HELD"]
    assert await get(mesh, made.order_list_id) == made
    await mesh.market.run(1, 60)
    assert states(await get(mesh, made.order_list_id)) == ["FILLED", "NEW", "NEW"]
    await mesh.market.run(2, 100)
    done = await get(mesh, made.order_list_id)
    assert states(done) == ["FILLED", "FILLED", "CANCELED"]
    assert done.orders[1].avg_price == "100.3000"
    assert done.orders[2].cancel_reason == CancelReason.CANCEL_REASON_TWIN_FILLED
    assert told((await mesh.events())[3:]) == [
        ("b-entry", "TRADE", ""),
        ("b-target", "NEW", ""),
        ("b-stop", "NEW", ""),
        ("b-stop", "CANCELED", "TWIN_FILLED"),
        ("b-target", "TRADE", ""),
    ]
    assert await folded(mesh) == 0


async def test_rule_4_an_oco_reserves_its_larger_leg_and_gives_all_of_it_back(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(breakout())
    assert [order.reservation.cash for order in made.orders] == ["900.00", "1100.00"]
    assert await folded(mesh) == 1100
    assert made.orders[1].reservation.headroom == "98900.00"
    second = made.orders[0].order_id
    await mesh.orders.ReplaceOrder(order_service_pb2.ReplaceOrderRequest(order_id=second, limit_price="95"))
    assert await folded(mesh) == 1100
    await mesh.orders.CancelOrder(cancel(second))
    assert await folded(mesh) == 0
    assert told((await mesh.events())[-2:]) == [("low", "CANCELED", "REQUESTED"), ("high", "CANCELED", "TWIN_ENDED")]
    after = await mesh.orders.CreateOrder(limit("after", "50"))
    assert after.reservation.headroom == "99500.00"


async def test_rule_1_a_repeated_list_is_the_list_and_its_ids_are_nobody_elses(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(bracket())
    again = bracket()
    again.orders[0].quantity, again.orders[1].label = "10.0", "described otherwise"
    assert await mesh.orders.CreateOrderList(again) == made
    for other in (
        bracket(target="100.4"),
        breakout(),
        CreateOrderList(portfolio_id="trend", contingency_type=OTO, orders=bracket(quantity="10").orders),
    ):
        if other.contingency_type == OCO:
            other.orders[1].client_order_id = "b-stop"
        elif other.contingency_type == OTO:
            for each in other.orders[1:]:
                each.quantity, each.reduce_only = "10", True
        error = await refused(mesh.orders.CreateOrderList(other))
        assert (error.code, error.reason) == (StatusCode.ALREADY_EXISTS, "CLIENT_ORDER_ID_REUSED")
    alone = await refused(mesh.orders.CreateOrder(request("b-entry")))
    assert (alone.reason, alone.metadata["order_id"]) == ("CLIENT_ORDER_ID_REUSED", made.order_list_id)
    assert len(await mesh.events()) == 3


async def test_a_refused_list_is_refused_whole_and_however_often_it_is_sent(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("before", "50"))
    for _ in range(2):
        error = await refused(mesh.orders.CreateOrderList(breakout(quantity="905")))
        assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BUYING_POWER")
        assert (error.metadata["bound"], error.metadata["value"]) == ("99500", "99550")
        assert error.metadata["order_id"] == "replay-1-2", "the list's first order, though its second was too dear"
        assert error.metadata["refused_order_id"] == "replay-1-3"
    assert states(await get(mesh, "replay-1-2")) == ["REJECTED", "REJECTED"]
    assert await folded(mesh) == 500


async def test_lists_that_come_together_are_decided_in_their_order(mesh: Mesh) -> None:
    made = await asyncio.gather(
        mesh.orders.CreateOrderList(bracket("a")),
        mesh.orders.CreateOrderList(bracket("a")),
        mesh.orders.CreateOrderList(bracket("c")),
        mesh.orders.CreateOrderList(bracket("a", target="120")),
        return_exceptions=True,
    )
    assert made[0] == made[1]
    assert isinstance(made[3], ApiError)
    assert made[3].reason == "CLIENT_ORDER_ID_REUSED"
    assert len(await mesh.events()) == 6


@pytest.mark.parametrize("stop", [True, False])
async def test_rule_2_a_list_goes_on_after_a_restart_in_the_middle_of_it(tmp_path: Path, stop: bool) -> None:
    """As if nothing had happened: the events are those of a service that ran through."""
    stories = []
    for restarts in (True, False):
        async with running(tmp_path / str(restarts), start=stop) as mesh:
            if not stop:
                mesh.spawn()
                await mesh.ready()
            await mesh.market.joined()
            await mesh.orders.CreateOrderList(bracket())
            await mesh.orders.CreateOrderList(breakout("90", "100.2"))
            for cycle, through in enumerate((6, 40, 70, 100), 1):
                if restarts:
                    if stop:
                        await mesh.stop()
                        await mesh.start()
                    else:
                        assert mesh.process is not None
                        mesh.process.kill()
                        await mesh.died()
                        mesh.spawn()
                        await mesh.ready()
                    await mesh.market.joined()
                await mesh.market.run(cycle, through)
            stories.append(told(await mesh.events()))
            assert await folded(mesh) == 0
    assert stories[0] == stories[1]
    assert stories[0][5:] == [
        ("b-entry", "TRADE", ""),
        ("b-target", "NEW", ""),
        ("b-stop", "NEW", ""),
        ("high", "TRIGGERED", ""),
        ("low", "CANCELED", "TWIN_FILLED"),
        ("high", "TRADE", ""),
        ("b-stop", "CANCELED", "TWIN_FILLED"),
        ("b-target", "TRADE", ""),
    ]


async def test_rule_4_new_terms_of_a_leg_need_no_more_than_the_larger_of_both(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(breakout(quantity="900"))
    assert await folded(mesh) == 99_000
    low = made.orders[0].order_id
    replaced = await mesh.orders.ReplaceOrder(order_service_pb2.ReplaceOrderRequest(order_id=low, limit_price="109.5"))
    assert (replaced.reservation.cash, replaced.reservation.headroom) == ("98550.00", "1000.00")
    error = await refused(
        mesh.orders.ReplaceOrder(order_service_pb2.ReplaceOrderRequest(order_id=low, limit_price="111.2"))
    )
    assert (error.reason, error.metadata["missing"]) == ("INSUFFICIENT_BUYING_POWER", "80")
    assert await folded(mesh) == 99_000


async def test_rule_7_the_quantity_of_a_lists_order_cannot_be_replaced(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(bracket(stop="40", order_type=LIMIT, limit_price="50"))
    for order in made.orders:
        wanted = order_service_pb2.ReplaceOrderRequest(order_id=order.order_id, quantity="5")
        error = await refused(mesh.orders.ReplaceOrder(wanted))
        assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "LIST_QUANTITY_FIXED")
    target = order_service_pb2.ReplaceOrderRequest(order_id=made.orders[1].order_id, limit_price="120")
    assert (await mesh.orders.ReplaceOrder(target)).state == State.ORDER_STATE_HELD
    assert len(await mesh.events()) == 4


async def test_orders_that_wait_for_their_parent_are_shown_as_waiting(mesh: Mesh) -> None:
    await mesh.orders.CreateOrderList(bracket(stop="40", order_type=LIMIT, limit_price="50"))
    book = await OrderBookServiceStub(mesh.channel).GetOrderBook(
        order_book_service_pb2.GetOrderBookRequest(symbol="AAPL", portfolio_id="trend")
    )
    assert [level.price for level in book.bids] == ["50.0000"]
    assert not book.asks
    assert [each.client_order_id for each in book.waiting] == ["b-target", "b-stop"]


async def test_what_ends_many_orders_ends_the_orders_of_a_list_together(mesh: Mesh) -> None:
    await mesh.orders.CreateOrderList(bracket(stop="40", order_type=LIMIT, limit_price="50"))
    await mesh.orders.CreateOrderList(breakout())
    await mesh.orders.CreateOrder(limit("alone"))
    wanted = order_service_pb2.BatchCancelOrdersRequest(portfolio_id="trend", side=1)  # type: ignore[arg-type]
    canceled = await mesh.orders.BatchCancelOrders(wanted)
    assert list(canceled.order_ids) == [f"replay-1-{number}" for number in (1, 4, 5, 6, 2, 3)]
    assert told((await mesh.events())[6:]) == [
        ("b-entry", "CANCELED", "REQUESTED"),
        ("low", "CANCELED", "REQUESTED"),
        ("high", "CANCELED", "REQUESTED"),
        ("alone", "CANCELED", "REQUESTED"),
        ("b-target", "CANCELED", "PARENT_ENDED"),
        ("b-stop", "CANCELED", "PARENT_ENDED"),
    ]
    assert await folded(mesh) == 0


async def test_rule_5_a_kill_switch_ends_lists_and_lets_none_in(mesh: Mesh) -> None:
    await mesh.orders.CreateOrderList(bracket())
    await mesh.market.run(1, 6)
    mesh.market.idle(6)
    await mesh.orders.CreateOrderList(breakout())
    mesh.gate.gate.engage(KillScope())
    mesh.gate.kill(scope=risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT)
    await sessions.until(lambda: everything_ended(mesh))
    reasons = {reason for _, what, reason in told(await mesh.events()) if what == "CANCELED"}
    assert reasons == {"KILL_SWITCH"}
    error = await refused(mesh.orders.CreateOrderList(bracket("c")))
    assert error.reason == "KILL_SWITCH_ENGAGED"
    assert await folded(mesh) == 0


async def everything_ended(mesh: Mesh) -> bool:
    wanted = order_service_pb2.ListOrdersRequest(environment_id="replay-1", open_only=True)
    return not (await mesh.orders.ListOrders(wanted)).orders


async def test_a_session_creates_lists_in_their_turn_and_takes_them_along(mesh: Mesh) -> None:
    session = sessions.Session(mesh.orders)
    acks = await session.ask(
        sessions.Command(create_list=bracket(stop="40", order_type=LIMIT, limit_price="50")),
        sessions.cancel(client_order_id="b-stop"),
        sessions.create(limit("alone")),
        sessions.Command(create_list=CreateOrderList(portfolio_id="trend", contingency_type=OCO)),
        options=sessions.ENDS,
    )
    assert [ack.client_order_id for ack in acks] == ["b-entry", "b-stop", "alone", ""]
    assert states(acks[0].order_list) == ["NEW", "HELD", "HELD"]
    assert acks[1].order.cancel_reason == CancelReason.CANCEL_REASON_REQUESTED
    assert sessions.error_of(acks[3]).reason == "INVALID_ARGUMENT"
    assert {order.session_id for order in acks[0].order_list.orders} == {acks[2].order.session_id}
    assert len(await mesh.events()) == 7, "the target and the entry went with the stop"
    await session.end()
    await sessions.until(lambda: everything_ended(mesh))
    ended = [each for each in told(await mesh.events())[7:] if each[1] == "CANCELED"]
    assert ended == [("alone", "CANCELED", "DISCONNECTED")]


@pytest.mark.parametrize(
    ("wrong", "field"),
    [
        (lambda made: made.orders.pop(), "orders"),
        (lambda made: setattr(made.orders[1], "side", BUY), "orders[1].side"),
        (lambda made: setattr(made.orders[2], "symbol", "MSFT"), "orders[2].symbol"),
        (lambda made: setattr(made.orders[1], "quantity", "10"), "orders[1].quantity"),
        (lambda made: setattr(made.orders[0], "quantity", ""), "orders[0].quantity"),
        (lambda made: setattr(made.orders[2], "stop_price", "90.00005"), "orders[2].stop_price"),
        (lambda made: setattr(made.orders[2], "client_order_id", "1-2-3"), "orders[2].client_order_id"),
        (lambda made: setattr(made.orders[2], "client_order_id", "b-entry"), "orders[2].client_order_id"),
        (lambda made: setattr(made.orders[1], "display_quantity", "1"), "orders[1].display_quantity"),
        (lambda made: setattr(made.orders[1], "time_in_force", order_pb2.TIME_IN_FORCE_IOC), "orders[1].time_in_force"),
        (lambda made: setattr(made.orders[1], "limit_price", "90"), "orders[2].stop_price"),
    ],
)
async def test_orders_that_make_no_list_are_refused_by_name_and_leave_none(mesh: Mesh, wrong: Any, field: str) -> None:
    made = bracket()
    wrong(made)
    error = await refused(mesh.orders.CreateOrderList(made))
    assert error.code == StatusCode.INVALID_ARGUMENT
    assert [each.field for each in error.field_violations] == [field]
    assert not await mesh.events()
    assert (await refused(get(mesh, "replay-1-1"))).reason == "ORDER_LIST_NOT_FOUND"
    await mesh.orders.CreateOrder(limit("alone"))
    assert (await refused(get(mesh, "replay-1-1"))).reason == "ORDER_LIST_NOT_FOUND", "an order on its own is no list"


@pytest.mark.parametrize(
    ("wrong", "limit", "value"),
    [
        (bracket(target="76", stop="20"), "limit_price", "76"),
        # Through the market, or past its trigger: it fills where the price is.
        (bracket(order_type=LIMIT, limit_price="110", target="120", stop="105"), "stop_price", "105"),
        (bracket(order_type=STOP, stop_price="80", target="90", stop="70"), "limit_price", "90"),
    ],
)
async def test_rule_13_a_bracket_that_fills_at_once_is_refused_whole_where_the_price_is_beyond_an_exit(
    mesh: Mesh, wrong: CreateOrderList, limit: str, value: str
) -> None:
    error = await refused(mesh.orders.CreateOrderList(wrong))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "BRACKET_INVERTED")
    assert (error.metadata["limit"], error.metadata["value"]) == (limit, value)
    assert {event.exec_type for event in await mesh.events()} == {order_pb2.EXEC_TYPE_REJECTED}
    assert len(await mesh.events()) == 3
    assert await folded(mesh) == 0


async def test_rule_13_new_terms_that_invert_a_bracket_leave_it_as_it_was(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(bracket())
    stop = made.orders[2]
    asked = order_service_pb2.ReplaceOrderRequest(order_id=stop.order_id, stop_price="450")
    error = await refused(mesh.orders.ReplaceOrder(asked))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "BRACKET_INVERTED")
    assert (await get(mesh, made.order_list_id)).orders[2] == stop


async def test_rule_13_exits_that_move_at_once_are_held_to_each_other(mesh: Mesh) -> None:
    """Either could go to where the other was; the second is held to what the first has become."""
    waiting = bracket(order_type=LIMIT, limit_price="50", stop="40", target="60")
    waiting.orders[0].order_type = order_pb2.ORDER_TYPE_TRAILING_STOP
    waiting.orders[0].limit_price, waiting.orders[0].trailing_amount = "", "20"
    made = await mesh.orders.CreateOrderList(waiting)
    target, stop = made.orders[1].order_id, made.orders[2].order_id
    answers = await asyncio.gather(
        mesh.orders.ReplaceOrder(order_service_pb2.ReplaceOrderRequest(order_id=target, limit_price="45")),
        mesh.orders.ReplaceOrder(order_service_pb2.ReplaceOrderRequest(order_id=stop, stop_price="55")),
        return_exceptions=True,
    )
    assert [isinstance(each, Exception) for each in answers].count(True) == 1
    _, first, second = (await get(mesh, made.order_list_id)).orders
    assert Decimal(second.stop_price) < Decimal(first.limit_price)


async def test_a_strategys_list_carries_its_seat(mesh: Mesh) -> None:
    made = bracket()
    made.deployment_id, made.strategy_id, made.basis_sequence = "d", "s", 3
    assert (await refused(mesh.orders.CreateOrderList(made))).reason == "SEAT_TOKEN_INVALID"
    order_list = await mesh.orders.CreateOrderList(made, metadata=SEAT)
    assert {order.deployment_id for order in order_list.orders} == {"d"}
    made.basis_sequence = 2
    for place, order in enumerate(made.orders):
        order.client_order_id = f"1-2-{place + 1}"
    assert (await refused(mesh.orders.CreateOrderList(made, metadata=SEAT))).reason == "BASIS_STALE"
