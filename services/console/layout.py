"""Where the console keeps what it needs between two commands: all of it in the data directory."""

from __future__ import annotations

import fcntl
import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from services.chassis.catalog import SERVICES

EDGE: Final = "edge"
PROGRAMS: Final = (*SERVICES, EDGE)
# What a Unix socket's path may take: 108 bytes on Linux, 104 on macOS, the closing zero among them.
LONGEST_SOCKET_PATH: Final = 103


class Trouble(Exception):
    """Something that the person at the terminal can mend; its text says what happened and what to do."""


@dataclass(frozen=True, slots=True)
class Layout:
    """The data directory, absolute."""

    directory: Path

    @classmethod
    def from_environment(cls) -> Layout:
        """Of `TICKMESH_DATA_DIRECTORY`; without the settings classes, whose import takes 0.4 s."""
        return cls(Path(os.environ.get("TICKMESH_DATA_DIRECTORY") or ".tickmesh").absolute())

    @property
    def configuration(self) -> Path:
        """The supervisor's."""
        return self.directory / "supervisord.conf"

    @property
    def pid_file(self) -> Path:
        """The supervisor's."""
        return self.directory / "supervisord.pid"

    @property
    def socket(self) -> Path:
        """Where the supervisor is spoken to."""
        path = self.directory / "supervisord.sock"
        if len(os.fsencode(path)) <= LONGEST_SOCKET_PATH:
            return path
        name = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:16]
        return Path(tempfile.gettempdir()) / f"tickmesh-{name}.sock"

    @property
    def logs(self) -> Path:
        """A folder with a file a process."""
        return self.directory / "logs"

    @property
    def drained(self) -> Path:
        """The replays that the last drain paused, and that the next start lets go on."""
        return self.directory / "drained.json"

    def log(self, program: str) -> Path:
        """The log of one process; `supervisord` is one too."""
        return self.logs / f"{program}.log"

    def pid_of(self, program: str) -> Path:
        """The process id of one process, also of one that outlived its supervisor."""
        return self.directory / "run" / f"{program}.pid"

    def prepare(self) -> None:
        """Makes the folders.

        Raises:
            Trouble: they cannot be made.
        """
        try:
            for folder in (self.directory, self.logs, self.directory / "run"):
                folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            message = f"The data directory {self.directory} cannot be made: {error.strerror}. "
            raise Trouble(message + "TICKMESH_DATA_DIRECTORY names another.") from error

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Lets one start or stop at a time happen in this directory."""
        with (self.directory / "console.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def last_lines(self, program: str, count: int = 15) -> list[str]:
        """The end of a log; nothing where there is none."""
        try:
            with self.log(program).open("rb") as log:
                log.seek(max(0, log.seek(0, os.SEEK_END) - 64 * 1024))
                return log.read().decode(errors="replace").splitlines()[-count:]
        except OSError:
            return []
