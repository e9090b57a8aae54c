"""Previews of orders: what a check would say, and nothing comes of it."""

from pathlib import Path

from grpc import StatusCode
from tickmesh.order.v1 import order_pb2, order_preview_pb2, order_service_pb2

from services.domain.risk.limits import make_limit
from services.wire.values import decimal
from tests.component.order.calls import preview, refused
from tests.component.order.support import ENVIRONMENT, Mesh, limit, quoted_tape, request, running

# What a strategy's command says is the strategy's own; the rest is the order's.
OF_STRATEGIES = {"deployment_id", "strategy_id", "signal_id", "basis_sequence", "basis_time"}


def test_a_preview_is_asked_for_with_the_fields_of_an_order() -> None:
    asked = order_preview_pb2.PreviewOrderRequest.DESCRIPTOR.fields
    order = order_service_pb2.CreateOrderRequest.DESCRIPTOR.fields
    told = {(each.name, each.number, each.type) for each in order if each.name not in OF_STRATEGIES}
    assert {(each.name, each.number, each.type) for each in asked} == told


async def test_a_preview_says_what_the_order_would_be_answered_and_leaves_nothing(mesh: Mesh) -> None:
    mesh.gate.gate.set_limit(make_limit("max_order_notional", decimal("50000"), "trend"))
    found = await preview(mesh)
    price = decimal(found.reference_price)
    assert price > 0
    assert (found.environment_id, found.tape_sequence) == (ENVIRONMENT, mesh.market.start_sequence)
    assert (found.estimated_price, found.quantity, found.commission) == (found.reference_price, "10", "0.00")
    assert decimal(found.notional) == 10 * price
    assert found.passes
    assert not found.HasField("refusal")
    largest = decimal(found.largest_quantity)
    assert largest * price <= 50_000 < (largest + 1) * price
    [check] = found.checks
    assert (check.limit, check.portfolio_id, decimal(check.value)) == ("max_order_notional", "trend", 10 * price)
    assert (found.next_refusal.limit, decimal(found.next_refusal.bound)) == ("max_order_notional", 50_000)
    assert decimal(found.next_refusal.value) == (largest + 1) * price
    assert not mesh.gate.gate.settled_claim(f"{ENVIRONMENT}-1")
    assert mesh.gate.gate.exposure("trend").reserved_cash == 0
    assert await mesh.events() == []
    # The order itself is answered so, and numbered as if nobody had asked.
    placed = await mesh.orders.CreateOrder(request("a"))
    assert placed.order_id == f"{ENVIRONMENT}-1"
    assert placed.reservation == found.reservation
    assert decimal((await preview(mesh)).reservation.headroom) == decimal(found.reservation.headroom) - 10 * price


async def test_a_refusal_is_part_of_the_answer(mesh: Mesh) -> None:
    found = await preview(mesh, quantity="1000000")
    assert not found.passes
    assert not found.HasField("reservation")
    assert (found.refusal.reason, found.refusal.limit) == ("INSUFFICIENT_BUYING_POWER", "buying_power")
    error = await refused(mesh.orders.CreateOrder(request("a", quantity="1000000")))
    assert error.metadata["missing"] == found.refusal.missing
    sale = await preview(mesh, side=2)
    assert (sale.refusal.reason, sale.largest_quantity) == ("SHORT_NOT_ALLOWED", "0")
    assert sale.next_refusal.reason == "SHORT_NOT_ALLOWED"


async def test_every_type_can_be_previewed(mesh: Mesh) -> None:
    of = order_pb2.OrderType
    by_cash = await preview(mesh, quantity="", cash_quantity="1000")
    assert decimal(by_cash.quantity) * decimal(by_cash.reference_price) <= 1000
    assert decimal(by_cash.notional) == decimal(by_cash.quantity) * decimal(by_cash.reference_price)
    assert by_cash.reservation.cash == "1000.00"
    at_limit = await preview(mesh, order_type=of.ORDER_TYPE_LIMIT, limit_price="50")
    assert (at_limit.estimated_price, at_limit.notional) == ("50.0000", "500.00")
    stop = await preview(mesh, order_type=of.ORDER_TYPE_STOP, stop_price="120")
    assert (stop.estimated_price, stop.notional) == ("120.0000", "1200.00")
    reducing = await preview(mesh, side=2, reduce_only=True)
    assert (reducing.passes, reducing.largest_quantity) == (True, "")
    assert decimal(reducing.notional) == 10 * decimal(reducing.reference_price)
    assert reducing.reservation.cash == "0.00"
    assert not reducing.HasField("next_refusal")


async def test_rule_11_what_walks_the_levels_of_the_last_quote_is_previewed_and_set_aside_so(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.market.tape = quoted_tape()
        await mesh.start()
        await mesh.market.joined()
        found = await preview(mesh, quantity="10")
        # A tenth of 40 and of 60, at 100.1 and a tenth more; the reference is the last bar's.
        reference = decimal(found.reference_price)
        notional = 4 * reference + 6 * (reference + decimal("0.1"))
        assert (decimal(found.notional), decimal(found.estimated_price)) == (notional, reference + decimal("0.06"))
        assert (decimal(found.reservation.cash), decimal(found.slippage)) == (notional, 0)
        placed = await mesh.orders.CreateOrder(request("a", quantity="10"))
        assert placed.reservation == found.reservation
        # New terms foresee it too: the rest of thirty is at the last level.
        asked = order_service_pb2.ReplaceOrderRequest(order_id=placed.order_id, quantity="30")
        more = (await mesh.orders.ReplaceOrder(asked)).reservation
        assert decimal(more.cash) == 4 * reference + 26 * (reference + decimal("0.1"))
        assert decimal((await preview(mesh, quantity="", cash_quantity="1000")).quantity) == 9


async def test_what_no_order_could_be_is_no_preview(mesh: Mesh) -> None:
    for fields, code, reason in (
        ({"quantity": "1.5"}, StatusCode.INVALID_ARGUMENT, "OFF_INCREMENT"),
        ({"quantity": ""}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"portfolio_id": "nobody"}, StatusCode.NOT_FOUND, "PORTFOLIO_NOT_FOUND"),
        ({"symbol": "ZZZZ"}, StatusCode.NOT_FOUND, "INSTRUMENT_NOT_FOUND"),
        ({"symbol": "IBM"}, StatusCode.FAILED_PRECONDITION, "INSTRUMENT_NOT_IN_ENVIRONMENT"),
    ):
        error = await refused(preview(mesh, **fields))
        assert (error.code, error.reason) == (code, reason), fields


async def test_a_symbol_without_a_price_is_refused_in_the_preview_too(mesh: Mesh) -> None:
    mesh.market.start_sequence = 1
    mesh.market.environment_id, mesh.portfolios.known["early"] = "replay-2", "replay-2"
    mesh.market.announce()
    await mesh.market.hear("join")
    mesh.market.idle(1)
    found = await preview(mesh, portfolio_id="early")
    assert (found.passes, found.refusal.reason, found.reference_price) == (False, "NO_REFERENCE_PRICE", "")
    assert found.next_refusal == found.refusal


async def test_rule_15_who_may_not_wait_for_the_session_is_refused_in_the_preview_too(mesh: Mesh) -> None:
    end = len(mesh.market.tape)
    await mesh.market.run(1, end)
    mesh.market.idle(end)
    for time_in_force in (order_pb2.TIME_IN_FORCE_IOC, order_pb2.TIME_IN_FORCE_FOK):
        found = await preview(mesh, time_in_force=time_in_force)
        assert (found.passes, found.refusal.reason, found.refusal.limit) == (False, "MARKET_CLOSED", "session")
        assert not found.HasField("reservation")
        assert (found.largest_quantity, found.next_refusal) == ("0", found.refusal)
        error = await refused(mesh.orders.CreateOrder(request(f"a-{time_in_force}", time_in_force=time_in_force)))
        assert error.reason == "MARKET_CLOSED"
    # Who waits passes, and what risk refuses is told first, as of the order.
    assert (await preview(mesh, time_in_force=order_pb2.TIME_IN_FORCE_DAY)).passes
    dear = await preview(mesh, quantity="1000000", time_in_force=order_pb2.TIME_IN_FORCE_IOC)
    assert dear.refusal.reason == "INSUFFICIENT_BUYING_POWER"
    assert (dear.largest_quantity, dear.next_refusal.reason) == ("0", "MARKET_CLOSED")


async def test_risk_is_not_there(mesh: Mesh) -> None:
    mesh.gate.silent = True
    error = await refused(preview(mesh))
    assert (error.code, error.reason) == (StatusCode.UNAVAILABLE, "RISK_UNAVAILABLE")
    mesh.gate.silent = False
    assert (await preview(mesh)).passes


async def test_previews_and_orders_do_not_mix(mesh: Mesh) -> None:
    """Whichever comes first, what an order reserves is what the next preview sees."""
    for number in range(5):
        placed = await mesh.orders.CreateOrder(limit(f"a-{number}"))
        left = decimal((await preview(mesh, order_type=2, limit_price="50")).reservation.headroom)
        assert left == decimal(placed.reservation.headroom) - 500
