"""Starts services as processes of their own within milliseconds: by fork, from a process that has imported them all.

A service started by `python -m services.<name>.main` takes 1.5 s of CPU, nearly all of it imports: too long where a
test kills five hundred of them. What is forked here has run nothing yet but imports, has its own port and its own
environment, and is killed like any other. Run as `python -m tests.nursery` it reads lines of JSON:

    {"module": "services.order.main", "environment": {...}, "log": "/…/order.log"}  ->  {"born": pid}
    (without a log it speaks on stderr, as the nursery does)
    (a child ended)                                                              ->  {"died": pid, "code": -9}

At the end of its input it kills what lives and ends.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import functools
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from services.chassis import failpoints
from services.chassis.calls.server import run
from services.chassis.catalog import SERVICES

PROJECT = Path(__file__).resolve().parents[1]
MODULES = [f"services.{name}.main" for name in SERVICES]
OnDeath = Callable[[int], None]


class Nursery:
    """The one who asks: bears services by fork; one for a whole run of tests."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery"], cwd=PROJECT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self._lock = threading.Lock()
        self._born: list[int] = []
        self._mourners: dict[int, OnDeath] = {}
        self._early: dict[int, int] = {}
        self._news = threading.Condition()
        self._hear()  # that it is ready
        threading.Thread(target=self._listen, daemon=True).start()

    def start(self, module: str, environment: Mapping[str, str], log: Path | None, on_death: OnDeath) -> int:
        """Starts a service; returns its process id. `on_death` gets its exit code, in a thread."""
        wanted = {"module": module, "environment": dict(environment), "log": str(log or "")}
        with self._lock:
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps(wanted).encode() + b"\n")
            self._process.stdin.flush()
            with self._news:
                assert self._news.wait_for(lambda: bool(self._born), timeout=30), "the nursery does not answer"
                pid = self._born.pop()
                self._mourners[pid] = on_death
                if pid in self._early:
                    self._mourn(pid, self._early.pop(pid))
        return pid

    def close(self) -> None:
        """Kills what still lives."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)

    def _hear(self) -> dict[str, int]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        heard: dict[str, int] = json.loads(line) if line else {}
        return heard

    def _listen(self) -> None:
        while heard := self._hear():
            with self._news:
                if "born" in heard:
                    self._born.append(heard["born"])
                    self._news.notify_all()
                elif heard["died"] in self._mourners:
                    self._mourn(heard["died"], heard["code"])
                else:
                    self._early[heard["died"]] = heard["code"]

    def _mourn(self, pid: int, code: int) -> None:
        # In a thread of its own: it may start the next one, and waits until the listening thread hears of that.
        threading.Thread(target=self._mourners.pop(pid), args=(code,), daemon=True).start()


@functools.cache
def nursery() -> Nursery:
    """The one of this process, made when it is first wanted."""
    made = Nursery()
    atexit.register(made.close)
    return made


class Child:
    """A service that was born, to be looked at and ended like a `subprocess.Popen`."""

    def __init__(self, module: str, environment: Mapping[str, str], log: Path | None = None) -> None:
        self.returncode: int | None = None
        self._dead = threading.Event()
        self.pid = nursery().start(module, environment, log, self._end)

    def poll(self) -> int | None:
        """The exit code; None while it lives."""
        return self.returncode

    def wait(self, timeout: float = 30.0) -> int:
        """The exit code, once it has ended."""
        if not self._dead.wait(timeout):
            raise TimeoutError(f"{self.pid} lives on")
        assert self.returncode is not None
        return self.returncode

    async def ended(self) -> int:
        """The exit code, once it has ended; whoever awaits it may be cancelled."""
        while self.returncode is None:  # noqa: ASYNC110 a thread tells of it
            await asyncio.sleep(0.01)
        return self.returncode

    def send_signal(self, number: int) -> None:
        """Signals it; nothing happens once it has ended."""
        if self.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def terminate(self) -> None:
        """Asks it to end."""
        self.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends it as `kill -9` does."""
        self.send_signal(signal.SIGKILL)

    def _end(self, code: int) -> None:
        self.returncode = code
        self._dead.set()


def main() -> None:
    """Serves until the end of its input."""
    for module in MODULES:
        importlib.import_module(module)
    gc.freeze()
    wakeup, alarm = socket.socketpair()
    wakeup.setblocking(False)
    alarm.setblocking(False)
    signal.set_wakeup_fd(alarm.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    children: set[int] = set()
    _say(ready=os.getpid())
    with selectors.DefaultSelector() as selector:
        selector.register(sys.stdin.fileno(), selectors.EVENT_READ)
        selector.register(wakeup, selectors.EVENT_READ)
        pending = b""
        while True:
            for key, _ in selector.select():
                if key.fileobj is wakeup:
                    wakeup.recv(4096)
                    _reap(children)
                    continue
                read = os.read(sys.stdin.fileno(), 65536)
                if not read:
                    _end(children)
                    return
                *lines, pending = (pending + read).split(b"\n")
                for line in lines:
                    pid = _bear(json.loads(line))
                    children.add(pid)
                    _say(born=pid)


def _bear(wanted: dict[str, Any]) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644) if wanted["log"] else os.dup(2)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for fd, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(fd, target)
        os.closerange(3, 256)
        os.environ.clear()
        os.environ.update(wanted["environment"])
        failpoints.arm(os.environ.get("TICKMESH_FAILPOINTS", ""))
        run(sys.modules[wanted["module"]].main)
        code = 0
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    finally:
        with contextlib.suppress(OSError):
            sys.stderr.flush()
        os._exit(code)


def _reap(children: set[int]) -> None:
    for pid in list(children):
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            children.discard(pid)
            _say(died=pid, code=os.waitstatus_to_exitcode(status))


def _end(children: set[int]) -> None:
    for pid in children:
        os.kill(pid, signal.SIGKILL)
    for pid in children:
        os.waitpid(pid, 0)


def _say(**words: int) -> None:
    os.write(1, json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    main()
