"""The one way to serve gRPC: health, reflection, one wrapper around every handler, and a graceful end."""

from __future__ import annotations

import asyncio
import importlib
import logging
import os
import signal
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any, Final

import grpc
from google.protobuf import descriptor_pb2, descriptor_pool, text_format
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection, reflection_pb2

from services.chassis import catalog, deadline
from services.chassis.calls import handlers
from services.chassis.garbage import settle
from services.chassis.settings import ServiceSettings, unknown
from services.chassis.storage.ownership import EXIT_DATABASE_IN_USE, DatabaseInUseError
from services.chassis.telemetry import tracing

EXIT_FAILED: Final = 1
MAX_MESSAGE_BYTES: Final = 64 * 1024 * 1024
OPTIONS: Final = (
    ("grpc.max_receive_message_length", MAX_MESSAGE_BYTES),
    ("grpc.max_send_message_length", MAX_MESSAGE_BYTES),
    # Clients ping every 10 s (channel.py); gRPC's default of 5 min would answer a quiet one, after 40 s, with GOAWAY
    # too_many_pings. The option's name is not that of its C macro (…MIN_RECV_PING…): a wrong one is ignored silently.
    ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.keepalive_time_ms", 30_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    # A second process on the same port would silently take half of the calls.
    ("grpc.so_reuseport", 0),
)

_log = logging.getLogger(__name__)


class Server:
    """A grpc.aio server as every service runs it.

    Servicers are added by their generated `add_…_to_server`; each handler is wrapped once, at that moment.

    Attributes:
        draining: set when the process was asked to end; subscriptions send `closed` and return.
        port: the bound port, once started.
    """

    def __init__(self, settings: ServiceSettings, *, address: str | None = None) -> None:
        self.draining = asyncio.Event()
        self.port = 0
        self._settings = settings
        self._address = address or settings.address
        self._server = grpc.aio.server(options=OPTIONS)
        self._health = health.aio.HealthServicer()
        self._conversations = handlers.Conversations()
        self._names: list[str] = []
        self._tasks: set[asyncio.Task[Any]] = set()
        self._failure: BaseException | None = None
        self._failed = asyncio.Event()
        self._ending = asyncio.Lock()
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)

    def add(self, add_to_server: Callable[[Any, Any], None], servicer: object) -> None:
        """Adds a servicer: `server.add(add_OrderServiceServicer_to_server, OrderServicer(desk))`."""
        add_to_server(servicer, self)

    def add_generic_rpc_handlers(self, generic_rpc_handlers: Iterable[grpc.GenericRpcHandler]) -> None:
        """Called by older generated code; everything is taken from `add_registered_method_handlers`."""

    def add_registered_method_handlers(self, service_name: str, method_handlers: Mapping[str, Any]) -> None:
        """Called by the generated code."""
        wrapped = {
            name: handlers.wrap(service_name, name, each, self._conversations) for name, each in method_handlers.items()
        }
        self._server.add_registered_method_handlers(service_name, wrapped)
        self._server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler(service_name, wrapped)])
        self._names.append(service_name)

    def reflect(self, package: ModuleType | None = None, names: Sequence[str] = catalog.PUBLIC) -> None:
        """Lists all public services of the mesh by reflection, also those of other processes: Envoy can ask only one.

        Args:
            package: the generated package (`import tickmesh`); its `*_service_pb2` modules are imported, so that the
                pool of descriptors knows every service.
            names: full names of the services to list.
        """
        if package is not None:
            import_services(package)
        pool = descriptor_pool.Default()
        known = [name for name in names if _known(pool, name)]
        if missing := sorted(set(names) - set(known)):
            _log.warning("public services without descriptors are not reflected", extra={"services": missing})
        # v1 has v1alpha's messages under another name; the library serves v1alpha, newer clients ask for v1.
        versions = (reflection.SERVICE_NAME, _define_reflection_v1(pool))
        servicer = reflection.aio.ReflectionServicer([*known, health.SERVICE_NAME, *versions], _Methods(pool))
        method = grpc.stream_stream_rpc_method_handler(
            servicer.ServerReflectionInfo,
            reflection_pb2.ServerReflectionRequest.FromString,
            reflection_pb2.ServerReflectionResponse.SerializeToString,
        )
        for service in versions:
            handler = grpc.method_handlers_generic_handler(service, {"ServerReflectionInfo": method})
            self._server.add_generic_rpc_handlers([handler])

    def spawn(self, coroutine: Coroutine[Any, Any, None], name: str) -> asyncio.Task[None]:
        """Starts a task for the life of the server; if it fails, the server stops at once: `serve` raises its error."""
        task = deadline.detach(coroutine, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return task

    async def set_health(self, name: str, *, serving: bool) -> None:
        """Detailed health of a part (`risk-gate`), beside that of the services, which means: own store recovered."""
        status = health_pb2.HealthCheckResponse
        await self._health.set(name, status.SERVING if serving else status.NOT_SERVING)

    async def start(self) -> int:
        """Binds and serves; every added service and "" becomes SERVING. Returns the port."""
        self.port = self._server.add_insecure_port(self._address)
        await self._server.start()
        for name in ["", *self._names]:
            await self.set_health(name, serving=True)
        if strangers := unknown(self._settings, os.environ):
            message = "the environment names settings that there are not; 'tickmesh config' says which were meant"
            _log.warning(message, extra={"variables": strangers})
        _log.info("serving", extra={"address": self._address, "port": self.port, "services": self._names})
        return self.port

    async def stop(self, grace: float | None = None) -> None:
        """Drains: NOT_SERVING, no new calls, streams told to close, running calls given `grace` seconds.

        Once a spawned task has failed they are given none: they may wait for what will not happen any more, such as a
        commit. Streams of requests end as if their clients had ended them, then answer UNAVAILABLE.
        """
        await self._health.enter_graceful_shutdown()
        self.draining.set()
        self._conversations.end()
        await self._end(self._settings.drain_seconds if grace is None else grace)
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        _log.info("stopped")

    async def _end(self, grace: float) -> None:
        """Ends the server, one call of its `stop` at a time: of two one may use what the other has destroyed."""
        async with self._ending:
            if not self._failed.is_set():
                drained = asyncio.ensure_future(self._server.stop(grace))
                failed = asyncio.ensure_future(self._failed.wait())
                await asyncio.wait({drained, failed}, return_when=asyncio.FIRST_COMPLETED)
                failed.cancel()
                drained.cancel()
                await asyncio.wait({drained, failed})
            await self._server.stop(None)

    async def serve(self) -> None:
        """Starts, runs until SIGTERM or SIGINT (or the failure of a spawned task, which it raises), and drains."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.draining.set)
        try:
            await self.start()
            settle()
            await self.draining.wait()
        finally:
            await self.stop()
        if self._failure is not None:
            raise self._failure

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if task.cancelled() or (error := task.exception()) is None:
            return
        _log.critical("a task of the service failed", exc_info=error, extra={"task": task.get_name()})
        if self._failure is not None:
            return
        self._failure = error
        self._failed.set()
        self.draining.set()


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Runs a service's main coroutine; an error is logged as JSON and ends the process with code 1.

    A database that another process does not let go of ends it with 75.
    """
    try:
        asyncio.run(main())
    except DatabaseInUseError as error:
        _log.critical(str(error))
        raise SystemExit(EXIT_DATABASE_IN_USE) from None
    except Exception:  # noqa: BLE001 the last place that can log it
        _log.critical("the service failed", exc_info=True)
        raise SystemExit(EXIT_FAILED) from None
    finally:
        tracing.shutdown()


class _Methods:
    """A pool that finds methods too, as `grpcurl describe` asks for them: upb's finds only what holds them."""

    def __init__(self, pool: Any) -> None:
        self._pool = pool

    def __getattr__(self, name: str) -> Any:
        return getattr(self._pool, name)

    def FindFileContainingSymbol(self, symbol: str) -> Any:  # noqa: N802 the pool's own name
        try:
            return self._pool.FindFileContainingSymbol(symbol)
        except KeyError:
            service, _, method = symbol.rpartition(".")
            return self._pool.FindServiceByName(service).methods_by_name[method].containing_service.file


def import_services(package: ModuleType) -> None:
    """Imports every `*_service_pb2` of a generated package, which may be a namespace package."""
    for root in package.__path__:
        for path in sorted(Path(root).rglob("*_service_pb2.py")):
            relative = path.relative_to(root).with_suffix("")
            importlib.import_module(".".join([package.__name__, *relative.parts]))


def _define_reflection_v1(pool: Any) -> str:
    """Makes v1 known to the pool, as whoever finds it listed asks what it is; its name."""
    alpha = descriptor_pb2.FileDescriptorProto()
    reflection_pb2.DESCRIPTOR.CopyToProto(alpha)
    text = text_format.MessageToString(alpha).replace("v1alpha", "v1")
    pool.AddSerializedFile(text_format.Parse(text, descriptor_pb2.FileDescriptorProto()).SerializeToString())
    return reflection.SERVICE_NAME.replace("v1alpha", "v1")


def _known(pool: Any, name: str) -> bool:
    try:
        pool.FindServiceByName(name)
    except KeyError:
        return False
    return True
