"""Many orders ended by one call, and positions closed by one that only reduces (rules 2, 4 and 13)."""

import asyncio
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tickmesh.common.v1 import side_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.domain.risk.limits import make_limit
from services.domain.tape import Kind, Series, Source, Tape, merge
from tests.component.order.calls import cancel_all, close, hold, refused
from tests.component.order.support import MINUTE, OPEN, SEAT, Mesh, limit, make_tape, request, running

STATE, REASON = order_pb2.OrderState, order_pb2.CancelReason


@pytest.mark.parametrize(
    ("of", "names"),
    [
        ({}, "abcd"),
        ({"symbol": "MSFT"}, "b"),
        ({"side": side_pb2.SIDE_BUY}, "abd"),
        ({"side": side_pb2.SIDE_SELL}, "c"),
        ({"strategy_id": "s"}, "d"),
        ({"deployment_id": "d", "symbol": "AAPL"}, "d"),
        ({"strategy_id": "nobody"}, ""),
    ],
)
async def test_open_orders_that_fit_are_canceled_together(mesh: Mesh, of: dict[str, Any], names: str) -> None:
    strategy = {"deployment_id": "d", "strategy_id": "s", "basis_sequence": 3}
    for name, values in (
        ("a", {}),
        ("b", {"symbol": "MSFT"}),
        ("c", {"side": 2, "reduce_only": True}),
        ("d", strategy),
        ("e", {"portfolio_id": "other"}),
    ):
        await mesh.orders.CreateOrder(limit(name, **values), metadata=SEAT)
    answer = await mesh.orders.BatchCancelOrders(cancel_all(**of))
    assert answer.order_ids == [f"replay-1-{'abcd'.index(name) + 1}" for name in names]
    assert (answer.count, answer.more) == (len(names), False)
    for name in "abcd":
        order = await mesh.get(name)
        assert (order.state == STATE.ORDER_STATE_CANCELED) is (name in names)
    assert not (await mesh.orders.BatchCancelOrders(cancel_all(**of))).order_ids
    assert (await mesh.get("e", "other")).state == STATE.ORDER_STATE_NEW


async def test_a_thousand_at_once_the_oldest_first(mesh: Mesh) -> None:
    await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"a-{n}", "1", quantity="1")) for n in range(1001)))
    # Needs no risk.
    mesh.gate.silent = True
    first = await mesh.orders.BatchCancelOrders(cancel_all())
    assert first.order_ids == [f"replay-1-{n}" for n in range(1, 1001)]
    assert (first.count, first.more) == (1000, True)
    second = await mesh.orders.BatchCancelOrders(cancel_all())
    assert (second.order_ids, second.count, second.more) == (["replay-1-1001"], 1, False)


async def test_nothing_is_canceled_where_nothing_was_ever_traded_and_nobody_is_a_mistake(mesh: Mesh) -> None:
    assert not (await mesh.orders.BatchCancelOrders(cancel_all())).count
    assert (await refused(mesh.orders.BatchCancelOrders(cancel_all(portfolio_id="nobody")))).reason == (
        "PORTFOLIO_NOT_FOUND"
    )


@pytest.mark.parametrize("short", [False, True])
async def test_a_position_is_closed_whole_whatever_waits_beside_it(mesh: Mesh, short: bool) -> None:
    if short:
        mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
    await hold(mesh, side=2 if short else 1)
    order = await mesh.orders.CreateOrder(request("x", portfolio_id="other"))
    closing = await mesh.orders.ClosePosition(close("closing"))
    assert (closing.side, closing.quantity) == (1 if short else 2, "10")
    assert (closing.order_type, closing.time_in_force, closing.reduce_only) == (1, 2, True)
    assert (closing.reservation.cash, closing.reservation.quantity) == ("0.00", "0")
    await mesh.market.run(2, 8)
    assert (await mesh.get("closing")).state == STATE.ORDER_STATE_FILLED
    mesh.market.idle(8)
    assert (await refused(mesh.orders.ClosePosition(close("again")))).reason == "POSITION_NOT_FOUND"
    repeated = await mesh.orders.ClosePosition(close("closing"))
    assert (repeated.order_id, repeated.state) == (closing.order_id, STATE.ORDER_STATE_FILLED)
    assert order.portfolio_id == "other"


async def test_of_two_that_close_the_same_position_one_finds_nothing_left(mesh: Mesh) -> None:
    await hold(mesh)
    await asyncio.gather(*(mesh.orders.ClosePosition(close(name)) for name in "ab"))
    await mesh.market.run(2, 8)
    ended = {(each.state, each.cum_quantity, each.cancel_reason) for each in [await mesh.get(name) for name in "ab"]}
    assert ended == {
        (STATE.ORDER_STATE_FILLED, "10", REASON.CANCEL_REASON_UNSPECIFIED),
        (STATE.ORDER_STATE_CANCELED, "0", REASON.CANCEL_REASON_NOTHING_TO_REDUCE),
    }


async def test_rule_4_closing_passes_beside_a_sale_that_only_closes_and_not_beside_one_that_would_open(
    mesh: Mesh,
) -> None:
    gate = mesh.gate.gate
    gate.set_limit(make_limit("short_sale", Decimal(1)))
    gate.set_limit(make_limit("max_position_quantity", Decimal(10)))
    await hold(mesh)
    resting = {"side": 2, "price": "500"}
    await mesh.orders.CreateOrder(limit("closes", **resting))
    closing = await mesh.orders.ClosePosition(close("closing"))
    assert closing.state == STATE.ORDER_STATE_NEW
    await mesh.orders.BatchCancelOrders(cancel_all())
    opens = await mesh.orders.CreateOrder(limit("opens", quantity="20", **resting))
    error = await refused(mesh.orders.ClosePosition(close("again")))
    assert error.reason == "LIMIT_EXCEEDED"
    assert [error.metadata[name] for name in ("limit", "bound", "value")] == ["max_position_quantity", "10", "20"]
    await mesh.orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=opens.order_id))
    assert (await mesh.orders.ClosePosition(close("out"))).state == STATE.ORDER_STATE_NEW


async def test_an_id_used_for_another_order_closes_nothing(mesh: Mesh) -> None:
    await hold(mesh)
    error = await refused(mesh.orders.ClosePosition(close("opening")))
    assert error.reason == "CLIENT_ORDER_ID_REUSED"
    await mesh.orders.ClosePosition(close("closing"))
    values = {"side": 2, "reduce_only": True}
    assert (await refused(mesh.orders.CreateOrder(request("closing", **values)))).reason == "CLIENT_ORDER_ID_REUSED"
    assert (await refused(mesh.orders.ClosePosition(close("closing", "trend~MSFT")))).reason == (
        "CLIENT_ORDER_ID_REUSED"
    )


@pytest.mark.parametrize(
    ("position_id", "reason"),
    [
        ("nobody~AAPL", "PORTFOLIO_NOT_FOUND"),
        ("trend~ZZZZ", "INSTRUMENT_NOT_FOUND"),
        ("trend~IBM", "INSTRUMENT_NOT_IN_ENVIRONMENT"),
        ("trend~MSFT", "POSITION_NOT_FOUND"),
        ("trend~x~AAPL", "PORTFOLIO_NOT_FOUND"),
        ("trend", "INVALID_ARGUMENT"),
        ("~AAPL", "INVALID_ARGUMENT"),
        ("trend~", "INVALID_ARGUMENT"),
    ],
)
async def test_a_position_that_there_is_not_is_told(mesh: Mesh, position_id: str, reason: str) -> None:
    assert (await refused(mesh.orders.ClosePosition(close("a", position_id)))).reason == reason
    assert not await mesh.events()


def split_tape(numerator: int = 3, denominator: int = 1) -> Tape:
    """As `make_tape`, but that each AAPL is three, or another number, from the twentieth minute on."""
    tape, when = make_tape(), np.array([OPEN + 20 * MINUTE], np.int64)
    parts = [
        Series(source, tape.time[rows], tape.start[rows], tape.values[rows])
        for number, source in enumerate(tape.sources)
        if len(rows := np.flatnonzero(tape.source == number))
    ]
    ratio = np.zeros((1, 5))
    ratio[0, :2] = numerator, denominator
    return merge([*parts, Series(Source(Kind.SPLIT, "AAPL"), when, when, ratio)])


async def restart(mesh: Mesh, times: int) -> None:
    """Stops the order service and starts it on what it has stored, so many times."""
    for _ in range(times):
        await mesh.stop()
        await mesh.start()
        await mesh.market.joined()


@pytest.mark.parametrize("restarts", [0, 1])
async def test_rule_2_what_is_held_is_known_after_a_restart_through_a_split_too(tmp_path: Path, restarts: int) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.market.tape = split_tape()
        await mesh.start()
        await mesh.market.joined()
        await hold(mesh)
        # The split is met without an order: nothing tells of it but the tape.
        await mesh.market.run(2, 80)
        mesh.market.idle(80)
        await mesh.orders.CreateOrder(limit("other", portfolio_id="other"))
        await restart(mesh, restarts)
        closing = await mesh.orders.ClosePosition(close("closing"))
        assert (closing.side, closing.quantity) == (2, "30")
        await mesh.market.run(3, 84)
        assert (await mesh.get("closing")).state == STATE.ORDER_STATE_FILLED


@pytest.mark.parametrize("restarts", [0, 1])
async def test_rule_19_what_a_short_holds_is_known_after_a_restart_through_a_split_too(
    tmp_path: Path, restarts: int
) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.market.tape = split_tape()
        mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
        await mesh.start()
        await mesh.market.joined()
        await hold(mesh, side=2)
        await mesh.market.run(2, 80)
        mesh.market.idle(80)
        covering = await mesh.orders.CreateOrder(limit("covering", "20"))
        await restart(mesh, restarts)
        canceled = await mesh.orders.CancelOrder(order_service_pb2.CancelOrderRequest(order_id=covering.order_id))
        # Its 200 were paid by the 1500 that the short holds, so they are no headroom when it has gone.
        assert canceled.reservation.headroom == covering.reservation.headroom


@pytest.mark.parametrize("restarts", [0, 1])
async def test_rule_19_what_a_split_closes_of_a_short_is_known_after_a_restart_too(
    tmp_path: Path, restarts: int
) -> None:
    async with running(tmp_path, start=False) as mesh:
        mesh.market.tape = split_tape(1, 3)
        mesh.gate.gate.set_limit(make_limit("short_sale", Decimal(1)))
        await mesh.start()
        await mesh.market.joined()
        await hold(mesh, side=2)
        # A third of a unit is closed for cash, and its share of the collateral is free. No order tells of it.
        await mesh.market.run(2, 80)
        mesh.market.idle(80)
        await restart(mesh, restarts)
        closing = await mesh.orders.ClosePosition(close("closing"))
        assert (closing.side, closing.quantity) == (1, "3")
        await mesh.market.run(3, 84)
        closed = await mesh.get("closing")
        assert closed.state == STATE.ORDER_STATE_FILLED
        assert closed.reservation.headroom == "100548.915000136"


async def test_rule_13_an_order_that_only_reduces_never_opens_also_after_a_restart(mesh: Mesh) -> None:
    await hold(mesh)
    await mesh.orders.CreateOrder(request("more", side=2, quantity="25", reduce_only=True))
    await mesh.stop()
    await mesh.start()
    await mesh.market.joined()
    await mesh.market.run(2, 8)
    more = await mesh.get("more")
    assert (more.cum_quantity, more.cancel_reason) == ("10", REASON.CANCEL_REASON_NOTHING_TO_REDUCE)
