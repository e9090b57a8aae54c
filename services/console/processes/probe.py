"""Whether the mesh's processes serve, and whether their addresses are free."""

from __future__ import annotations

import asyncio
import http.client
import socket
from typing import Final, Protocol

from gateway.settings import EdgeSettings
from services.chassis.catalog import SERVICES
from services.console.layout import EDGE

EDGE_SECONDS: Final = 1.0


class Health(Protocol):
    """What asks one service."""

    async def serving(self, service: str) -> bool:
        """Whether it says that it serves."""


async def serving(mesh: Health, settings: EdgeSettings) -> dict[str, bool]:
    """Every process by name, asked at once; each answers within about a second."""
    answers = await asyncio.gather(
        *(mesh.serving(name) for name in SERVICES), asyncio.to_thread(edge_answers, settings.edge_address)
    )
    return dict(zip((*SERVICES, EDGE), answers, strict=True))


def edge_answers(address: str) -> bool:
    """Whether the edge answers at all: what it stands before has its own health."""
    host, _, port = address.rpartition(":")
    connection = http.client.HTTPConnection(host, int(port), timeout=EDGE_SECONDS)
    try:
        connection.request("GET", "/")
        return connection.getresponse().status < http.client.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def addresses(settings: EdgeSettings) -> dict[str, str]:
    """The variable that sets each address, and the address."""
    names = [*(f"{name}_address" for name in SERVICES), "edge_address", "edge_admin_address"]
    return {f"TICKMESH_{name}".upper(): str(getattr(settings, name)) for name in names}


def taken(address: str) -> bool:
    """Whether something else listens there. Only `host:port` can be told."""
    host, _, port = address.removeprefix("dns:///").rpartition(":")
    if address.startswith("unix:") or not port.isdigit():
        return False
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        # As servers do: connections of an earlier life that still fade away do not count.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host.strip("[]"), int(port)))
        except OSError:
            return True
    return False
