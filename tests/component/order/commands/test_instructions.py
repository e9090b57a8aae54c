"""Orders of every type, time in force and instruction, through the service and its restarts (rules 2 and 8 to 15)."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from tickmesh.order.v1 import order_pb2

from services.wire.values import timestamp
from tests.component.order.calls import refused
from tests.component.order.support import MINUTE, OPEN, Mesh, request, running

TYPE, TIF = order_pb2.OrderType, order_pb2.TimeInForce
# A minute's open is a cent above the one before, from 100 on; its high two cents above that, its low two below.
ORDERS: dict[str, dict[str, Any]] = {
    "opening": {"quantity": "1000"},
    "stop-limit": {"order_type": TYPE.ORDER_TYPE_STOP_LIMIT, "stop_price": "100.2", "limit_price": "100.3"},
    "touched": {"order_type": TYPE.ORDER_TYPE_MARKET_IF_TOUCHED, "side": 2, "stop_price": "100.25"},
    "touched-limit": {
        "order_type": TYPE.ORDER_TYPE_LIMIT_IF_TOUCHED,
        "side": 2,
        "stop_price": "100.1",
        "limit_price": "100.3",
    },
    "trailing": {"order_type": TYPE.ORDER_TYPE_TRAILING_STOP, "side": 2, "trailing_amount": "0.03"},
    "percent": {"order_type": TYPE.ORDER_TYPE_TRAILING_STOP, "side": 2, "trailing_percent": "0.5"},
    "good-till": {
        "order_type": TYPE.ORDER_TYPE_LIMIT,
        "time_in_force": TIF.TIME_IN_FORCE_GTD,
        "limit_price": "90",
        "expire_time": timestamp(OPEN + 20 * MINUTE + 30_000_000_000),
    },
    "past": {
        "order_type": TYPE.ORDER_TYPE_LIMIT,
        "time_in_force": TIF.TIME_IN_FORCE_GTD,
        "limit_price": "90",
        "expire_time": timestamp(OPEN - MINUTE),
    },
    "all-or-none": {"time_in_force": TIF.TIME_IN_FORCE_FOK, "quantity": "200000"},
    "all": {"time_in_force": TIF.TIME_IN_FORCE_FOK, "quantity": "20"},
    "at-open": {"time_in_force": TIF.TIME_IN_FORCE_OPG},
    "at-close": {"time_in_force": TIF.TIME_IN_FORCE_CLS},
    "post-only": {"order_type": TYPE.ORDER_TYPE_LIMIT, "limit_price": "101", "post_only": True},
    "rests": {"order_type": TYPE.ORDER_TYPE_LIMIT, "side": 2, "limit_price": "100.4", "post_only": True},
    "iceberg": {"order_type": TYPE.ORDER_TYPE_LIMIT, "side": 2, "limit_price": "100.35", "display_quantity": "3"},
    "behind": {"order_type": TYPE.ORDER_TYPE_LIMIT, "side": 2, "limit_price": "100.35"},
    "reducing": {
        "order_type": TYPE.ORDER_TYPE_STOP,
        "side": 2,
        "stop_price": "99",
        "quantity": "5000",
        "reduce_only": True,
    },
}


async def played(folder: Path, restart_every: int) -> list[tuple[Any, ...]]:
    """What happens to all of them, record by record; every so many the service begins anew."""
    async with running(folder, start=False) as mesh:
        await mesh.start()
        await mesh.market.joined()
        mesh.gate.gate.open_portfolio("trend", Decimal(10**9))
        await mesh.orders.CreateOrder(request("held", quantity="5000"))
        position, cycle = (await mesh.market.run(1, 5)).tape_sequence, 1
        mesh.market.idle(position)
        for name, values in ORDERS.items():
            await mesh.orders.CreateOrder(request(name, **values))
        end = len(mesh.market.tape)
        while position < end:
            cycle += 1
            reached = await mesh.market.run(cycle, position + 1, final=position + 1 == end)
            position = reached.tape_sequence
            mesh.market.idle(position)
            if restart_every and cycle % restart_every == 0 and position < end:
                await mesh.stop()
                await mesh.start()
                await mesh.market.joined(position)
        return [told(event) for event in await mesh.events()]


def told(event: order_pb2.OrderEvent) -> tuple[Any, ...]:
    order, last = event.order, (event.last_quantity, event.last_price)
    when = (event.tape_sequence, event.transact_time.seconds, order.cancel_reason)
    return (order.client_order_id, event.exec_type, *last, *when, order.stop_price, order.priority)


async def test_every_type_is_what_it_is_through_restarts(tmp_path: Path) -> None:
    straight = await played(tmp_path / "straight", 0)
    assert await played(tmp_path / "restarted", 3) == straight
    last = {name: (exec_type, reason) for name, exec_type, _, _, _, _, reason, _, _ in straight}
    reasons, kinds = order_pb2.CancelReason, order_pb2.ExecType
    assert {name: reasons.Name(reason)[14:] for name, (_, reason) in last.items() if reason} == {
        "good-till": "END_OF_TIME",
        "past": "END_OF_TIME",
        "all-or-none": "FOK_UNFILLED",
        "at-open": "END_OF_TAPE",
        "post-only": "POST_ONLY",
        "percent": "END_OF_TAPE",
        "reducing": "END_OF_TAPE",
    }
    filled = {name for name, (exec_type, _) in last.items() if exec_type == kinds.EXEC_TYPE_TRADE}
    assert filled == {"held", *ORDERS} - {name for name, (_, reason) in last.items() if reason}


async def test_an_order_says_what_it_was_asked_for(mesh: Mesh) -> None:
    mesh.gate.gate.open_portfolio("trend", Decimal(10**9))
    await mesh.orders.CreateOrder(request("held", quantity="5000"))
    await mesh.market.run(1, 5)
    mesh.market.idle(5)
    made = {name: await mesh.orders.CreateOrder(request(name, **values)) for name, values in ORDERS.items()}
    assert made["percent"].trailing_percent == "0.5"
    assert made["trailing"].trailing_amount == "0.0300"
    assert (made["iceberg"].display_quantity, made["post-only"].post_only) == ("3", True)
    assert made["good-till"].expire_time == ORDERS["good-till"]["expire_time"]
    assert made["at-open"].state == order_pb2.ORDER_STATE_HELD
    for name, values in ORDERS.items():
        assert await mesh.orders.CreateOrder(request(name, **values)) == made[name]
    error = await refused(mesh.orders.CreateOrder(request("reducing", **ORDERS["reducing"] | {"reduce_only": False})))
    assert error.reason == "CLIENT_ORDER_ID_REUSED"


@pytest.mark.parametrize("time_in_force", [TIF.TIME_IN_FORCE_IOC, TIF.TIME_IN_FORCE_FOK])
async def test_rule_15_what_cannot_wait_is_refused_outside_the_session(mesh: Mesh, time_in_force: int) -> None:
    end = len(mesh.market.tape)
    await mesh.market.run(1, end)
    mesh.market.idle(end)
    error = await refused(mesh.orders.CreateOrder(request("a", time_in_force=time_in_force)))
    assert error.reason == "MARKET_CLOSED"
