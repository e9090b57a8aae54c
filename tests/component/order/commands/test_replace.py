"""Open orders on new terms: what a client sees, what risk is asked, what survives (rules 2 to 4 and 7)."""

import asyncio
import uuid
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.common.v1 import side_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2
from tickmesh.risk.v1 import risk_pb2

from services.chassis.errors import ApiError
from services.domain.risk.limits import KillScope, make_limit
from services.wire.values import timestamp
from tests.component.order import sessions
from tests.component.order.calls import cancel, refused, replace, state_of
from tests.component.order.support import MINUTE, OPEN, SEAT, Mesh, limit, request, running

STATE, EXEC = order_pb2.OrderState, order_pb2.ExecType


def reserved(mesh: Mesh) -> Decimal:
    return mesh.gate.gate.exposure("trend").reserved_cash


async def folded(mesh: Mesh) -> Decimal:
    """What risk holds once it knows all that has happened."""
    await mesh.gate.fold(len(await mesh.events()))
    return reserved(mesh)


async def test_an_order_on_new_terms_keeps_its_id_and_tells_of_it(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a", "50"))
    order = await mesh.orders.ReplaceOrder(replace(first.order_id, quantity="20", limit_price="60.5"))
    assert (order.order_id, order.client_order_id, order.state) == (first.order_id, "a", STATE.ORDER_STATE_NEW)
    assert (order.quantity, order.leaves_quantity, order.limit_price) == ("20", "20", "60.5000")
    assert order.reservation.cash == "1210.00"
    assert await mesh.get("a") == order
    event = (await mesh.events())[-1]
    assert (event.exec_type, event.cause, event.order) == (EXEC.EXEC_TYPE_REPLACED, "command", order)
    assert await folded(mesh) == 1210


async def test_it_keeps_its_place_only_where_the_quantity_alone_falls(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CreateOrder(limit("b"))
    fewer = await mesh.orders.ReplaceOrder(replace(first.order_id, quantity="5"))
    assert fewer.priority == first.priority
    assert fewer.reservation.cash == "250.00", "its share of what was set aside"
    more = await mesh.orders.ReplaceOrder(replace(first.order_id, quantity="6"))
    assert more.priority > (await mesh.get("b")).priority


async def test_terms_that_are_its_own_change_nothing(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a", "50"))
    assert await mesh.orders.ReplaceOrder(replace(first.order_id, quantity="10.0", limit_price="50.00")) == first
    assert len(await mesh.events()) == 1
    named = order_service_pb2.ReplaceOrderRequest(portfolio_id="trend", orig_client_order_id="a", quantity="9")
    for _ in range(2):
        assert (await mesh.orders.ReplaceOrder(named)).quantity == "9"
    assert len(await mesh.events()) == 2


async def test_a_request_is_done_once(mesh: Mesh) -> None:
    order_id, request_id = (await mesh.orders.CreateOrder(limit("a"))).order_id, str(uuid.uuid4())
    first = replace(order_id, quantity="20", request_id=request_id)
    assert (await mesh.orders.ReplaceOrder(first)).quantity == "20"
    await mesh.orders.ReplaceOrder(replace(order_id, quantity="30"))
    await mesh.stop()
    await mesh.start()
    await mesh.market.joined()
    again = replace(order_id, quantity="20.0", request_id=request_id)
    assert (await mesh.orders.ReplaceOrder(again)).quantity == "30", "as it is now"
    for other in (replace(order_id, quantity="21", request_id=request_id), replace("replay-1-9", quantity="20")):
        other.request_id = request_id
        assert (await refused(mesh.orders.ReplaceOrder(other))).reason == "REQUEST_ID_REUSED"
    await mesh.orders.CancelOrder(cancel(order_id))
    assert (await mesh.orders.ReplaceOrder(again)).state == STATE.ORDER_STATE_CANCELED
    assert len(await mesh.events()) == 4


async def test_a_request_that_was_refused_is_decided_anew(mesh: Mesh) -> None:
    order_id, request_id = (await mesh.orders.CreateOrder(limit("a"))).order_id, str(uuid.uuid4())
    mesh.gate.gate.set_limit(make_limit("max_order_quantity", Decimal(15)))
    asked = replace(order_id, quantity="20", request_id=request_id)
    assert (await refused(mesh.orders.ReplaceOrder(asked))).reason == "LIMIT_EXCEEDED"
    mesh.gate.gate.delete_limit("max_order_quantity")
    assert (await mesh.orders.ReplaceOrder(asked)).quantity == "20"
    await mesh.orders.ReplaceOrder(replace(order_id, quantity="5"))
    assert (await mesh.orders.ReplaceOrder(asked)).quantity == "5", "done already"


async def test_the_same_request_a_hundred_times_at_once_is_done_once(mesh: Mesh) -> None:
    order_id, request_id = (await mesh.orders.CreateOrder(limit("a"))).order_id, str(uuid.uuid4())
    once = replace(order_id, limit_price="51", request_id=request_id)
    answers = await asyncio.gather(*(mesh.orders.ReplaceOrder(once) for _ in range(100)))
    assert {(each.limit_price, each.event_count) for each in answers} == {("51.0000", 2)}


async def test_what_risk_refuses_leaves_the_order_as_it_was(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a"))
    error = await refused(mesh.orders.ReplaceOrder(replace(first.order_id, quantity="2001")))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "INSUFFICIENT_BUYING_POWER")
    assert error.metadata == {
        "order_id": first.order_id,
        "limit": "buying_power",
        "bound": "100000",
        "value": "100050",
        "missing": "50",
        "portfolio_id": "trend",
    }
    assert await mesh.get("a") == first
    assert await folded(mesh) == 500
    # All that the portfolio has, its own reservation included.
    assert (await mesh.orders.ReplaceOrder(replace(first.order_id, quantity="2000"))).reservation.headroom == "0.00"


async def test_new_terms_keep_to_the_price_band_on_both_sides(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a", "50"))
    mesh.gate.gate.set_limit(make_limit("price_band", Decimal("0.5")))
    error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, limit_price="2")))
    assert (error.code, error.reason) == (StatusCode.FAILED_PRECONDITION, "PRICE_OUT_OF_BAND")
    assert await mesh.get("a") == order


async def test_what_cannot_be_is_told(mesh: Mesh) -> None:
    resting = await mesh.orders.CreateOrder(limit("a"))
    gone = await mesh.orders.CreateOrder(request("b"))
    stop = await mesh.orders.CreateOrder(
        request("c", order_type=order_pb2.ORDER_TYPE_STOP_LIMIT, stop_price="100.01", limit_price="50")
    )
    await mesh.market.run(1, 6)
    mesh.market.idle(6)
    for wrong, reason, fields in (
        (replace(gone.order_id, quantity="20"), "ORDER_ENDED", []),
        (replace(stop.order_id, stop_price="90"), "ORDER_TRIGGERED", []),
        (replace("replay-1-99", quantity="20"), "ORDER_NOT_FOUND", []),
        (replace("nobody", quantity="20"), "ORDER_NOT_FOUND", []),
        (replace(resting.order_id, quantity="1.5"), "OFF_INCREMENT", ["quantity"]),
        (replace(resting.order_id, limit_price="1.00005"), "OFF_INCREMENT", ["limit_price"]),
        (replace(resting.order_id, stop_price="90"), "INVALID_ARGUMENT", ["stop_price"]),
        (replace(resting.order_id, trailing_amount="1"), "INVALID_ARGUMENT", ["trailing_amount"]),
        (replace(resting.order_id, expire_time=timestamp(10**18)), "INVALID_ARGUMENT", ["expire_time"]),
        (replace(resting.order_id, display_quantity="10"), "INVALID_ARGUMENT", ["display_quantity"]),
        (replace(resting.order_id), "INVALID_ARGUMENT", ["quantity"]),
    ):
        error = await refused(mesh.orders.ReplaceOrder(wrong))
        assert (error.reason, [each.field for each in error.field_violations]) == (reason, fields), wrong
    assert (await mesh.get("a")).event_count == 1


async def test_rule_7_no_less_than_what_has_filled(mesh: Mesh) -> None:
    # A tenth of a bar's volume is 100,000; more than that fills in parts.
    mesh.gate.gate.open_portfolio("trend", Decimal(10**9))
    order = await mesh.orders.CreateOrder(request("a", quantity="150000"))
    await mesh.market.run(1, 4)
    mesh.market.idle(4)
    for quantity in ("100000", "1"):
        error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, quantity=quantity)))
        assert (error.reason, error.metadata["cum_quantity"]) == ("QUANTITY_BELOW_FILLED", "100000")
    less = await mesh.orders.ReplaceOrder(replace(order.order_id, quantity="120000"))
    assert (less.state, less.leaves_quantity) == (STATE.ORDER_STATE_PARTIALLY_FILLED, "20000")
    await mesh.market.run(2, 8)
    filled = await mesh.get("a")
    assert (filled.state, filled.cum_quantity) == (STATE.ORDER_STATE_FILLED, "120000")


async def test_an_order_by_cash_is_put_on_more_or_less_of_it(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a", quantity="", cash_quantity="1000"))
    more = await mesh.orders.ReplaceOrder(replace(first.order_id, cash_quantity="2500"))
    assert (more.cash_quantity, more.reservation.cash, more.quantity) == ("2500.00", "2500.00", "0")
    assert more.priority > first.priority
    assert await folded(mesh) == 2500
    error = await refused(mesh.orders.ReplaceOrder(replace(first.order_id, cash_quantity="100001")))
    assert (error.reason, error.metadata["missing"]) == ("INSUFFICIENT_BUYING_POWER", "1")
    mesh.gate.silent = True
    less = await mesh.orders.ReplaceOrder(replace(first.order_id, cash_quantity="800"))
    assert (less.priority, less.reservation.cash) == (more.priority, "800.00"), "less needs no risk"
    mesh.gate.silent = False
    units = await mesh.orders.CreateOrder(limit("b"))
    for wrong, field in (
        (replace(first.order_id, quantity="5"), "quantity"),
        (replace(units.order_id, cash_quantity="500"), "cash_quantity"),
    ):
        error = await refused(mesh.orders.ReplaceOrder(wrong))
        assert (error.reason, [each.field for each in error.field_violations]) == ("INVALID_ARGUMENT", [field])
    assert await folded(mesh) == 800 + 500


async def test_rule_7_no_less_cash_than_what_has_been_spent(mesh: Mesh) -> None:
    # A tenth of a bar's volume is 100,000; more than that fills in parts.
    mesh.gate.gate.open_portfolio("trend", Decimal(10**9))
    order = await mesh.orders.CreateOrder(request("a", quantity="", cash_quantity="15000000"))
    await mesh.market.run(1, 4)
    mesh.market.idle(4)
    spent = (await mesh.get("a")).gross_amount
    for cash in (spent, "1"):
        error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, cash_quantity=cash)))
        assert (error.reason, error.metadata["gross_amount"]) == ("QUANTITY_BELOW_FILLED", spent)
    await mesh.orders.ReplaceOrder(replace(order.order_id, cash_quantity="12000000"))
    await mesh.market.run(2, 8)
    filled = await mesh.get("a")
    assert filled.state == STATE.ORDER_STATE_FILLED
    assert Decimal(spent) < Decimal(filled.gross_amount) <= 12_000_000
    assert await folded(mesh) == 0


async def test_fewer_units_need_no_risk_and_more_or_another_price_wait_for_it(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        await mesh.start(TICKMESH_ORDER_RISK_DEADLINE_MS="300")
        await mesh.market.joined()
        order = await mesh.orders.CreateOrder(limit("a"))
        closing = await mesh.orders.CreateOrder(limit("b", "200", side=side_pb2.SIDE_SELL, reduce_only=True))
        mesh.gate.silent = True
        assert (await mesh.orders.ReplaceOrder(replace(order.order_id, quantity="5"))).quantity == "5"
        for terms in ({"quantity": "6"}, {"limit_price": "49"}):
            error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, **terms)))
            assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "RISK_UNAVAILABLE")
        error = await refused(mesh.orders.ReplaceOrder(replace(closing.order_id, quantity="11")))
        assert error.reason == "RISK_UNAVAILABLE", "it only reduces, and is stopped by what stops orders"
        mesh.gate.silent = False
        assert (await mesh.get("a")).quantity == "5"
        async with asyncio.timeout(10):
            while True:
                try:
                    order = await mesh.orders.ReplaceOrder(replace(order.order_id, quantity="7"))
                    break
                except ApiError as again:
                    assert again.reason == "RISK_UNAVAILABLE"  # noqa: PT017 what is asked again
        assert (order.quantity, await folded(mesh)) == ("7", 350)


async def test_a_cancel_overtakes_new_terms_that_wait_for_risk(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        await mesh.start(TICKMESH_ORDER_RISK_DEADLINE_MS="60000")
        await mesh.market.joined()
        first, other = [await mesh.orders.CreateOrder(limit(name)) for name in "ab"]
        mesh.gate.silent = True
        wanted = replace(first.order_id, quantity="20"), replace(other.order_id, quantity="30")
        both = [asyncio.ensure_future(mesh.orders.ReplaceOrder(each, timeout=60)) for each in wanted]
        await asyncio.sleep(0.2)
        canceled = await mesh.orders.CancelOrder(cancel(first.order_id), timeout=30)
        assert canceled.state == STATE.ORDER_STATE_CANCELED
        assert not any(each.done() for each in both)
        mesh.gate.silent = False
        mesh.gate.hang_up()
        assert (await refused(both[0])).reason == "ORDER_ENDED"
        assert (await both[1]).quantity == "30", "the others are asked about anew"
        assert await folded(mesh) == 1500


async def test_rule_5_a_kill_switch_voids_the_verdict_on_new_terms_and_ends_the_order(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))

    async def engage() -> None:
        mesh.gate.before_answer = None
        mesh.gate.gate.engage(KillScope())
        mesh.gate.kill(scope=risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT)

    mesh.gate.before_answer = engage
    error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, quantity="20")))
    assert error.reason == "KILL_SWITCH_ENGAGED"
    ended = await state_of(mesh, "a", STATE.ORDER_STATE_CANCELED)
    assert (ended.quantity, ended.cancel_reason) == ("10", order_pb2.CANCEL_REASON_KILL_SWITCH)
    assert await folded(mesh) == 0


async def test_new_terms_wait_until_time_stands_still(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))
    await mesh.market.run(1, 5)
    waiting = asyncio.ensure_future(mesh.orders.ReplaceOrder(replace(order.order_id, quantity="20")))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    mesh.market.idle(5)
    assert (await waiting).quantity == "20"
    event = (await mesh.events())[-1]
    assert (event.tape_sequence, event.order.basis_sequence) == (5, 5)
    await mesh.market.run(2, len(mesh.market.tape), final=True)
    error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, quantity="30")))
    assert error.reason == "ENVIRONMENT_COMPLETED"


async def test_a_session_replaces_what_it_is_still_creating_in_the_order_it_says(mesh: Mesh) -> None:
    session = sessions.Session(mesh.orders)
    changes = [
        sessions.Command(
            replace=order_service_pb2.ReplaceOrderRequest(
                portfolio_id="trend", orig_client_order_id="a", quantity=str(20 + number)
            )
        )
        for number in range(10)
    ]
    wrong = sessions.Command(replace=replace("nobody", quantity="1"))
    acks = await session.ask(*sessions.resting("a"), *changes, wrong)
    assert [ack.order.quantity for ack in acks[1:-1]] == [str(20 + number) for number in range(10)]
    assert [ack.client_order_id for ack in acks] == ["a"] * 11 + [""]
    assert acks[-1].error.code == StatusCode.NOT_FOUND.value[0]
    assert (await mesh.get("a")).event_count == 11
    await session.end()


@pytest.mark.parametrize("stop", [True, False])
async def test_rule_2_new_terms_are_there_after_a_restart(mesh: Mesh, stop: bool) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))
    await mesh.orders.CreateOrder(limit("b", "100.5"))
    await mesh.orders.ReplaceOrder(replace(order.order_id, limit_price="101"))
    if stop:
        await mesh.stop()
        await mesh.start()
        await mesh.market.joined()
    await mesh.market.run(1, 5)
    fills = [event for event in await mesh.events() if event.exec_type == EXEC.EXEC_TYPE_TRADE]
    # The better price first, though it came later.
    assert [event.order.client_order_id for event in fills] == ["a", "b"]


async def test_a_strategy_replaces_its_own_orders_within_its_cycle(mesh: Mesh) -> None:
    """Rule 32d: served at once, where an outside one waits until time stands still."""
    decided = {"deployment_id": "d", "strategy_id": "s", "basis_sequence": 3}
    order = await mesh.orders.CreateOrder(limit("1-3-1", **decided), metadata=SEAT)
    other = await mesh.orders.CreateOrder(limit("outside"))
    await mesh.market.run(1, 4)
    outside = asyncio.ensure_future(mesh.orders.ReplaceOrder(replace(other.order_id, limit_price="60")))
    terms = replace(order.order_id, limit_price="61", deployment_id="d", basis_sequence=4)
    # A timer's, later than the record before it.
    timed = timestamp(OPEN + 150 * (MINUTE // 60))
    terms.basis_time.CopyFrom(timed)
    terms.request_id = str(uuid.uuid4())
    for token, reason in ((None, "SEAT_TOKEN_INVALID"), (SEAT, "")):
        if reason:
            assert (await refused(mesh.orders.ReplaceOrder(terms, metadata=token))).reason == reason
        else:
            after = await mesh.orders.ReplaceOrder(terms, metadata=token)
    assert (after.limit_price, after.basis_sequence, after.basis_time) == ("61.0000", 4, timed)
    assert not outside.done()
    wrong = replace(other.order_id, limit_price="62", deployment_id="d", basis_sequence=4)
    assert (await refused(mesh.orders.ReplaceOrder(wrong, metadata=SEAT))).field_violations[0].field == "deployment_id"
    stale = replace(order.order_id, limit_price="63", deployment_id="d", basis_sequence=3)
    assert (await refused(mesh.orders.ReplaceOrder(stale, metadata=SEAT))).reason == "BASIS_STALE"
    mesh.market.idle(4)
    assert (await outside).limit_price == "60.0000"
    assert (await mesh.orders.ReplaceOrder(terms)).limit_price == "61.0000", "done already"


async def test_rule_23_the_runaway_guard_counts_new_terms_from_outside_and_risk_is_told_once(mesh: Mesh) -> None:
    order = await mesh.orders.CreateOrder(limit("a"))
    other = await mesh.orders.CreateOrder(limit("o", portfolio_id="other"))
    done = replace(order.order_id, quantity="20", request_id=str(uuid.uuid4()))
    await mesh.orders.ReplaceOrder(done)
    mesh.gate.guard("0")
    # It is told on risk's stream, beside this call.
    while not isinstance(await outcome(mesh.orders.ReplaceOrder(replace(order.order_id, quantity="30"))), ApiError):
        pass
    first = await asyncio.wait_for(mesh.gate.runaways.get(), 10)
    assert (first.environment_id, first.portfolio_id, first.bound, first.value) == ("replay-1", "trend", "0", 1)
    assert first.principal == "local"
    for terms in ({"quantity": "40"}, {"quantity": "1"}, {"limit_price": "51"}):
        error = await refused(mesh.orders.ReplaceOrder(replace(order.order_id, **terms)))
        assert (error.code, error.reason) == (StatusCode.RESOURCE_EXHAUSTED, "RUNAWAY_GUARD")
    assert (await refused(mesh.orders.CreateOrder(limit("b")))).reason == "RUNAWAY_GUARD"
    # What is known already is answered; what has ended counts nothing; others and cancels go on.
    assert (await mesh.orders.ReplaceOrder(done)).order_id == order.order_id
    await mesh.orders.ReplaceOrder(replace(other.order_id, quantity="20"))
    await mesh.orders.CancelOrder(cancel(order.order_id))
    assert (await refused(mesh.orders.ReplaceOrder(replace(order.order_id, quantity="1")))).reason == "ORDER_ENDED"
    assert mesh.gate.runaways.empty()


async def outcome(call: Any) -> Any:
    try:
        return await call
    except ApiError as error:
        return error
