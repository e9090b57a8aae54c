"""What is given to one test is given to no other, in this process or in another."""

import subprocess
import sys

from tests.conftest import PROJECT
from tests.ports import free_ports

PROGRAM = """
import sys
from tests import ports
ports._PORTS = [int(port) for port in sys.argv[1:]]
print(*ports.free_ports(1))
"""


def others(*ports: int) -> subprocess.CompletedProcess[str]:
    """What another process is given, where there are only these."""
    command = [sys.executable, "-c", PROGRAM, *(str(port) for port in ports)]
    return subprocess.run(command, cwd=PROJECT, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_is_given_once_though_nobody_listens_on_it_yet() -> None:
    first = free_ports(3)
    assert len({*first, *free_ports(3)}) == 6
    assert "AssertionError" in others(*first).stderr
    # Given by a process that has ended, it can be given again.
    port = int(others(*range(12_000, 12_400)).stdout)
    assert int(others(port).stdout) == port
