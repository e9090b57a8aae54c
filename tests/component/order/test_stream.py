"""The stream of order events: a cursor over what is durable."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from grpc import StatusCode
from tickmesh.common.v1 import stream_pb2
from tickmesh.order.v1 import order_pb2, order_service_pb2

from services.chassis.errors import ApiError
from tests.component.order.calls import cancel, refused
from tests.component.order.support import ENVIRONMENT, Mesh, limit, request, running

Response = order_service_pb2.StreamOrderEventsResponse
NEW, TRADE = order_pb2.ExecType.EXEC_TYPE_NEW, order_pb2.ExecType.EXEC_TYPE_TRADE


def stream(mesh: Mesh, **fields: Any) -> Any:
    return mesh.orders.StreamOrderEvents(order_service_pb2.StreamOrderEventsRequest(**fields))


async def messages(call: Any, count: int, seconds: float = 30) -> list[Response]:
    """The next messages that are no heartbeats; each follows the one before without a gap."""
    found: list[Response] = []
    last = None
    async with asyncio.timeout(seconds):
        while len(found) < count:
            message = await call.read()
            assert last is None or message.previous_sequence == last
            last = message.sequence
            if message.WhichOneof("event") != "heartbeat":
                found.append(message)
    return found


async def test_a_subscription_begins_with_the_open_orders_and_goes_on_without_a_gap(mesh: Mesh) -> None:
    first = await mesh.orders.CreateOrder(limit("a"))
    ended = await mesh.orders.CreateOrder(limit("b"))
    await mesh.orders.CancelOrder(cancel(ended.order_id))
    call = stream(mesh, environment_id=ENVIRONMENT)
    (snapshot,) = await messages(call, 1)
    assert list(snapshot.snapshot.orders) == [first]
    assert (snapshot.snapshot.sequence, snapshot.snapshot.last, snapshot.sequence) == (3, True, 3)
    await mesh.orders.CreateOrder(limit("c"))
    (event,) = await messages(call, 1)
    assert (event.previous_sequence, event.sequence, event.partition) == (3, 4, ENVIRONMENT)
    assert [each.order.client_order_id for each in event.order_events.events] == ["c"]
    call.cancel()


async def test_an_empty_snapshot_is_sent_too(mesh: Mesh) -> None:
    call = stream(mesh, environment_id=ENVIRONMENT)
    (snapshot,) = await messages(call, 1)
    assert snapshot.snapshot.last
    assert not snapshot.snapshot.orders
    call.cancel()


async def test_a_large_snapshot_comes_in_parts(mesh: Mesh) -> None:
    for n in range(0, 1100, 100):
        await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"a-{i}", "1")) for i in range(n, n + 100)))
    call = stream(mesh, environment_id=ENVIRONMENT)
    parts = await messages(call, 3)
    assert [(len(part.snapshot.orders), part.snapshot.last) for part in parts] == [
        (500, False),
        (500, False),
        (100, True),
    ]
    assert [order.order_id for part in parts for order in part.snapshot.orders] == [
        f"replay-1-{n}" for n in range(1, 1101)
    ]
    call.cancel()


async def test_every_event_comes_exactly_once_however_often_the_stream_is_cut(mesh: Mesh) -> None:
    """Readers that resume from their last token at random moments while orders come and go, and over a restart."""
    seen: list[int] = []
    token = ""
    total = 300

    async def place() -> None:
        for n in range(total // 3):
            order = await mesh.place(limit(f"a-{n}"))
            await mesh.place(limit(f"b-{n}"))
            await mesh.orders.CancelOrder(cancel(order.order_id))

    async def read(for_long: float) -> None:
        nonlocal token
        start = {"resume_token": token} if token else {"after_sequence": 0}
        call = stream(mesh, environment_id=ENVIRONMENT, **start)
        try:
            async with asyncio.timeout(for_long):
                async for message in call:
                    assert message.WhichOneof("event") in {"order_events", "heartbeat", "closed"}
                    seen.extend(event.sequence for event in message.order_events.events)
                    token = message.resume_token
        except (TimeoutError, ApiError):
            pass
        finally:
            call.cancel()

    placing = asyncio.create_task(place())
    n = 0
    while not placing.done():
        n += 1
        await read(0.02 * (n % 4))
    await placing
    await mesh.stop()
    await mesh.start()
    for _ in range(3):
        await read(0.3)
    assert seen == list(range(1, total + 1))


async def test_filters_skip_numbers_and_resumes_go_on_behind_what_was_scanned(mesh: Mesh) -> None:
    for n in range(6):
        await mesh.orders.CreateOrder(request(f"a-{n}", portfolio_id="other" if n % 2 else "trend"))
    call = stream(mesh, environment_id=ENVIRONMENT, portfolio_id="other", exec_types=[TRADE], after_sequence=0)
    heartbeat = await call.read()
    assert heartbeat.heartbeat.scanned_sequence == 6
    await mesh.market.run(1, 9)
    (event,) = await messages(call, 1)
    assert [each.exec_type for each in event.order_events.events] == [TRADE] * 3
    assert {each.order.portfolio_id for each in event.order_events.events} == {"other"}
    assert (event.previous_sequence, event.sequence) == (6, 12)
    call.cancel()
    again = stream(
        mesh,
        environment_id=ENVIRONMENT,
        portfolio_id="other",
        exec_types=[TRADE],
        resume_token=heartbeat.resume_token,
    )
    (same,) = await messages(again, 1)
    assert (same.previous_sequence, same.order_events) == (6, event.order_events)
    again.cancel()


@pytest.fixture
async def silent(tmp_path: Path) -> AsyncIterator[Mesh]:
    """As `mesh`, with heartbeats as far apart as they may be: they take with them what waits."""
    async with running(tmp_path, start=False) as each:
        await each.start(TICKMESH_HEARTBEAT_SECONDS="14")
        await each.market.joined()
        yield each


async def test_who_lets_events_wait_has_them_together_at_the_end_of_the_venues_turn(silent: Mesh) -> None:
    mesh = silent
    patient = stream(mesh, environment_id=ENVIRONMENT, after_sequence=0, max_delay={"seconds": 10})
    prompt = stream(mesh, environment_id=ENVIRONMENT, after_sequence=0)
    for call in (patient, prompt):
        await call.read()
    for n in range(3):
        await mesh.orders.CreateOrder(request(f"a-{n}"))
        await messages(prompt, 1)
    await mesh.market.run(1, 9)
    (together,) = await messages(patient, 1, seconds=9)
    assert [each.exec_type for each in together.order_events.events[:3]] == [NEW] * 3
    while together.sequence < 6:
        (together,) = await messages(patient, 1, seconds=9)
    assert [each.exec_type for each in together.order_events.events[-3:]] == [TRADE] * 3
    for call in (patient, prompt):
        call.cancel()


async def test_what_risk_must_know_before_it_answers_does_not_wait(silent: Mesh) -> None:
    mesh = silent
    patient = stream(mesh, environment_id=ENVIRONMENT, after_sequence=0, max_delay={"seconds": 10})
    await patient.read()
    for n in range(2):
        await mesh.orders.CreateOrder(limit(f"a-{n}"))
    mesh.gate.hang_up()
    (together,) = await messages(patient, 1, seconds=9)
    assert [each.order.client_order_id for each in together.order_events.events] == ["a-0", "a-1"]
    patient.cancel()


async def test_a_stream_is_resumed_with_another_delay(mesh: Mesh) -> None:
    patient = stream(mesh, environment_id=ENVIRONMENT, max_delay={"seconds": 10})
    token = (await patient.read()).resume_token
    patient.cancel()
    await mesh.orders.CreateOrder(limit("a"))
    again = stream(mesh, environment_id=ENVIRONMENT, resume_token=token)
    (event,) = await messages(again, 1)
    assert [each.order.client_order_id for each in event.order_events.events] == ["a"]
    again.cancel()


async def test_a_snapshot_holds_the_portfolios_orders_only(mesh: Mesh) -> None:
    for n in range(4):
        await mesh.orders.CreateOrder(limit(f"a-{n}", portfolio_id="other" if n % 2 else "trend"))
    call = stream(mesh, portfolio_id="other")
    (snapshot,) = await messages(call, 1)
    assert [order.client_order_id for order in snapshot.snapshot.orders] == ["a-1", "a-3"]
    call.cancel()


async def test_bad_tokens_and_unknown_environments_are_refused(mesh: Mesh) -> None:
    mesh.portfolios.known["elsewhere"] = "replay-9"
    await mesh.orders.CreateOrder(limit("a"))
    call = stream(mesh, environment_id=ENVIRONMENT)
    token = (await call.read()).resume_token
    call.cancel()
    for fields, code, reason in (
        ({"resume_token": "nonsense"}, StatusCode.INVALID_ARGUMENT, "RESUME_TOKEN_INVALID"),
        ({"resume_token": token}, StatusCode.INVALID_ARGUMENT, "RESUME_TOKEN_FILTER_MISMATCH"),
        (
            {"resume_token": token, "environment_id": ENVIRONMENT, "portfolio_id": "other"},
            StatusCode.INVALID_ARGUMENT,
            "RESUME_TOKEN_FILTER_MISMATCH",
        ),
        ({"environment_id": "nowhere"}, StatusCode.NOT_FOUND, "ENVIRONMENT_NOT_FOUND"),
        ({"exec_types": [99]}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"after_sequence": -1}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"max_delay": {"seconds": -1}}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"max_delay": {"seconds": 11}}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"after_sequence": 0, "resume_token": token}, StatusCode.INVALID_ARGUMENT, "INVALID_ARGUMENT"),
        ({"environment_id": ENVIRONMENT, "portfolio_id": "nobody"}, StatusCode.NOT_FOUND, "PORTFOLIO_NOT_FOUND"),
        ({"environment_id": ENVIRONMENT, "portfolio_id": "elsewhere"}, StatusCode.NOT_FOUND, "PORTFOLIO_NOT_FOUND"),
    ):
        error = await refused(stream(mesh, **fields).read())
        assert (error.code, error.reason) == (code, reason), fields


async def test_who_names_no_environment_means_marketdatas_default(mesh: Mesh) -> None:
    call = stream(mesh)
    assert (await call.read()).partition == ENVIRONMENT
    call.cancel()


async def test_a_cursor_beyond_the_last_event_is_reset_to_a_snapshot(mesh: Mesh) -> None:
    await mesh.orders.CreateOrder(limit("a"))
    call = stream(mesh, environment_id=ENVIRONMENT, after_sequence=50)
    reset, snapshot = await messages(call, 2)
    assert reset.reset.reason == stream_pb2.ResetReason.RESET_REASON_TOKEN_EXPIRED
    assert [order.client_order_id for order in snapshot.snapshot.orders] == ["a"]
    call.cancel()


async def test_a_stopping_service_says_that_the_stream_is_closed(mesh: Mesh) -> None:
    call = stream(mesh, environment_id=ENVIRONMENT)
    await messages(call, 1)
    stopping = asyncio.create_task(mesh.stop())
    (closed,) = await messages(call, 1)
    assert closed.closed.status.code == StatusCode.UNAVAILABLE.value[0]
    assert (await refused(call.read())).code is StatusCode.UNAVAILABLE
    await stopping


async def test_events_batch_and_all_subscribers_see_the_same(mesh: Mesh) -> None:
    calls = [stream(mesh, environment_id=ENVIRONMENT, after_sequence=0) for _ in range(5)]
    await asyncio.gather(*(mesh.orders.CreateOrder(limit(f"a-{n}", "1")) for n in range(200)))

    async def collect(call: AsyncIterator[Response]) -> tuple[list[order_pb2.OrderEvent], int]:
        events: list[order_pb2.OrderEvent] = []
        count = 0
        async for message in call:
            events += message.order_events.events
            count += 1
            if len(events) == 200:
                break
        return events, count

    told = await asyncio.gather(*(collect(call) for call in calls))
    assert all(events == told[0][0] for events, _ in told)
    assert told[0][1] < 150
    assert {event.exec_type for event in told[0][0]} == {NEW}
    for call in calls:
        call.cancel()
