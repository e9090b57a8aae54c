"""Tapes kept as files named by their digest.

An environment goes on with exactly the tape it began with, whatever becomes of its data set.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import OrderedDict
from pathlib import Path
from typing import Final
from zipfile import BadZipFile

import numpy as np

from services.domain.tape import NO_LEVELS, Kind, Levels, Source, Tape

# Tapes of ended environments that somebody looks at; those of the others are held by their coordinators.
KEPT: Final = 4

_log = logging.getLogger(__name__)


class TapeFiles:
    """A folder of tapes by digest."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kept: OrderedDict[str, Tape] = OrderedDict()
        self._loading: dict[str, asyncio.Task[Tape | None]] = {}

    async def save(self, tape: Tape) -> str:
        """Stores a tape, durably, and gives its digest."""
        digest = await asyncio.to_thread(self._write, tape)
        self._keep(digest, tape)
        return digest

    async def load(self, digest: str) -> Tape | None:
        """A stored tape; None if it is gone or not whole."""
        tape = self._kept.get(digest)
        if tape is None:
            task = self._loading.get(digest)
            if task is None:
                task = self._loading[digest] = asyncio.create_task(asyncio.to_thread(self._read, digest))
                task.add_done_callback(lambda _: self._loading.pop(digest, None))
            tape = await asyncio.shield(task)
        if tape is not None:
            self._keep(digest, tape)
        return tape

    def _keep(self, digest: str, tape: Tape) -> None:
        self._kept[digest] = tape
        self._kept.move_to_end(digest)
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _write(self, tape: Tape) -> str:
        digest = tape.digest()
        path = self._path(digest)
        if path.exists() and self._read(digest) is not None:
            return digest
        self._folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.partial")
        table = np.array([(each.kind.value, each.symbol, each.interval) for each in tape.sources], "U64").reshape(-1, 3)
        with partial.open("wb") as out:
            columns = {"source": tape.source, "time": tape.time, "start": tape.start, "values": tape.values}
            levels = {"level_rows": tape.levels.rows, "levels": tape.levels.values}
            np.savez(out, sources=table, **columns, **levels)  # type: ignore[arg-type]
            out.flush()
            os.fsync(out.fileno())
        partial.replace(path)
        _sync_folder(self._folder)
        return digest

    def _read(self, digest: str) -> Tape | None:
        path = self._path(digest)
        try:
            with np.load(path, allow_pickle=False) as arrays:
                table = [
                    Source(Kind(int(kind)), symbol, interval) for kind, symbol, interval in arrays["sources"].tolist()
                ]
                columns = (arrays["source"], arrays["time"], arrays["start"], arrays["values"])
                levels = Levels(arrays["level_rows"], arrays["levels"]) if "levels" in arrays else NO_LEVELS
                tape = Tape(tuple(table), *columns, levels)
        except (OSError, ValueError, KeyError, EOFError, BadZipFile) as error:
            _log.warning("a tape's file cannot be read", extra={"path": str(path), "error": str(error)})
            return None
        return tape if tape.digest() == digest else None

    def _path(self, digest: str) -> Path:
        return self._folder / f"{digest}.npz"


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
