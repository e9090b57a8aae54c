"""The small commands about processes: run one, read logs, show settings."""

from __future__ import annotations

import os
import sys
import time
from typing import IO, NoReturn

from services.console.layout import EDGE, PROGRAMS, Layout

FOLLOW_SECONDS = 0.2


def run(program: str) -> NoReturn:
    """Becomes one service, or the edge: the process id stays, so whoever started us watches the right one."""
    layout = Layout.from_environment()
    layout.prepare()
    layout.pid_of(program).write_text(f"{os.getpid()}\n")
    os.environ["TICKMESH_DATA_DIRECTORY"] = str(layout.directory)
    module = "gateway" if program == EDGE else f"services.{program}.main"
    os.execv(sys.executable, [sys.executable, "-P", "-m", module])  # noqa: S606 an argument list needs no shell


def logs(program: str | None, lines: int, *, follow: bool) -> int:
    """Prints the ends of logs, each line after the name of its process where there are several."""
    layout = Layout.from_environment()
    programs = PROGRAMS if program is None else (program,)
    width = max(map(len, programs)) if program is None else 0
    for name in programs:
        for line in layout.last_lines(name, lines):
            _print(name, line, width)
    if follow:
        _follow(layout, programs, width)
    return 0


def config() -> int:
    """Prints the settings in effect, as lines that a shell or an env file takes, and says which variables are none."""
    from services.console.settings import effective, unknown

    for title, listed in effective():
        print(f"# {title}")
        for each in listed:
            note = f"  # {each.description}" if each.description else ""
            print(f"{'' if each.given else '# '}{each.variable}={each.value}{note}")
        print()
    for variable, nearest in unknown(os.environ):
        meant = f"; did you mean {nearest}?" if nearest else ""
        sys.stderr.write(f"{variable}: there is no such setting{meant}\n")
    return 0


def _follow(layout: Layout, programs: tuple[str, ...], width: int) -> NoReturn:
    opened: dict[str, IO[str]] = {}
    at_end = {name for name in programs if layout.log(name).exists()}
    while True:
        for name in programs:
            file = _current(layout, name, opened)
            if file is None:
                continue
            if name in at_end:
                at_end.discard(name)
                file.seek(0, os.SEEK_END)
            while line := file.readline():
                _print(name, line.rstrip("\n"), width)
        sys.stdout.flush()
        time.sleep(FOLLOW_SECONDS)


def _current(layout: Layout, name: str, opened: dict[str, IO[str]]) -> IO[str] | None:
    """The log as it is now: after its rotation a new file has the name."""
    path, file = layout.log(name), opened.get(name)
    try:
        if file is None or os.fstat(file.fileno()).st_ino != path.stat().st_ino:
            rest = file.read() if file is not None else ""
            for line in rest.splitlines():
                _print(name, line, 0)
            opened[name] = file = path.open(encoding="utf-8", errors="replace")
    except OSError:
        return opened.get(name)
    return file


def _print(name: str, line: str, width: int) -> None:
    print(f"{name:<{width}}  {line}" if width else line)
