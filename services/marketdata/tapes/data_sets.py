"""What replays can be made of: the data sets of all providers, and the tapes cut from them."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace

from services.chassis.errors import ApiError
from services.domain.calendar import Sessions, UnknownTime
from services.domain.instrument import Instrument
from services.domain.tape import Tape
from services.marketdata.environment import Wanted
from services.marketdata.providers import DataSet, Provider
from services.marketdata.reference.sessions import Calendars
from services.marketdata.tapes.cutting import Cut, NoRecords, build

_log = logging.getLogger(__name__)


class DataSets:
    """Every data set. Reading runs in a thread, so that the mesh lives on meanwhile."""

    def __init__(self, providers: Sequence[Provider], calendars: Calendars) -> None:
        self._providers = providers
        self._calendars = calendars
        self._refused: dict[str, Counter[str]] = {}

    async def all(self) -> list[DataSet]:
        """By id; an earlier provider's wins. What a tape's making refused shows in the description."""
        found: dict[str, DataSet] = {}
        for provider in self._providers:
            for each in await self._of(provider):
                found.setdefault(each.data_set_id, self._told(each))
        return [found[name] for name in sorted(found)]

    async def find(self, data_set_id: str) -> tuple[Provider, DataSet]:
        """The data set and whose it is.

        Raises:
            ApiError: NOT_FOUND `DATA_SET_NOT_FOUND`.
        """
        for provider in self._providers:
            for each in await self._of(provider):
                if each.data_set_id == data_set_id:
                    return provider, each
        raise ApiError.not_found("data set", data_set_id, "DATA_SET_NOT_FOUND")

    async def cut(self, wanted: Wanted, instruments: Mapping[str, Instrument]) -> Tape:
        """A tape. Its bad records are refused, counted and logged.

        Raises:
            ApiError: NOT_FOUND; INVALID_ARGUMENT where nothing is left.
        """
        provider, data_set = await self.find(wanted.data_set_id)
        symbols = tuple(sorted(wanted.symbols or data_set.symbols))
        sessions = await self._known(provider)
        for name in sorted({instruments[symbol].calendar for symbol in symbols}):
            sessions[name] = (await self._calendars.get(name)).sessions
        cut = Cut(data_set, symbols, wanted.start_time, wanted.end_time)
        try:
            tape, refused = await asyncio.to_thread(build, provider, cut, dict(instruments), sessions)
        except NoRecords as error:
            raise ApiError.invalid_field("symbols", str(error)) from error
        except UnknownTime as error:
            raise ApiError.invalid_field("start_time", str(error)) from error
        self._refused[wanted.data_set_id] = refused
        if refused:
            extra = {"data_set_id": wanted.data_set_id, "refused": dict(refused)}
            _log.warning("bad records were refused", extra=extra)
        return tape

    def refused(self, data_set_id: str) -> Mapping[str, int]:
        """How many records were refused for which reason when it was last read."""
        return self._refused.get(data_set_id, Counter())

    async def _of(self, provider: Provider) -> Sequence[DataSet]:
        return await asyncio.to_thread(provider.data_sets, await self._known(provider))

    async def _known(self, provider: Provider) -> dict[str, Sessions]:
        """The sessions of the calendars it names; one that nobody knows must not hide its other data sets."""
        sessions: dict[str, Sessions] = {}
        for name in await asyncio.to_thread(provider.calendars):
            with suppress(ApiError):
                sessions[name] = (await self._calendars.get(name)).sessions
        return sessions

    def _told(self, data_set: DataSet) -> DataSet:
        refused = self._refused.get(data_set.data_set_id)
        if not refused:
            return data_set
        counts = ", ".join(f"{count} {reason}" for reason, count in sorted(refused.items()))
        return replace(data_set, description=f"{data_set.description} Refused records: {counts}.".strip())
