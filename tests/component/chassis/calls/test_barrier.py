"""A participant keeps its stream to the coordinator, whatever happens to either."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.protobuf.wrappers_pb2 import StringValue

from services.chassis.calls.barrier import Participant
from services.chassis.calls.channel import connect
from services.chassis.calls.server import Server
from services.chassis.settings import ServiceSettings

DECODE, ENCODE = StringValue.FromString, StringValue.SerializeToString


class Coordinator:
    """Hears participants out, and says what a test wants said."""

    def __init__(self) -> None:
        self.heard: asyncio.Queue[str] = asyncio.Queue()
        self.say: asyncio.Queue[str] = asyncio.Queue()

    async def Join(self, requests: AsyncIterator[StringValue], context: Any) -> AsyncIterator[StringValue]:
        async def hear() -> None:
            async for request in requests:
                self.heard.put_nowait(request.value)

        hearing = asyncio.create_task(hear())
        try:
            while True:
                yield StringValue(value=await self.say.get())
        finally:
            hearing.cancel()

    async def expect(self, *values: str) -> None:
        async with asyncio.timeout(30):
            assert [await self.heard.get() for _ in values] == list(values)


class Cycle:
    """A coordinator that can be started and stopped, and one participant of it."""

    def __init__(self, port: int) -> None:
        self.address = f"127.0.0.1:{port}"
        self.coordinator = Coordinator()
        self.server: Server | None = None
        self.running: dict[str, int] = {}
        self.most = 0
        self.slow = asyncio.Event()
        self.slow.set()
        self.fail = 0
        self.handled: list[str] = []
        channel = connect(self.address)
        self.channel = channel
        stub = channel.stream_stream("/toy.ReplayService/Join", ENCODE, DECODE)
        self.participant: Participant[StringValue, StringValue] = Participant(
            stub, self.hello, self.handle, key=lambda message: message.value.split(":")[0]
        )

    def hello(self) -> list[StringValue]:
        return [StringValue(value="hello")]

    async def handle(self, message: StringValue) -> StringValue | None:
        key = message.value.split(":")[0]
        self.running[key] = self.running.get(key, 0) + 1
        self.most = max(self.most, self.running[key])
        try:
            await self.slow.wait()
            await asyncio.sleep(0)
            if self.fail:
                self.fail -= 1
                raise OSError("disk")
            self.handled.append(message.value)
            return None if message.value.endswith("!") else StringValue(value=f"done {message.value}")
        finally:
            self.running[key] -= 1

    async def start(self) -> None:
        self.coordinator = Coordinator()
        self.server = Server(ServiceSettings(), address=self.address)
        method = grpc.stream_stream_rpc_method_handler(self.coordinator.Join, DECODE, ENCODE)
        self.server.add_registered_method_handlers("toy.ReplayService", {"Join": method})
        await self.server.start()

    async def stop(self) -> None:
        if self.server is not None:
            await self.server.stop(0)
            self.server = None


@pytest.fixture
async def cycle(port: int) -> AsyncIterator[Cycle]:
    cycle = Cycle(port)
    running = asyncio.create_task(cycle.participant.run())
    yield cycle
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await cycle.stop()
    await cycle.channel.close()


async def test_it_joins_whenever_the_coordinator_comes(cycle: Cycle) -> None:
    await asyncio.sleep(0.2)
    assert not cycle.participant.connected
    assert not await cycle.participant.send(StringValue(value="lost"))
    await cycle.start()
    await cycle.coordinator.expect("hello")
    async with asyncio.timeout(20):
        await cycle.participant.wait_connected()


async def test_it_answers_what_needs_an_answer_and_may_speak_unasked(cycle: Cycle) -> None:
    await cycle.start()
    await cycle.coordinator.expect("hello")
    for said in ("r1:1", "r1:2!", "r1:3"):
        cycle.coordinator.say.put_nowait(said)
    await cycle.coordinator.expect("done r1:1", "done r1:3")
    assert await cycle.participant.send(StringValue(value="by the way"))
    await cycle.coordinator.expect("by the way")


async def test_messages_of_one_environment_are_handled_one_by_one_and_others_do_not_wait(
    cycle: Cycle, eventually: Any
) -> None:
    await cycle.start()
    await cycle.coordinator.expect("hello")
    cycle.slow.clear()
    for n in range(20):
        cycle.coordinator.say.put_nowait(f"r1:{n}")
    cycle.coordinator.say.put_nowait("r2:0")
    await eventually(lambda: cycle.running.get("r2", 0) > 0)
    cycle.slow.set()
    heard = [await cycle.coordinator.heard.get() for _ in range(21)]
    assert [each for each in heard if "r1" in each] == [f"done r1:{n}" for n in range(20)]
    assert cycle.most == 1


async def test_after_a_break_it_announces_itself_and_answers_the_repeated_message(
    cycle: Cycle, eventually: Any
) -> None:
    await cycle.start()
    await cycle.coordinator.expect("hello")
    cycle.slow.clear()
    cycle.coordinator.say.put_nowait("r1:1")
    cycle.coordinator.say.put_nowait("r1:2")
    await eventually(lambda: cycle.running.get("r1", 0) > 0)
    await cycle.stop()
    await eventually(lambda: not cycle.participant.connected)
    await cycle.start()
    await cycle.coordinator.expect("hello")
    cycle.coordinator.say.put_nowait("r1:1")
    cycle.slow.set()
    await cycle.coordinator.expect("done r1:1")
    assert cycle.handled == ["r1:1", "r1:1"]
    assert cycle.coordinator.heard.empty()


async def test_a_message_that_could_not_be_handled_breaks_the_stream_until_it_can(cycle: Cycle) -> None:
    await cycle.start()
    cycle.fail = 1
    await cycle.coordinator.expect("hello")
    cycle.coordinator.say.put_nowait("r1:1")
    await cycle.coordinator.expect("hello")
    cycle.coordinator.say.put_nowait("r1:1")
    await cycle.coordinator.expect("done r1:1")
