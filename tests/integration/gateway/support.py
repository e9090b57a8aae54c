"""A real Envoy on ephemeral ports before a real gRPC server."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from gateway.render import command, write
from gateway.settings import EdgeSettings
from services.chassis import catalog

BACKEND = Path(__file__).with_name("backend.py")
CLOSED = "127.0.0.1:9"  # The port of `discard`, which nobody serves.
ORDER = {
    "client_order_id": "first-1",
    "portfolio_id": "trend",
    "symbol": "AAPL",
    "side": "SIDE_BUY",
    "order_type": "ORDER_TYPE_MARKET",
    "time_in_force": "TIME_IN_FORCE_DAY",
    "quantity": "10",
}


class Backend:
    """The server process; `start` again after its end keeps the port."""

    def __init__(self, port: int = 0) -> None:
        self.port = port
        self.start()

    def start(self) -> None:
        environment = {**os.environ, "TICKMESH_ORDER_ADDRESS": f"127.0.0.1:{self.port}"}
        self.process = subprocess.Popen(
            [sys.executable, str(BACKEND)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@dataclass
class Edge:
    """A running edge."""

    process: subprocess.Popen[bytes]
    folder: Path
    address: str
    admin: str
    settings: EdgeSettings

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    def client(self, **more: Any) -> httpx.Client:
        return httpx.Client(base_url=self.url, timeout=20, **more)

    def log(self, wanted: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """The first line of the access log that fits; lines come within a second or so."""
        for _ in range(50):
            for line in (self.folder / "access.log").read_text().splitlines():
                if wanted(entry := json.loads(line)):
                    return entry
            time.sleep(0.1)
        raise AssertionError("no such line in the access log")

    def again(self) -> "Edge":
        """A new process with the same settings, after `stop`."""
        own = {"edge_address", "edge_admin_address", "data_directory"}
        return start_edge(self.folder, **self.settings.model_dump(exclude=own))

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait(10)


def start_edge(folder: Path, edit: Callable[[str], str] = str, **settings: Any) -> Edge:
    """Starts Envoy; every service is at CLOSED unless told otherwise. `edit` may change the configuration."""
    addresses = {f"{name}_address": CLOSED for name in catalog.SERVICES}
    edge_addresses = {"edge_address": "127.0.0.1:0", "edge_admin_address": "127.0.0.1:0"}
    whole = EdgeSettings(**{**addresses, **edge_addresses, "data_directory": folder, **settings})
    configuration = write(whole)
    configuration.write_text(edit(configuration.read_text()))
    at = folder / "admin"
    at.unlink(missing_ok=True)
    with (folder / "access.log").open("ab") as output, (folder / "envoy.log").open("ab") as log:
        arguments = [*command(configuration), "--admin-address-path", str(at)]
        process = subprocess.Popen(arguments, stdout=output, stderr=log)
    admin = _eventually(process, folder, lambda: at.read_text().strip())
    listeners = _eventually(process, folder, lambda: _listeners(admin))
    for name in catalog.SERVICES:
        if getattr(whole, f"{name}_address") != CLOSED:
            _eventually(process, folder, lambda name=name: _serves(listeners[0], name))
    return Edge(process, folder, listeners[0], admin, whole)


def _serves(address: str, service: str) -> bool:
    """Whether the edge has seen the service serve: until then it answers for it that it is away."""
    return httpx.get(f"http://{address}/healthz/{service}").status_code == 200


def _listeners(admin: str) -> list[str]:
    found = httpx.get(f"http://{admin}/listeners?format=json").json()["listener_statuses"]
    sockets = [each["local_address"]["socket_address"] for each in found]
    return [f"{each['address']}:{each['port_value']}" for each in sockets]


def _eventually(process: "subprocess.Popen[bytes]", folder: Path, ask: Callable[[], Any]) -> Any:
    for _ in range(200):
        if process.poll() is not None:
            break
        try:
            if answer := ask():
                return answer
        except (OSError, httpx.HTTPError, KeyError):
            pass
        time.sleep(0.05)
    raise AssertionError(f"Envoy did not start: {(folder / 'envoy.log').read_text()[-2000:]}")
