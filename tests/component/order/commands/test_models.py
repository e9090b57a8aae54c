"""What trading costs, set through the contract: for whom, since when, and after a restart (rules 2, 4, 12 and 14)."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from google.protobuf.duration_pb2 import Duration
from grpc import StatusCode
from tickmesh.order.v1 import (
    order_list_pb2,
    order_pb2,
    order_preview_pb2,
    order_service_pb2,
    venue_model_pb2,
    venue_model_service_pb2,
)
from tickmesh.order.v1.venue_model_service_pb2_grpc import VenueModelServiceStub

from services.chassis.errors import ApiError
from services.domain.risk.limits import make_limit
from tests.component.order.calls import BRACKET, BUY, LIMIT, SELL, STOP, close, hold, preview, refused
from tests.component.order.calls import listed as of_list
from tests.component.order.support import ENVIRONMENT, Instruments, Mesh, limit, request, running

Commission, Slippage, Latency, Fills = (
    venue_model_pb2.CommissionModel,
    venue_model_pb2.SlippageModel,
    venue_model_pb2.LatencyModel,
    venue_model_pb2.FillModel,
)
DOLLAR = Commission(per_unit="0.05", minimum="1")


def service(mesh: Mesh) -> VenueModelServiceStub:
    return VenueModelServiceStub(mesh.channel)


async def put(mesh: Mesh, **fields: Any) -> venue_model_pb2.VenueModel:
    """Sets a model, as soon as the coordinator has said that time stands still."""
    asked = venue_model_service_pb2.SetVenueModelRequest(**{"environment_id": ENVIRONMENT} | fields)
    while True:
        try:
            return await service(mesh).SetVenueModel(asked)
        except ApiError as error:
            if error.reason != "ENVIRONMENT_BLOCKED":
                raise
            await asyncio.sleep(0.01)


async def listed(mesh: Mesh, **fields: Any) -> list[venue_model_pb2.VenueModel]:
    asked = {"environment_id": ENVIRONMENT} | fields
    answer = await service(mesh).ListVenueModels(venue_model_service_pb2.ListVenueModelsRequest(**asked))
    return list(answer.venue_models)


async def delete(mesh: Mesh, name: str) -> venue_model_pb2.VenueModel:
    wanted = venue_model_service_pb2.DeleteVenueModelRequest(venue_model_id=name)
    return await service(mesh).DeleteVenueModel(wanted)


async def test_an_order_carries_what_it_was_taken_on_and_pays_it(mesh: Mesh) -> None:
    await put(mesh, commission=DOLLAR, slippage=Slippage(basis_points="10"))
    order = await mesh.orders.CreateOrder(request("a"))
    assert order.commission_model == DOLLAR
    assert order.slippage_model == Slippage(basis_points="10")
    assert order.reservation.commission == "1.00"
    assert mesh.gate.gate.exposure("trend").reserved_cash == Decimal(order.reservation.cash) + 1
    await mesh.market.run(1, 60)
    fill = await mesh.get("a")
    assert (fill.state, fill.commission) == (order_pb2.ORDER_STATE_FILLED, "1.00")
    # The bar opens at 100.01, and ten basis points above that are 100.11001.
    assert fill.avg_price == "100.1101"
    await mesh.gate.fold(len(await mesh.events()))
    exposure = mesh.gate.gate.exposure("trend")
    assert (exposure.reserved_cash, str(exposure.cash)) == (0, "98997.8990")


async def test_rule_14_a_commission_in_units_is_kept_of_what_was_bought(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instruments, "QUANTITY_INCREMENT", "0.5")
    async with running(tmp_path) as mesh:
        await mesh.market.joined()
        await put(mesh, commission=Commission(basis_points="400", in_units=True))
        foreseen = await preview(mesh, quantity="30")
        order = await mesh.orders.CreateOrder(request("a", quantity="30"))
        taken = (order.commission_model.in_units, order.reservation.commission, order.commission_quantity)
        assert taken == (True, "", "")
        await mesh.market.run(1, 60)
        fill = await mesh.get("a")
        # Of 30 units a twenty-fifth is 1.2, and no part of an increment is kept.
        assert (fill.cum_quantity, fill.commission_quantity, fill.commission) == ("30.0", "1.0", "100.01")
        assert fill.avg_price == "100.0100"
        # Both of one unit, at the price that each knew.
        assert (foreseen.commission, foreseen.estimated_price) == ("100.005", "100.0050")
        wanted = order_service_pb2.ListExecutionsRequest(portfolio_id="trend")
        (execution,) = (await mesh.orders.ListExecutions(wanted)).executions
        assert (execution.quantity, execution.commission_quantity) == ("30.0", "1.0")
        assert execution.commission == fill.commission
        await mesh.gate.fold(len(await mesh.events()))
        exposure = mesh.gate.gate.exposure("trend")
        assert exposure.cash == 100_000 - 30 * Decimal(fill.avg_price)
        assert [(each.symbol, each.quantity) for each in exposure.positions] == [("AAPL", 29)]


async def test_rule_14_of_whole_units_none_is_kept_and_the_commission_is_paid_in_money(mesh: Mesh) -> None:
    model = await put(mesh, commission=Commission(basis_points="15", in_units=True))
    foreseen = await preview(mesh)
    order = await mesh.orders.CreateOrder(request("a"))
    assert (model.commission.in_units, order.commission_model.in_units) == (True, False)
    # 15 basis points of ten units at 100.005, then of what they cost.
    assert (foreseen.commission, order.reservation.commission) == ("1.500075", "1.500075")
    await mesh.market.run(1, 60)
    fill = await mesh.get("a")
    assert (fill.commission, fill.commission_quantity) == ("1.50015", "")


async def test_a_preview_of_more_than_there_is_money_in_the_world_is_a_refusal(mesh: Mesh) -> None:
    await put(mesh, commission=Commission(basis_points="2.5"))
    most = {"quantity": "9" * 18, "limit_price": "99999999999.9999", "order_type": order_pb2.ORDER_TYPE_LIMIT}
    found = await preview(mesh, **most)
    assert found.refusal.reason == "INSUFFICIENT_BUYING_POWER"
    assert Decimal(found.commission) == round(Decimal(found.notional) / 4000, 9)
    assert (await preview(mesh)).passes


async def test_rule_14_a_commission_is_at_most_a_share_of_the_money_traded(mesh: Mesh) -> None:
    model = Commission(per_unit="0.5", minimum="4", maximum_basis_points="35")
    assert (await put(mesh, commission=model)).commission == model
    order = await mesh.orders.CreateOrder(request("a"))
    assert (order.commission_model, order.reservation.commission) == (model, "3.500175")
    await mesh.market.run(1, 60)
    assert (await mesh.get("a")).commission == "3.50035"


async def test_a_preview_counts_the_commission(mesh: Mesh) -> None:
    await put(mesh, commission=DOLLAR)
    asked = order_preview_pb2.PreviewOrderRequest.FromString(request("", quantity="40").SerializeToString())
    found = await mesh.orders.PreviewOrder(asked)
    assert (found.commission, found.reservation.commission) == ("2.00", "2.00")
    largest, price = Decimal(found.largest_quantity), Decimal(found.estimated_price)
    assert largest * price + largest * Decimal("0.05") <= 100_000
    assert (largest + 1) * price + (largest + 1) * Decimal("0.05") > 100_000
    # One that only reduces has its commission too, though none is set aside.
    await put(mesh, commission=Commission(per_unit="0.05", basis_points="10"))
    sell = order_preview_pb2.PreviewOrderRequest(side=2, reduce_only=True)
    asked.MergeFrom(sell)
    found = await mesh.orders.PreviewOrder(asked)
    assert Decimal(found.commission) == 2 + Decimal(found.notional) / 1000
    assert (Decimal(found.notional), found.reservation.commission) == (40 * Decimal(found.estimated_price), "")


async def test_what_an_order_may_slip_is_previewed_and_of_a_buy_set_aside(mesh: Mesh) -> None:
    await put(mesh, commission=DOLLAR, slippage=Slippage(basis_points="10", impact="0.5"))
    order = request("a", quantity="900")
    found = await mesh.orders.PreviewOrder(order_preview_pb2.PreviewOrderRequest.FromString(order.SerializeToString()))
    price = Decimal(found.reference_price)
    # Ten basis points, and half of what a tenth of a record, all that the venue gives, has as its square.
    worst = (price * Decimal("1.006")).quantize(Decimal("0.0001"), "ROUND_CEILING")
    assert Decimal(found.slippage) == 900 * (worst - price)
    assert Decimal(found.notional) == 900 * price
    assert Decimal(found.reservation.cash) == 900 * worst
    assert (await mesh.orders.CreateOrder(order)).reservation == found.reservation
    # At its limit an order is never worse; what a sale may bring less is told too, and nothing is set aside for it.
    at_limit = await preview(mesh, order_type=order_pb2.ORDER_TYPE_LIMIT, limit_price="50", quantity="900")
    assert at_limit.slippage == "0.00"
    sale = await preview(mesh, side=2, quantity="900", reduce_only=True)
    least = (price * Decimal("0.994")).quantize(Decimal("0.0001"), "ROUND_FLOOR")
    assert (Decimal(sale.slippage), sale.reservation.cash) == (900 * (price - least), "0.00")


async def test_rule_19_a_preview_tells_the_margin_of_a_short(mesh: Mesh) -> None:
    mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
    mesh.gate.gate.set_limit(make_limit("initial_margin", Decimal("0.6"), symbol="AAPL"))
    order = request("a", side=2)
    asked = order_preview_pb2.PreviewOrderRequest.FromString(order.SerializeToString())
    found = await mesh.orders.PreviewOrder(asked)
    assert Decimal(found.initial_margin) == Decimal(found.notional) * Decimal("0.6") == Decimal(found.reservation.cash)
    assert (await mesh.orders.CreateOrder(order)).reservation == found.reservation
    buy = order_preview_pb2.PreviewOrderRequest.FromString(request("b").SerializeToString())
    assert (await mesh.orders.PreviewOrder(buy)).initial_margin == "0.00"


async def test_the_narrowest_scope_gives_each_part_and_an_empty_model_is_one_too(mesh: Mesh) -> None:
    await put(mesh, commission=DOLLAR, latency=Latency(fixed=Duration(seconds=90)))
    await put(mesh, portfolio_id="trend", symbol="AAPL", commission=Commission())
    free = await mesh.orders.CreateOrder(limit("a"))
    assert free.commission_model == Commission()
    assert free.HasField("commission_model")
    assert free.reservation.commission == ""
    assert free.latency == Duration(seconds=90)
    other = await mesh.orders.CreateOrder(limit("b", symbol="MSFT", price="20"))
    assert (other.commission_model, other.reservation.commission) == (DOLLAR, "1.00")


async def test_a_change_is_versioned_and_the_same_again_changes_nothing(mesh: Mesh) -> None:
    first = await put(mesh, portfolio_id="trend", commission=DOLLAR)
    assert await put(mesh, portfolio_id="trend", commission=Commission(per_unit="0.050", minimum="1.0")) == first
    await mesh.orders.CreateOrder(limit("a"))
    second = await put(mesh, portfolio_id="trend", slippage=Slippage(impact="0.1"))
    assert (first.version, second.version, first.sequence, second.sequence) == (1, 2, 1, 2)
    assert (first.order_count, second.order_count, second.principal) == (0, 1, "local")
    assert second.tape_sequence == mesh.market.start_sequence
    gone = await delete(mesh, f"{ENVIRONMENT}~trend~")
    assert (gone.version, gone.deleted) == (3, True)
    assert await delete(mesh, f"{ENVIRONMENT}~trend~") == gone
    assert await listed(mesh) == []
    assert await listed(mesh, all_versions=True, portfolio_id="trend") == [first, second, gone]
    assert await listed(mesh, all_versions=True, symbol="AAPL") == []
    plain = await mesh.orders.CreateOrder(limit("b"))
    assert not plain.HasField("commission_model")
    # What came before keeps what it was taken on.
    assert (await mesh.get("a")).commission_model == DOLLAR


async def test_a_change_waits_for_the_end_of_the_cycle(mesh: Mesh) -> None:
    await mesh.market.run(1, 10)
    changing = asyncio.create_task(put(mesh, commission=DOLLAR))
    # A strategy's order belongs to the cycle, and comes before it.
    await asyncio.sleep(0.1)
    assert not changing.done()
    mesh.market.idle(10, cycle=1)
    assert (await changing).tape_sequence == 10


async def test_rules_9_to_11_and_15_how_an_order_fills_is_set_field_by_field(mesh: Mesh) -> None:
    await put(mesh, fills=Fills(fill_on_touch=True, volume_share="0"))
    narrow = await put(mesh, portfolio_id="trend", fills=Fills(fill_on_touch=False, hold_day_orders=False))
    assert narrow.fills == Fills(fill_on_touch=False, hold_day_orders=False)
    known = Fills(bar_path=venue_model_pb2.BAR_PATH_BY_DIRECTION)
    await put(mesh, symbol="MSFT", fills=known)
    order = await mesh.orders.CreateOrder(limit("a"))
    unknown = venue_model_pb2.BAR_PATH_UNKNOWN
    whole = Fills(fill_on_touch=False, volume_share="0", hold_day_orders=False, bar_path=unknown)
    assert order.fill_model == whole
    other = await mesh.orders.CreateOrder(limit("b", symbol="MSFT", price="20"))
    whole.bar_path = known.bar_path
    assert other.fill_model == whole
    await delete(mesh, f"{ENVIRONMENT}~trend~")
    last = await mesh.orders.CreateOrder(limit("c"))
    assert last.fill_model == Fills(fill_on_touch=True, volume_share="0", hold_day_orders=True, bar_path=unknown)
    # What came before keeps what it was taken on.
    assert await mesh.get("a") == order


async def test_rule_11_an_order_fills_to_the_share_it_was_taken_on(mesh: Mesh) -> None:
    await put(mesh, fills=Fills(volume_share="0.00001"))
    small = await mesh.orders.CreateOrder(request("a", quantity="100"))
    await put(mesh, fills=Fills(volume_share="0"))
    await mesh.orders.CreateOrder(request("b", quantity="100"))
    await mesh.market.run(1, 60)
    assert (await mesh.get("b")).state == order_pb2.ORDER_STATE_FILLED
    cut = await mesh.get("a")
    assert (cut.state, cut.fill_model) == (order_pb2.ORDER_STATE_PARTIALLY_FILLED, small.fill_model)


async def test_rule_15_a_day_order_outside_its_session_is_held_or_refused_as_it_is_set(mesh: Mesh) -> None:
    # The session is over, the tape's end not yet told.
    await mesh.market.run(1, len(mesh.market.tape))
    mesh.market.idle(len(mesh.market.tape), cycle=1)
    held = await mesh.orders.CreateOrder(request("a", time_in_force=order_pb2.TIME_IN_FORCE_DAY))
    assert held.state == order_pb2.ORDER_STATE_HELD
    asked = order_preview_pb2.PreviewOrderRequest.FromString(
        request("", time_in_force=order_pb2.TIME_IN_FORCE_DAY).SerializeToString()
    )
    assert (await mesh.orders.PreviewOrder(asked)).passes
    await put(mesh, portfolio_id="trend", fills=Fills(hold_day_orders=False))
    assert (await mesh.orders.PreviewOrder(asked)).refusal.reason == "MARKET_CLOSED"
    with pytest.raises(ApiError) as refused:
        await mesh.orders.CreateOrder(request("b", time_in_force=order_pb2.TIME_IN_FORCE_DAY))
    assert (refused.value.code, refused.value.reason) == (StatusCode.FAILED_PRECONDITION, "MARKET_CLOSED")
    assert (await mesh.get("b")).state == order_pb2.ORDER_STATE_REJECTED


async def test_what_cannot_be_is_refused_and_changes_nothing(mesh: Mesh) -> None:
    for fields in (
        {"commission": Commission(minimum="2", maximum="1")},
        {"commission": Commission(tiers=[venue_model_pb2.CommissionTier(above="5", basis_points="1")])},
        {"commission": Commission(per_unit="1", in_units=True)},
        {"commission": Commission(in_units=True)},
        {"commission": Commission(basis_points="1", maximum_basis_points="5", in_units=True)},
        {"commission": Commission(maximum_basis_points="10000.1")},
        {"commission": Commission(maximum_basis_points="0")},
        {"slippage": Slippage(impact="1.5")},
        {"fills": Fills(volume_share="1.5")},
        {"fills": Fills()},
        {"commission": DOLLAR, "fills": Fills()},
        {},
    ):
        with pytest.raises(ApiError) as refused:
            await put(mesh, **fields)
        assert refused.value.code is StatusCode.INVALID_ARGUMENT
        [violation] = refused.value.field_violations
        assert violation.field.partition(".")[0] in (list(fields)[-1:] or ["commission"])
    with pytest.raises(ApiError) as unknown:
        await delete(mesh, "nobody")
    assert (unknown.value.code, unknown.value.reason) == (StatusCode.NOT_FOUND, "VENUE_MODEL_NOT_FOUND")
    assert await listed(mesh, all_versions=True) == []


async def test_models_and_what_orders_carry_survive_a_kill(tmp_path: Path) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.spawn()
        await mesh.ready()
        await mesh.market.joined()
        model = await put(mesh, commission=DOLLAR, latency=Latency(jitter=Duration(seconds=30), seed=5))
        order = await mesh.orders.CreateOrder(limit("a"))
        assert mesh.process is not None
        mesh.process.kill()
        assert await mesh.died() < 0
        mesh.spawn()
        await mesh.ready()
        await mesh.market.joined()
        assert await listed(mesh) == [model]
        assert await mesh.get("a") == order
        again = await mesh.orders.CreateOrder(limit("b"))
        assert again.commission_model == DOLLAR
        changed = await put(mesh, commission=Commission(per_order="3"))
        assert (changed.version, changed.sequence, changed.order_count) == (2, 2, 2)


@pytest.mark.parametrize("short", [False, True])
async def test_rule_21_a_close_leaves_nothing_where_buys_pay_in_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, short: bool
) -> None:
    monkeypatch.setattr(Instruments, "QUANTITY_INCREMENT", "0.001")
    async with running(tmp_path) as mesh:
        await mesh.market.joined()
        mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
        await hold(mesh, side=2 if short else 1)
        await put(mesh, commission=Commission(basis_points="100", in_units=True))
        closing = await mesh.orders.ClosePosition(close("closing"))
        # Of 10.101 units a hundredth is 0.101, in whole steps.
        assert closing.quantity == ("10.101" if short else "10.000")
        await mesh.market.run(2, 8)
        mesh.market.idle(8)
        closed = await mesh.get("closing")
        assert (closed.state, closed.leaves_quantity) == (order_pb2.ORDER_STATE_FILLED, "0.000")
        assert closed.commission_quantity == ("0.101" if short else "")
        assert (await refused(mesh.orders.ClosePosition(close("again")))).reason == "POSITION_NOT_FOUND"


async def test_rule_21_a_bracket_s_cover_leaves_nothing_where_buys_pay_in_units(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Instruments, "QUANTITY_INCREMENT", "0.001")
    async with running(tmp_path) as mesh:
        await mesh.market.joined()
        mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
        await put(mesh, commission=Commission(basis_points="100", in_units=True))
        orders = [
            of_list("entry", SELL, quantity="10"),
            of_list("target", BUY, order_type=LIMIT, limit_price="90"),
            of_list("stop", BUY, order_type=STOP, stop_price="100.3"),
        ]
        short = order_list_pb2.CreateOrderListRequest(portfolio_id="trend", contingency_type=BRACKET, orders=orders)
        await mesh.orders.CreateOrderList(short)
        await mesh.market.run(1, 5)
        mesh.market.idle(5)
        await mesh.market.run(2, 60)
        mesh.market.idle(60)
        stop = await mesh.get("stop")
        assert (stop.state, stop.quantity) == (order_pb2.ORDER_STATE_FILLED, "10.101")
        assert stop.commission_quantity == "0.101"
        assert (await refused(mesh.orders.ClosePosition(close("again")))).reason == "POSITION_NOT_FOUND"
