"""Ports for what tests start."""

import contextlib
import random
import socket


def free_ports(count: int) -> list[int]:
    """Ports of the loopback that are free now, below those that the kernel gives to outgoing connections.

    Of those one might be taken while a killed service is away, by a peer that dials it: by connecting to itself.
    """
    with contextlib.ExitStack() as stack:
        found: list[int] = []
        for port in random.SystemRandom().sample(range(12_000, 32_000), 500):
            if len(found) == count:
                break
            probe = stack.enter_context(socket.socket())
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                found.append(port)
    assert len(found) == count
    return found


def free_port() -> int:
    """One of them."""
    return free_ports(1)[0]
