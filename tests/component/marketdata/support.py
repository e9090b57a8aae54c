"""The market-data service as a process of its own, and participants that speak the real protocol to it."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from google.protobuf.message import Message
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tickmesh.marketdata.v1 import environment_pb2, environment_service_pb2, replay_service_pb2
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.instrument_service_pb2_grpc import InstrumentServiceStub
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub
from tickmesh.marketdata.v1.replay_service_pb2_grpc import ReplayServiceStub
from tickmesh.marketdata.v1.tape_service_pb2_grpc import TapeServiceStub

from services.chassis.calls.barrier import Participant
from services.chassis.calls.channel import Channel, connect
from services.chassis.errors import ApiError
from tests.nursery import Child
from tests.ports import free_port

Wire = replay_service_pb2
Request = replay_service_pb2.JoinReplayRequest
State = environment_pb2.EnvironmentState
ENDED = (environment_pb2.ENVIRONMENT_STATE_COMPLETED, environment_pb2.ENVIRONMENT_STATE_STOPPED)


class Service:
    """One life after another of the service, on one data directory and one port."""

    def __init__(self, directory: Path, **settings: str) -> None:
        self.directory = directory
        self.address = f"127.0.0.1:{free_port()}"
        self.settings = settings
        self.process: Child | None = None

    def start(self) -> None:
        """Starts a life; it serves soon."""
        own = {"TICKMESH_DATA_DIRECTORY": str(self.directory), "TICKMESH_MARKETDATA_ADDRESS": self.address}
        self.process = Child("services.marketdata.main", os.environ | own | self.settings, self.directory / "log")

    def stop(self, number: int = signal.SIGTERM) -> int:
        """Ends the life; its exit code."""
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(20)

    def supervise(self) -> asyncio.Task[None]:
        """Starts a new life whenever one ends."""

        async def run() -> None:
            while True:
                await asyncio.sleep(0.02)
                if self.process is not None and self.process.poll() is not None:
                    self.start()

        return asyncio.get_running_loop().create_task(run())

    @property
    def log(self) -> str:
        """What it has said so far."""
        return (self.directory / "log").read_text()


@contextmanager
def running(directory: Path, **settings: str) -> Iterator[Service]:
    """The service for as long as the block lasts; `directory` may hold what an earlier life stored."""
    directory.mkdir(parents=True, exist_ok=True)
    service = Service(directory, **settings)
    service.start()
    try:
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop(signal.SIGKILL)


@dataclass
class Client:
    """Stubs on one channel."""

    channel: Channel
    environments: EnvironmentServiceStub = field(init=False)
    instruments: InstrumentServiceStub = field(init=False)
    prices: MarketDataServiceStub = field(init=False)
    replay: ReplayServiceStub = field(init=False)
    tapes: TapeServiceStub = field(init=False)

    def __post_init__(self) -> None:
        self.environments = EnvironmentServiceStub(self.channel)
        self.instruments = InstrumentServiceStub(self.channel)
        self.prices = MarketDataServiceStub(self.channel)
        self.replay = ReplayServiceStub(self.channel)
        self.tapes = TapeServiceStub(self.channel)

    async def serving(self) -> None:
        """Returns once the service serves."""
        stub = health_pb2_grpc.HealthStub(self.channel)
        async with asyncio.timeout(30):
            await stub.Check(health_pb2.HealthCheckRequest(), wait_for_ready=True, timeout=30)

    async def create(self, **values: Any) -> environment_pb2.Environment:
        """A replay, of `us-daily` unless another is named."""
        request = environment_service_pb2.CreateReplayRequest(**{"data_set_id": "us-daily", **values})
        return await self.environments.CreateReplay(request, timeout=30)

    async def get(self, environment_id: str) -> environment_pb2.Environment:
        """An environment as it stands."""
        request = environment_service_pb2.GetEnvironmentRequest(environment_id=environment_id)
        found: environment_pb2.Environment = await _through_kills(self.environments.GetEnvironment, request, 20)
        return found

    async def move(self, verb: str, environment_id: str, timeout: float = 20) -> environment_pb2.Environment:  # noqa: ASYNC109
        """`Start`, `Pause`, `Resume` or `Stop`."""
        request = getattr(environment_service_pb2, f"{verb}ReplayRequest")(environment_id=environment_id)
        call = getattr(self.environments, f"{verb}Replay")
        answer: environment_pb2.Environment = await _through_kills(call, request, timeout)
        return answer

    async def until(
        self, environment_id: str, holds: Callable[[environment_pb2.Environment], bool], seconds: float = 30
    ) -> environment_pb2.Environment:
        """Waits until something holds of the environment."""
        async with asyncio.timeout(seconds):
            while not holds(found := await self.get(environment_id)):  # noqa: ASYNC110 it is another process
                await asyncio.sleep(0.01)
            return found

    async def until_state(self, environment_id: str, *names: str, seconds: float = 30) -> environment_pb2.Environment:
        """Waits until it is in one of these states."""
        states = [State.Value(f"ENVIRONMENT_STATE_{name}") for name in names]
        return await self.until(environment_id, lambda each: each.state in states, seconds)


async def _through_kills(call: Any, request: Message, seconds: float) -> Any:
    """What every client may do with an idempotent call: repeat it when the connection broke."""
    while True:
        try:
            return await call(request, wait_for_ready=True, timeout=seconds)
        except ApiError as error:
            if error.reason != "SERVICE_UNAVAILABLE":
                raise


@asynccontextmanager
async def client_of(service: Service) -> AsyncIterator[Client]:
    """A client of the service, which serves."""
    async with connect(service.address) as channel:
        client = Client(channel)
        await client.serving()
        yield client


Answer = Callable[[Message], Awaitable[Request | None] | Request | None]


class Peer:
    """A participant: what it was told, and how it answers. It joins every environment it hears of.

    A dead peer's stream is gone; a new one begins with no memory, as a restarted process without a store.
    """

    def __init__(self, client: Client, role: int, name: str, only: set[str] | None = None) -> None:
        self.client = client
        self.role = role
        self.name = name
        self.only = only
        self.told: list[Any] = []
        self.joined: set[str] = set()
        self.holds: set[tuple[str, int]] = set()
        self.released = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def up(self) -> None:
        """Comes to life."""
        hello = Request(hello=Wire.Hello(role=self.role, participant=self.name))  # type: ignore[arg-type]

        def greet() -> list[Request]:
            self.joined.clear()
            return [hello, *self.joins()]

        participant: Participant[Any, Request] = Participant(
            self.client.replay.JoinReplay, greet, self._handle, key=_key, name=self.name
        )
        self._task = asyncio.create_task(participant.run())

    async def down(self) -> None:
        """Dies."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None

    def joins(self) -> list[Request]:
        """What to say after hello."""
        return []

    def heard(self, kind: str) -> list[Any]:
        """The messages of one kind so far."""
        return [getattr(each, kind) for each in self.told if each.WhichOneof("message") == kind]

    async def _handle(self, message: Any) -> Request | None:
        self.told.append(message)
        kind = message.WhichOneof("message")
        body = getattr(message, kind)
        if kind in {"grant", "fold", "decide"} and (kind, body.cycle) in self.holds:
            await self.released.wait()
        return self.answer(kind, body)

    def answer(self, kind: str, body: Any) -> Request | None:
        """The answer to a message."""
        if kind == "announced" and body.environment.state not in ENDED:
            environment_id = body.environment.environment_id
            if environment_id not in self.joined and (self.only is None or environment_id in self.only):
                self.joined.add(environment_id)
                return Request(join=self.join(environment_id))
        return None

    def join(self, environment_id: str) -> Wire.Join:
        """How it joins: nothing is remembered."""
        return Wire.Join(environment_id=environment_id)


def _key(message: Any) -> str:
    body = getattr(message, message.WhichOneof("message"))
    found = body.environment.environment_id if hasattr(body, "environment") else body.environment_id
    return str(found)


class VenuePeer(Peer):
    """A venue without orders: it reaches what it is granted; `stops` are positions at which it finds events."""

    def __init__(self, client: Client, only: set[str] | None = None, stops: tuple[int, ...] = ()) -> None:
        super().__init__(client, Wire.PARTICIPANT_ROLE_VENUE, "order", only)
        self.stops = stops
        self.at: dict[str, tuple[int, int, int]] = {}

    def join(self, environment_id: str) -> Wire.Join:
        cycle, position, _ = self.at.get(environment_id, (0, 0, 0))
        return Wire.Join(environment_id=environment_id, cycle=cycle, tape_sequence=position)

    def answer(self, kind: str, body: Any) -> Request | None:
        if kind != "grant":
            return super().answer(kind, body)
        cycle, position, head = self.at.get(body.environment_id, (-1, 0, 0))
        if body.cycle != cycle:
            stop = min([each for each in self.stops if position < each <= body.through], default=body.through)
            head += 1 if stop in self.stops and stop != position else 0
            cycle, position = body.cycle, stop
            self.at[body.environment_id] = (cycle, position, head)
        reached = Wire.Reached(environment_id=body.environment_id, cycle=cycle, tape_sequence=position, order_head=head)
        return Request(reached=reached)


class BooksPeer(Peer):
    """Books that post an entry for every order event."""

    def __init__(self, client: Client, name: str, only: set[str] | None = None) -> None:
        super().__init__(client, Wire.PARTICIPANT_ROLE_BOOKS, name, only)

    def answer(self, kind: str, body: Any) -> Request | None:
        if kind != "fold":
            return super().answer(kind, body)
        head = 2 * body.order_head if self.name == "portfolio" else 0
        return Request(applied=Wire.Applied(environment_id=body.environment_id, cycle=body.cycle, ledger_head=head))


class StrategyPeer(Peer):
    """A host of deployments that wait for bars of a symbol. What it has decided survives `down`, as if stored."""

    def __init__(self, client: Client, environment_id: str, *deployment_ids: str, symbol: str = "AAPL") -> None:
        super().__init__(client, Wire.PARTICIPANT_ROLE_STRATEGY, "strategy")
        self.environment_id = environment_id
        self.deployments = dict.fromkeys(deployment_ids, 0)
        self.symbol = symbol
        self.decided: list[tuple[int, int, tuple[str, ...]]] = []

    def joins(self) -> list[Request]:
        return [Request(join=seat(self.environment_id, each, cycle=cycle)) for each, cycle in self.deployments.items()]

    def wake(self) -> Wire.NextWake:
        """What it waits for."""
        return Wire.NextWake(bars=[Wire.BarKey(symbol=self.symbol, interval="1d")])

    def answer(self, kind: str, body: Any) -> Request | None:
        if kind != "decide":
            return None
        self.decided.append((body.cycle, body.tape_sequence, tuple(body.deployment_ids)))
        for each in body.deployment_ids:
            self.deployments[each] = body.cycle
        wakes = [Wire.DeploymentWake(deployment_id=each, next_wake=self.wake()) for each in body.deployment_ids]
        return Request(done=Wire.Done(environment_id=body.environment_id, cycle=body.cycle, wakes=wakes))

    async def leave(self, deployment_id: str, token: str = "") -> Any:
        """Says so on a stream of its own; answers what it is told, EOF for nothing."""
        call = self.client.replay.JoinReplay()
        await call.write(Request(hello=Wire.Hello(role=Wire.PARTICIPANT_ROLE_STRATEGY, participant="other")))
        leave = Wire.Leave(environment_id=self.environment_id, deployment_id=deployment_id)
        leave.seat_token = token or f"seat-of-{deployment_id}"
        await call.write(Request(leave=leave))
        await call.done_writing()
        return await call.read()


def seat(environment_id: str, deployment_id: str, token: str = "", **more: Any) -> Wire.Join:
    """How a deployment joins: with the token of its seat."""
    held = token or f"seat-of-{deployment_id}"
    return Wire.Join(environment_id=environment_id, deployment_id=deployment_id, seat_token=held, **more)


@dataclass
class Inner:
    """Venue and books."""

    venue: VenuePeer
    portfolio: BooksPeer
    risk: BooksPeer

    @property
    def all(self) -> tuple[Peer, ...]:
        return self.venue, self.portfolio, self.risk


@asynccontextmanager
async def inner_of(
    client: Client, *only: str, stops: tuple[int, ...] = (), held_grant: int | None = None
) -> AsyncIterator[Inner]:
    """Venue and books, of the environments named, which are primed when this goes on; or of all.

    The venue keeps the answer to `held_grant`, a cycle, until it is released.
    """
    named = set(only) or None
    inner = Inner(
        VenuePeer(client, named, stops), BooksPeer(client, "portfolio", named), BooksPeer(client, "risk", named)
    )
    if held_grant is not None:
        inner.venue.holds.add(("grant", held_grant))
    for peer in inner.all:
        peer.up()
    try:
        async with asyncio.timeout(20):
            primed = inner.risk.heard
            while not set(only) <= {each.environment_id for each in primed("fold")}:  # noqa: ASYNC110 another process
                await asyncio.sleep(0.005)
        yield inner
    finally:
        for peer in inner.all:
            await peer.down()


def copied(template: Path, target: Path) -> Path:
    """A data directory with what the template's life has stored (a compiled calendar, above all)."""
    shutil.copytree(template, target)
    return target
