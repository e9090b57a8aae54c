"""Ports for what tests start."""

import contextlib
import fcntl
import os
import random
import socket
import tempfile
from collections.abc import Sequence
from pathlib import Path

_PORTS: Sequence[int] = range(12_000, 32_000)
_given: set[int] = set()
# One byte a port, locked by the process that was given it for as long as it lives.
_leases = Path(tempfile.gettempdir(), f"tickmesh-ports-{os.getuid()}").open("ab")  # noqa: SIM115 as long as we live


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, below those that the kernel gives to outgoing connections.

    Of those one might be taken while a killed service is away, by a peer that dials it: by connecting to itself. What
    is given is used a moment later, so none is given twice: not here, nor to others that test on this machine.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(_PORTS, min(500, len(_PORTS))):
            if len(found) == count:
                break
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                if port not in _given:
                    fcntl.lockf(_leases, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
                    probe.bind(("127.0.0.1", port))
                    found.append(port)
    assert len(found) == count
    _given.update(found)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
