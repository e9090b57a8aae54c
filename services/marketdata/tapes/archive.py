"""The tapes of environments: cut from data sets, and kept in files by their digests."""

from __future__ import annotations

import logging

from services.chassis.errors import ApiError
from services.domain.tape import Tape
from services.marketdata.environment import Plan, Wanted, tape_lost
from services.marketdata.reference.instruments import Instruments
from services.marketdata.tapes.data_sets import DataSets
from services.marketdata.tapes.files import TapeFiles

_log = logging.getLogger(__name__)


class Archive:
    """Every tape. An environment keeps its own whatever becomes of the data set."""

    def __init__(self, files: TapeFiles, data_sets: DataSets, instruments: Instruments) -> None:
        self._files, self._data_sets, self._instruments = files, data_sets, instruments

    async def cut(self, wanted: Wanted, owner: str) -> Tape:
        """A new tape, which is not kept yet; instruments that are new with it are the owner's.

        Raises:
            ApiError: NOT_FOUND `DATA_SET_NOT_FOUND`; INVALID_ARGUMENT for symbols it does not have, or where nothing is
                left.
        """
        _, data_set = await self._data_sets.find(wanted.data_set_id)
        strangers = sorted(set(wanted.symbols) - set(data_set.symbols))
        if strangers:
            raise ApiError.invalid_field("symbols", f"the data set has no {strangers[0]}")
        await self._instruments.ensure(data_set.instruments, owner)
        return await self._data_sets.cut(wanted, self._instruments.all)

    async def keep(self, tape: Tape) -> str:
        """Keeps a tape; its digest."""
        return await self._files.save(tape)

    async def tape(self, plan: Plan) -> Tape:
        """A plan's tape; where its file is gone (another machine, the same database), it is cut again.

        Raises:
            ApiError: UNAVAILABLE `ENVIRONMENT_BLOCKED` where that makes no tape, or another one.
        """
        tape = await self._files.load(plan.tape_digest)
        if tape is not None:
            return tape
        _log.warning("cutting a tape again", extra={"environment_id": plan.environment_id})
        wanted = Wanted(plan.data_set_id, plan.symbols, plan.start_time, plan.end_time)
        try:
            tape = await self._data_sets.cut(wanted, self._instruments.all)
        except ApiError as error:
            raise tape_lost(plan) from error
        if tape.digest() != plan.tape_digest:
            raise tape_lost(plan)
        await self._files.save(tape)
        return tape
