"""The whole mesh as real processes on their own ports, which tests may kill at any moment and which then come back."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc
from tickmesh.marketdata.v1.environment_service_pb2_grpc import EnvironmentServiceStub
from tickmesh.marketdata.v1.market_data_service_pb2_grpc import MarketDataServiceStub
from tickmesh.order.v1.order_explanation_service_pb2_grpc import OrderExplanationServiceStub
from tickmesh.order.v1.order_service_pb2_grpc import OrderServiceStub
from tickmesh.order.v1.venue_model_service_pb2_grpc import VenueModelServiceStub
from tickmesh.portfolio.v1.portfolio_service_pb2_grpc import PortfolioServiceStub
from tickmesh.risk.v1.risk_service_pb2_grpc import RiskServiceStub
from tickmesh.strategy.v1.strategy_service_pb2_grpc import StrategyServiceStub

from services.chassis.calls.channel import connect
from services.chassis.catalog import SERVICES
from services.chassis.errors import ApiError
from services.chassis.settings import ServiceSettings
from tests.nursery import Nursery
from tests.ports import free_ports

PROJECT = Path(__file__).resolve().parents[2]
NAMES = tuple(SERVICES)
# A repeat of the call is the answer to these (contract, "Idempotency").
PASSING = frozenset({grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED})
# A test that hangs is a failure: a service recovers within a second, five at once on a busy machine within some.
RECOVERY_SECONDS = 60.0


class Mesh:
    """Five services, and the edge where asked for, over one data directory; whoever dies is started again.

    Attributes:
        deaths: how often each was killed.
        failures: processes that ended otherwise than by a signal that was sent to them: none is right.
    """

    def __init__(self, folder: Path, nursery: Nursery | None = None, *, edge: bool = False, **settings: str) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.data.mkdir(parents=True, exist_ok=True)
        self.names = (*NAMES, "edge") if edge else NAMES
        self.deaths: Counter[str] = Counter()
        self.failures: list[str] = []
        self._nursery = nursery
        ports = iter(free_ports(len(NAMES) + 2))
        self.addresses = {name: f"127.0.0.1:{next(ports)}" for name in (*NAMES, "edge", "edge_admin")}
        self._environment = {
            **{name: value for name, value in os.environ.items() if not name.startswith("TICKMESH_")},
            **{f"TICKMESH_{name.upper()}_ADDRESS": address for name, address in self.addresses.items()},
            "TICKMESH_DATA_DIRECTORY": str(self.data),
            **{f"TICKMESH_{name.upper()}": value for name, value in settings.items()},
        }
        self._armed: dict[str, str] = {}
        self._deaths_when_armed: dict[str, int] = {}
        self._pids: dict[str, int] = {}
        self._held: set[str] = set()
        self._change = threading.Condition(threading.RLock())
        self._stopping = False

    # --- processes

    @property
    def settings(self) -> ServiceSettings:
        """What a client of this mesh needs to know."""
        addresses = {f"{name}_address": self.addresses[name] for name in NAMES}
        return ServiceSettings(data_directory=self.data, **addresses)  # type: ignore[arg-type]

    def start(self) -> None:
        """Starts everything that does not run."""
        with self._change:
            self._held.clear()
            for name in self.names:
                if name not in self._pids:
                    self._start(name)

    def kill(self, *names: str, hold: bool = False) -> set[str]:
        """`kill -9` at once of all that are named; returns when they are dead. `hold` keeps them so until `start`.

        Returns:
            Those of them that ran.
        """
        with self._change:
            if hold:
                self._held.update(names)
            before = {name: self._pids[name] for name in names if name in self._pids}
            for pid in before.values():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            gone = self._change.wait_for(
                lambda: all(self._pids.get(name) != pid for name, pid in before.items()), timeout=30
            )
        assert gone, f"{names} would not die"
        return set(before)

    @contextlib.contextmanager
    def stopped(self, name: str) -> Iterator[None]:
        """A service that does nothing meanwhile, as on a machine that has no time for it: by SIGSTOP and SIGCONT."""
        pid = self.pid(name)
        self._signal(pid, signal.SIGSTOP)
        try:
            yield
        finally:
            self._signal(pid, signal.SIGCONT)

    def arm(self, name: str, failpoints: str = "") -> None:
        """Sets a service's failpoints for its next lives, the next of which begins now. A `kill-once` is new again."""
        with self._change:
            self._armed[name] = failpoints
            # The life that ends below is not one that a point ended.
            self._deaths_when_armed[name] = self.deaths[name] + (name in self._pids)
            for marker in (self.data / "failpoints").glob(f"{name}.*"):
                marker.unlink()
        self.kill(name)
        self.start()

    def hit(self, point: str) -> bool:
        """Whether a `kill-once` was passed as often as it asked for, and the process died there."""
        name = point.partition(".")[0]
        died = self.deaths[name] > self._deaths_when_armed[name]
        return died and (self.data / "failpoints" / point).exists()

    def wait_for_hit(self, point: str, seconds: float) -> bool:
        """Waits until a `kill-once` has killed, but no longer than so many seconds."""
        deadline = time.monotonic() + seconds
        while not self.hit(point) and time.monotonic() < deadline:
            time.sleep(0.02)
        return self.hit(point)

    def pid(self, name: str) -> int:
        """The process id of a service; 0 while it has none."""
        with self._change:
            return self._pids.get(name, 0)

    def stop(self) -> None:
        """Kills what runs; for good."""
        with self._change:
            self._stopping = True
        self.kill(*self.names)

    def logs(self, lines: int = 12) -> str:
        """The last lines of every log, kept short."""
        parts = []
        for name in self.names:
            path = self._log(name)
            if path.exists():
                parts += [
                    f"--- {path}",
                    *(line[:400] for line in path.read_text(errors="replace").splitlines()[-lines:]),
                ]
        return "\n".join(parts)

    def _signal(self, pid: int, number: signal.Signals) -> None:
        """Signals a process of ours that has not ended."""
        with self._change, contextlib.suppress(ProcessLookupError):
            if pid in self._pids.values():
                os.kill(pid, number)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _start(self, name: str) -> None:
        environment = {**self._environment, "TICKMESH_FAILPOINTS": self._armed.get(name, "")}
        if self._nursery is not None and name in NAMES:
            self._pids[name] = self._nursery.start(
                f"services.{name}.main", environment, self._log(name), lambda code: self._died(name, code)
            )
            return
        module = f"services.{name}.main" if name in NAMES else "gateway"
        with self._log(name).open("ab") as log:
            child = subprocess.Popen(
                [sys.executable, "-m", module], cwd=PROJECT, env=environment, stdout=log, stderr=subprocess.STDOUT
            )
        self._pids[name] = child.pid
        threading.Thread(target=lambda: self._died(name, child.wait()), daemon=True).start()

    def _died(self, name: str, code: int) -> None:
        with self._change:
            self.deaths[name] += 1
            if code != -signal.SIGKILL and not self._stopping:
                self.failures.append(f"{name} ended with {code}")
            self._pids.pop(name, None)
            self._change.notify_all()
            if not self._stopping and name not in self._held:
                # One that cannot start must not be started a thousand times a second.
                if code != -signal.SIGKILL:
                    time.sleep(0.2)
                self._start(name)

    # --- how it stands

    async def serving(self, names: Iterable[str] = NAMES, seconds: float = RECOVERY_SECONDS) -> None:
        """Returns when all of these serve."""
        await asyncio.gather(*(self._serving(name, time.monotonic() + seconds) for name in names))

    async def _serving(self, name: str, deadline: float) -> None:
        async with connect(self.addresses[name]) as channel:
            stub: Any = health_pb2_grpc.HealthStub
            check = stub(channel).Check
            while True:
                with contextlib.suppress(ApiError):
                    answer = await check(health_pb2.HealthCheckRequest(), timeout=2.0, wait_for_ready=True)
                    if answer.status == health_pb2.HealthCheckResponse.SERVING:
                        return
                assert time.monotonic() < deadline, f"{name} does not serve\n{self.logs()}"
                await asyncio.sleep(0.05)

    @contextlib.asynccontextmanager
    async def clients(self) -> AsyncIterator[Clients]:
        """Stubs of every service."""
        async with contextlib.AsyncExitStack() as stack:
            channels = {name: await stack.enter_async_context(connect(self.addresses[name])) for name in NAMES}
            yield Clients(channels)


class Clients:
    """A client's stubs; nothing is repeated for it but by `repeated`."""

    def __init__(self, channels: Mapping[str, Any]) -> None:
        self.environments = EnvironmentServiceStub(channels["marketdata"])
        self.market = MarketDataServiceStub(channels["marketdata"])
        self.strategies = StrategyServiceStub(channels["strategy"])
        self.orders = OrderServiceStub(channels["order"])
        self.models = VenueModelServiceStub(channels["order"])
        self.explanations = OrderExplanationServiceStub(channels["order"])
        self.risk = RiskServiceStub(channels["risk"])
        self.portfolios = PortfolioServiceStub(channels["portfolio"])


async def repeated(
    call: Callable[..., Awaitable[Any]], request: Any, *, seconds: float = RECOVERY_SECONDS, each: float = 5.0
) -> Any:
    """A call that may be repeated, until it is answered: what a client does that saw a timeout or a broken connection.

    Args:
        each: seconds for one try.

    Raises:
        ApiError: any other answer than that somebody is not there.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            return await call(request, timeout=each)
        except ApiError as error:
            if error.code not in PASSING or time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
