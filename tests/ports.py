"""Ports for what tests start."""

import contextlib
import os
import random
import socket

_FIRST, _LAST = 12_000, 32_000
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, below those that the kernel gives to outgoing connections.

    Of those one might be taken while a killed service is away, by a peer that dials it: by connecting to itself. What
    is given is used a moment later, so none is given twice, and workers that test side by side have each their own.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(_own(), 500):
            if len(found) == count:
                break
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                if port not in _given:
                    probe.bind(("127.0.0.1", port))
                    found.append(port)
    assert len(found) == count
    _given.update(found)
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]


def _own() -> range:
    """Those of this worker of the tests."""
    worker = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
    width = (_LAST - _FIRST) // int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
    return range(_FIRST + worker * width, _FIRST + (worker + 1) * width)
