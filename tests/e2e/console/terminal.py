"""The `tickmesh` command as people use it: its processes, what they say, and a data directory with ports of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

from services.chassis.catalog import SERVICES
from tests.ports import free_ports

# The machine may be doing other things; what is awaited here takes seconds on one that does not.
PATIENCE_SECONDS = 150


class Terminal:
    """A `tickmesh` command that runs, and what it has said."""

    def __init__(self, environment: dict[str, str], *arguments: str) -> None:
        command = [sys.executable, "-m", "services.console.main", *arguments]
        self.process = subprocess.Popen(
            command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        self.lines: list[str] = []
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        self.lines += []
        for line in self.process.stdout:
            self.lines.append(line.rstrip())

    def wait_for(self, pattern: str, after: int = 0) -> int:
        """The number of the first line from `after` on that holds the pattern."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            found = [number for number, line in enumerate(self.lines) if number >= after and re.search(pattern, line)]
            if found:
                return found[0]
            assert self.process.poll() is None, "\n".join(self.lines)
            assert time.monotonic() < deadline, f"no {pattern} in:\n" + "\n".join(self.lines[-40:])
            time.sleep(0.05)

    def stop(self) -> int:
        """Ctrl-C; the exit code."""
        self.process.send_signal(signal.SIGINT)
        code = self.process.wait(timeout=PATIENCE_SECONDS)
        self._reader.join(timeout=PATIENCE_SECONDS)
        return code


class Mesh:
    """A data directory with ports of its own."""

    def __init__(self, directory: Path) -> None:
        names = [*(f"{name.upper()}_ADDRESS" for name in SERVICES), "EDGE_ADDRESS", "EDGE_ADMIN_ADDRESS"]
        ports = free_ports(len(names))
        clean = {name: value for name, value in os.environ.items() if not name.startswith("TICKMESH_")}
        patient = {"TICKMESH_CALL_DEADLINE_SECONDS": str(PATIENCE_SECONDS)}
        self.environment = clean | patient | {"TICKMESH_DATA_DIRECTORY": str(directory)}
        self.environment |= {f"TICKMESH_{name}": f"127.0.0.1:{port}" for name, port in zip(names, ports, strict=True)}
        self.directory = directory
        self.edge = f"http://127.0.0.1:{ports[-2]}"

    def up(self, *arguments: str) -> Terminal:
        return Terminal(self.environment, "up", "--plain", *arguments)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "services.console.main", *arguments]
        return subprocess.run(
            command, env=self.environment, capture_output=True, text=True, timeout=PATIENCE_SECONDS, check=False
        )

    def pid(self, service: str) -> int:
        return int((self.directory / "run" / f"{service}.pid").read_text())

    def serving(self, pattern: str = "") -> str:
        """What `status` says once everything serves, and a line of it holds the pattern."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            said = self.run("status")
            if said.returncode == 0 and re.search(pattern, said.stdout, re.MULTILINE):
                return said.stdout
            assert time.monotonic() < deadline, said.stdout + said.stderr
            time.sleep(0.2)
