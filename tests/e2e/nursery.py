"""Starts services as processes of their own within milliseconds: by fork, from a process that has imported them all.

A service started by `python -m services.<name>.main` takes 1.5 s of CPU, nearly all of it imports: too long where a
test kills five hundred of them. What is forked here has run nothing yet but imports, has its own port and its own
environment, and is killed like any other. Run as `python -m tests.e2e.nursery` it reads lines of JSON:

    {"module": "services.order.main", "environment": {...}, "log": "/…/order.log"}  ->  {"born": pid}
    (a child ended)                                                              ->  {"died": pid, "code": -9}

At the end of its input it kills what lives and ends.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import json
import os
import selectors
import signal
import socket
import sys
from typing import Any

from services.chassis import failpoints
from services.chassis.catalog import SERVICES
from services.chassis.server import run

MODULES = [f"services.{name}.main" for name in SERVICES]


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
        log = os.open(wanted["log"], os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
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
