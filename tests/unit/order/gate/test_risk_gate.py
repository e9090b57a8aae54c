"""The order service's end of risk's gate, on a stream made by hand."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from decimal import Decimal
from typing import Any

import grpc
import pytest
from tickmesh.order.v1 import order_pb2
from tickmesh.risk.v1 import risk_gate_service_pb2, risk_pb2

from services.order.gate.mapping import Guard, Kill
from services.order.gate.risk_gate import RiskGate, RiskUnavailable

Answer = risk_gate_service_pb2.CheckOrdersResponse


class Call:
    """One stream: what was written, and what is to be read."""

    def __init__(self) -> None:
        self.written: list[Any] = []
        self.answers: asyncio.Queue[Any] = asyncio.Queue()

    async def write(self, message: Any) -> None:
        self.written.append(message)

    async def read(self) -> Any:
        return await self.answers.get()

    def cancel(self) -> None:
        self.answers.put_nowait(grpc.aio.EOF)

    def tell(self, **answer: Any) -> None:
        self.answers.put_nowait(Answer(**answer))

    def ready(self) -> None:
        self.tell(ready=risk_gate_service_pb2.Ready())

    def verdict(self, batch_id: int) -> None:
        verdict = risk_gate_service_pb2.Verdict(
            order_id="o-1", reservation=order_pb2.Reservation(cash="1", quantity="1", headroom="1")
        )
        self.tell(verdicts=risk_gate_service_pb2.VerdictBatch(batch_id=batch_id, verdicts=[verdict]))


class Line:
    """A gate under test, and every stream it opened."""

    def __init__(self) -> None:
        self.calls: list[Call] = []
        self.kills: list[Kill] = []
        self.guards: list[tuple[list[Guard], bool]] = []
        self.epoch = 0
        self.head = 7
        self.told: list[int] = []
        self.gate = RiskGate("replay-1", self.open, self.begin, self.kills.append, self.guard)

    def guard(self, guards: Sequence[Guard], whole: bool) -> None:
        self.guards.append((list(guards), whole))

    def open(self) -> Call:
        self.calls.append(Call())
        return self.calls[-1]

    async def begin(self) -> Any:
        self.epoch += 1
        return self.epoch, lambda: self.head

    async def until(self, count: int) -> Call:
        async with asyncio.timeout(5):
            while len(self.calls) < count or not self.calls[-1].written:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return self.calls[-1]

    async def asked(self, call: Call, count: int) -> int:
        """Waits for the `count`-th batch; its id."""
        async with asyncio.timeout(5):
            while len(call.written) < count + 1:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return int(call.written[-1])

    def check(self, seconds: float = 5) -> "asyncio.Task[Any]":
        return asyncio.ensure_future(self.gate.check(self.batch, seconds))

    def batch(self, number: int, told: int) -> int:
        self.told.append(told)
        return number


@pytest.fixture
async def line() -> AsyncIterator[Line]:
    each = Line()
    running = asyncio.create_task(each.gate.run())
    yield each
    running.cancel()
    await asyncio.wait([running])
    assert running.cancelled()


async def test_each_connection_states_a_higher_epoch_and_the_head(line: Line) -> None:
    for epoch in (1, 2, 3):
        call = await line.until(epoch)
        connect = call.written[0].connect
        assert (connect.epoch, connect.order_head, connect.environment_id) == (epoch, 7, "replay-1")
        call.ready()
        call.cancel()


async def test_a_batch_is_made_of_what_was_committed_since_the_stream_was_told_last(line: Line) -> None:
    call = await line.until(1)
    call.ready()
    for n, head in enumerate((9, 9, 12), start=1):
        line.head = head
        checking = line.check()
        call.verdict(await line.asked(call, n))
        await checking
    assert line.told == [7, 9, 9]
    line.head = 20
    call.cancel()
    again = await line.until(2)
    assert again.written[0].connect.order_head == 20
    again.ready()
    line.head = 21
    checking = line.check()
    again.verdict(await line.asked(again, 1))
    await checking
    assert line.told[3:] == [20]


async def test_what_could_not_be_written_was_not_told(line: Line) -> None:
    call = await line.until(1)
    call.ready()
    line.head, write = 9, call.write

    async def fail(message: Any) -> None:
        call.write = write  # type: ignore[method-assign]
        raise asyncio.CancelledError

    call.write = fail  # type: ignore[method-assign]
    checking = line.check()
    call.verdict(await line.asked(call, 1))
    await checking
    assert line.told == [7, 7]


async def test_a_verdict_of_its_batch_is_handed_out(line: Line) -> None:
    call = await line.until(1)
    checking = line.check()
    call.ready()
    number = await line.asked(call, 1)
    call.verdict(number - 1)
    call.verdict(number)
    batch_id, verdicts, _, generation = await checking
    assert (batch_id, [each.order_id for each in verdicts]) == (number, ["o-1"])
    assert generation == line.gate.generation


async def test_a_stream_that_ends_is_asked_again_on_the_next(line: Line) -> None:
    first = await line.until(1)
    first.ready()
    checking = line.check()
    await line.asked(first, 1)
    first.cancel()
    second = await line.until(2)
    second.ready()
    second.verdict(await line.asked(second, 1))
    assert (await checking).verdicts


async def test_a_kill_switch_voids_what_was_said_before_it(line: Line) -> None:
    call = await line.until(1)
    call.ready()
    checking = line.check()
    number = await line.asked(call, 1)
    switch = risk_pb2.KillSwitch(engaged=True, scope=risk_pb2.KILL_SWITCH_SCOPE_PORTFOLIO, target_id="p")
    # Both wait to be read: the switch comes after the verdict, and before anybody could commit it.
    call.verdict(number)
    call.tell(kill_switch=switch)
    _, verdicts, _, generation = await checking
    assert verdicts
    assert generation != line.gate.generation
    assert [kill.scope.portfolio_id for kill in line.kills] == ["p"]


async def test_guards_come_whole_at_a_connection_then_one_by_one_and_void_nothing(line: Line) -> None:
    call = await line.until(1)
    guard = risk_gate_service_pb2.RunawayGuard(portfolio_id="p", bound="5")
    call.tell(ready=risk_gate_service_pb2.Ready(runaway_guards=[guard]))
    checking = line.check()
    number = await line.asked(call, 1)
    call.tell(runaway_guard=risk_gate_service_pb2.RunawayGuard(portfolio_id="p"))
    call.verdict(number)
    assert (await checking).generation == line.gate.generation
    assert line.guards == [([Guard("p", Decimal(5))], True), ([Guard("p", None)], False)]


async def test_a_switch_before_the_verdict_has_the_batch_asked_again(line: Line) -> None:
    call = await line.until(1)
    call.ready()
    checking = line.check()
    number = await line.asked(call, 1)
    call.tell(kill_switch=risk_pb2.KillSwitch(engaged=True, scope=risk_pb2.KILL_SWITCH_SCOPE_ENVIRONMENT))
    again = await line.asked(call, 2)
    assert again > number
    call.verdict(number)
    call.verdict(again)
    assert (await checking).generation == line.gate.generation


async def test_silence_is_given_up_and_the_stream_with_it(line: Line) -> None:
    call = await line.until(1)
    call.ready()
    with pytest.raises(RiskUnavailable):
        await line.check(0.1)
    assert not line.gate.ready or line.calls[-1] is not call
    await line.until(2)


async def test_without_a_connection_it_is_given_up_too(line: Line) -> None:
    await line.until(1)
    with pytest.raises(RiskUnavailable):
        await line.check(0.1)
