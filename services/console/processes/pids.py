"""Processes by their ids: from /proc where there is one, else as `ps` tells."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

_PROC: Final = Path("/proc")


def alive(pid: int) -> bool:
    """Whether it runs; one that has ended and that nobody has asked after (a zombie) does not."""
    if not pid:
        return False
    with suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        # Of somebody else's child only /proc tells; its state follows the name, which is in parentheses.
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (OSError, IndexError):
        return True


def kill(pid: int) -> None:
    """Ends it, whatever it is doing."""
    if alive(pid):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def command_line(pid: int) -> str:
    """Its words, separated by spaces; empty where it is gone."""
    if (_PROC / "self").exists():
        with suppress(OSError):
            return (_PROC / str(pid) / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        return ""
    # Twice wide: or it is cut at COLUMNS.
    return _ps("-ww", "-o", "args=", "-p", str(pid))


def environment(pid: int) -> dict[str, str] | None:
    """The variables that it was started with; None where nothing tells them."""
    try:
        words = (_PROC / str(pid) / "environ").read_bytes().split(b"\0")
    except OSError:
        return None
    return dict(os.fsdecode(word).split("=", 1) for word in words if b"=" in word)


def memory_bytes(pids: Sequence[int]) -> dict[int, int]:
    """Resident memory of processes; those that are gone are left out."""
    wanted = [str(pid) for pid in pids if pid]
    sizes: dict[int, int] = {}
    if (_PROC / "self").exists():
        page = os.sysconf("SC_PAGE_SIZE")
        for pid in wanted:
            with suppress(OSError, ValueError, IndexError):
                sizes[int(pid)] = int((_PROC / pid / "statm").read_text().split()[1]) * page
    elif wanted:
        for line in _ps("-o", "pid=,rss=", "-p", ",".join(wanted)).splitlines():
            pid, kilobytes = line.split()
            sizes[int(pid)] = int(kilobytes) * 1024
    return {pid: size for pid, size in sizes.items() if size}


def together_bytes(pids: Sequence[int]) -> int:
    """Memory that processes take together: pages that they share, libraries mostly, count once where that is known."""
    total = 0
    for pid, resident in memory_bytes(pids).items():
        share = resident
        with suppress(OSError, ValueError, IndexError):
            for line in (_PROC / str(pid) / "smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    share = int(line.split()[1]) * 1024
                    break
        total += share
    return total


def _ps(*arguments: str) -> str:
    return subprocess.run(["ps", *arguments], capture_output=True, text=True, check=False).stdout
