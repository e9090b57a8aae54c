"""The supervisor of the mesh's processes: its configuration, and how it is started, asked and stopped."""

from __future__ import annotations

import configparser
import http.client
import io
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from services.console.layout import EDGE, PROGRAMS, Layout, Trouble
from services.console.processes.pids import alive, command_line, kill

GROUP: Final = "mesh"
# A service that died comes back at once; one that dies within its first second waits a second more each time.
START_SECONDS: Final = 1
START_RETRIES: Final = 1000
# Past its own drain a service has only its database to close.
STOP_MARGIN_SECONDS: Final = 5
# Generous: a supervisor that is slow on a busy machine must not be taken for none.
ANSWER_SECONDS: Final = 30.0
COME_UP_SECONDS: Final = 60.0
LOG_BYTES: Final = "10MB"
LOG_BACKUPS: Final = 3
# On a machine of many cores numpy would start a pool of threads in each service, and the allocator an arena for each
# thread; the services use neither.
THRIFT: Final = {"OPENBLAS_NUM_THREADS": "1", "MALLOC_ARENA_MAX": "2"}


@dataclass(frozen=True, slots=True)
class Process:
    """One process as its supervisor sees it.

    Attributes:
        state: the supervisor's word: STARTING, RUNNING, BACKOFF (dies while starting), STOPPED, EXITED, FATAL.
        pid: 0 while there is none.
        uptime: seconds since it was started.
        restarts: how often it was started again since the supervisor began.
    """

    name: str
    state: str
    pid: int
    uptime: float
    restarts: int


def render(layout: Layout, drain_seconds: float) -> str:
    """The supervisor's configuration: the five services and the edge, restarted when they die.

    All are one group, since groups are stopped one after the other.
    """
    config = configparser.RawConfigParser()
    paths = {name: _literal(str(path)) for name, path in _paths(layout).items()}
    config["supervisord"] = {
        "logfile": paths["log"],
        "logfile_maxbytes": LOG_BYTES,
        "logfile_backups": "1",
        "pidfile": paths["pid"],
        "childlogdir": paths["logs"],
        "nodaemon": "true",
        "silent": "true",
        # Said, because a supervisor that finds itself root without it warns of that.
        **({"user": "root"} if os.geteuid() == 0 else {}),
    }
    config["unix_http_server"] = {"file": paths["socket"], "chmod": "0700"}
    config["rpcinterface:supervisor"] = {
        "supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"
    }
    config[f"group:{GROUP}"] = {"programs": ",".join(PROGRAMS)}
    for name in PROGRAMS:
        config[f"program:{name}"] = {
            "command": _literal(shlex.join(command(name))),
            # Relative paths in settings mean the folder that `tickmesh up` was called in.
            "directory": _literal(str(Path.cwd())),
            "autorestart": "true",
            "startsecs": str(START_SECONDS),
            "startretries": str(START_RETRIES),
            "stopsignal": "TERM",
            "stopwaitsecs": str(int(drain_seconds) + STOP_MARGIN_SECONDS),
            "redirect_stderr": "true",
            "stdout_logfile": _literal(str(layout.log(name))),
            "stdout_logfile_maxbytes": LOG_BYTES,
            "stdout_logfile_backups": str(LOG_BACKUPS),
        }
    out = io.StringIO()
    config.write(out)
    return out.getvalue()


def command(program: str) -> list[str]:
    """What starts one process; `-P` so that the folder it is started in adds no modules."""
    return [sys.executable, "-P", "-m", "services.console.main", "run", program]


class Supervisor:
    """The supervisor of one data directory."""

    def __init__(self, layout: Layout) -> None:
        self._layout = layout

    @property
    def running(self) -> bool:
        """Whether it answers."""
        return self._ask("getState") is not None

    @property
    def pid(self) -> int:
        """Its process id; 0 where it does not run."""
        answer = self._ask("getPID")
        return int(answer) if answer else 0

    def start(self, drain_seconds: float) -> None:
        """Starts it, and it the mesh; both go on when this process ends.

        Raises:
            Trouble: it did not come up.
        """
        layout = self._layout
        layout.configuration.write_text(render(layout, drain_seconds), encoding="utf-8")
        environment = THRIFT | os.environ | {"TICKMESH_DATA_DIRECTORY": str(layout.directory)}
        # Its own words go to its log; what it says before it has one is kept beside that.
        with layout.log("supervisord-start").open("wb") as output:
            child = subprocess.Popen(
                [sys.executable, "-P", "-m", "supervisor.supervisord", "-n", "-c", str(layout.configuration)],
                cwd=layout.directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        deadline = time.monotonic() + COME_UP_SECONDS
        while not self.running:
            if child.poll() is not None or time.monotonic() > deadline:
                child.kill()
                lines = layout.last_lines("supervisord-start") or layout.last_lines("supervisord")
                raise Trouble("\n".join(["The supervisor did not start:", *lines]))
            time.sleep(0.02)

    def processes(self) -> list[Process]:
        """Every process in the order of the catalog; nothing where the supervisor does not run."""
        found = {each["name"]: each for each in self._ask("getAllProcessInfo") or []}
        starts = self._starts()
        return [
            Process(
                name=name,
                state=info["statename"],
                pid=info["pid"],
                uptime=float(info["now"] - info["start"]) if info["pid"] else 0.0,
                restarts=max(0, starts[name] - 1),
            )
            for name in PROGRAMS
            if (info := found.get(name))
        ]

    def stop(self, drain_seconds: float) -> None:
        """Stops every process, gracefully, and the supervisor; returns when nothing is left."""
        pid = self.pid
        if self._ask("shutdown") is not None:
            deadline = time.monotonic() + drain_seconds + STOP_MARGIN_SECONDS + 5
            while self.running or alive(pid):
                if time.monotonic() > deadline:
                    kill(pid)
                    break
                time.sleep(0.02)
        for name in PROGRAMS:
            self._stop_leftover(name)
            # What no process has any more would later name a stranger's.
            self._layout.pid_of(name).unlink(missing_ok=True)

    def leftovers(self) -> list[tuple[str, int]]:
        """Processes of this directory, with their ids, that run though no supervisor does."""
        if self.running:
            return []
        return [(name, pid) for name in PROGRAMS if (pid := self._left(name))]

    def _stop_leftover(self, name: str) -> None:
        pid = self._left(name)
        if not pid:
            return
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_MARGIN_SECONDS
        while alive(pid) and time.monotonic() < deadline:
            time.sleep(0.02)
        kill(pid)

    def _left(self, name: str) -> int:
        """The process that wrote its id when it was started, if it still is that one; 0 if not."""
        try:
            pid = int(self._layout.pid_of(name).read_text())
        except (OSError, ValueError):
            return 0
        # Ids are used again: it must still look like what was started.
        words = "envoy" if name == EDGE else f"services.{name}.main"
        return pid if words in command_line(pid) else 0

    def _starts(self) -> Counter[str]:
        """How often each process was started since the supervisor began, which only its log says."""
        starts: Counter[str] = Counter()
        with suppress(OSError), self._layout.log("supervisord").open(encoding="utf-8", errors="replace") as log:
            for line in log:
                if "supervisord started with pid" in line:
                    starts.clear()
                elif "spawned: '" in line:
                    starts[line.split("'")[1]] += 1
        return starts

    def _ask(self, method: str) -> Any:
        """An answer of the supervisor; None where it does not run."""
        try:
            transport = _UnixTransport(str(self._layout.socket))
            with xmlrpc.client.ServerProxy("http://supervisor", transport=transport) as proxy:
                return getattr(proxy.supervisor, method)()
        except (OSError, http.client.HTTPException):
            return None
        except xmlrpc.client.Fault:
            # It is about to end, and answers nothing but that.
            return None


class _UnixTransport(xmlrpc.client.Transport):
    def __init__(self, path: str) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("supervisor", timeout=ANSWER_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


def _paths(layout: Layout) -> dict[str, Any]:
    log = layout.log("supervisord")
    return {"log": log, "pid": layout.pid_file, "logs": layout.logs, "socket": layout.socket}


def _literal(text: str) -> str:
    """The supervisor expands `%(name)s` in every value."""
    return text.replace("%", "%%")
