"""What can be traded; the same in every environment."""

from __future__ import annotations

import asyncio
import time
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Protocol

from services.chassis.deadline import detach
from services.chassis.errors import ApiError
from services.domain.instrument import Instrument
from services.marketdata.reference.sessions import Calendars


class InstrumentStore(Protocol):
    """Where instruments are kept."""

    async def instruments(self) -> list[tuple[Instrument, int]]:
        """Every instrument and when it was created, ns."""

    async def add_instruments(self, made: Iterable[tuple[Instrument, int]], principal: str) -> None:
        """Stores new ones."""


class Instruments:
    """Every instrument, in memory; the store is behind it."""

    def __init__(self, store: InstrumentStore, calendars: Calendars) -> None:
        self._store = store
        self._calendars = calendars
        self._known: dict[str, Instrument] = {}
        self._created: dict[str, int] = {}
        self._creating = asyncio.Lock()

    @property
    def all(self) -> Mapping[str, Instrument]:
        """By symbol."""
        return self._known

    async def recover(self) -> None:
        """Reads what is stored."""
        for instrument, create_time in await self._store.instruments():
            self._known[instrument.symbol], self._created[instrument.symbol] = instrument, create_time

    def create_time(self, symbol: str) -> int:
        """When it was created, ns."""
        return self._created[symbol]

    def get(self, symbol: str) -> Instrument:
        """One instrument.

        Raises:
            ApiError: NOT_FOUND `INSTRUMENT_NOT_FOUND`.
        """
        found = self._known.get(symbol)
        if found is None:
            raise ApiError.not_found("instrument", symbol, "INSTRUMENT_NOT_FOUND")
        return found

    def page(self, after: str, size: int) -> Sequence[Instrument]:
        """Up to ``size`` instruments by symbol, after a symbol."""
        symbols = sorted(self._known)
        first = bisect_right(symbols, after) if after else 0
        return [self._known[symbol] for symbol in symbols[first : first + size]]

    async def create(self, wanted: Instrument, principal: str) -> Instrument:
        """A new instrument, or the same one again.

        Raises:
            ApiError: ALREADY_EXISTS when the symbol is another instrument's, INVALID_ARGUMENT for a calendar that
                nobody knows.
        """
        known = self._known.get(wanted.symbol)
        if known is None:
            try:
                await self._calendars.get(wanted.calendar)
            except ApiError as error:
                raise ApiError.invalid_field("instrument.calendar", "is no calendar that is known") from error
            known = (await self.ensure([wanted], principal))[0]
        if known != wanted:
            raise ApiError.already_exists("instrument", wanted.symbol, "ALREADY_EXISTS")
        return known

    async def ensure(self, wanted: Iterable[Instrument], principal: str) -> list[Instrument]:
        """Creates those whose symbol is free; answers what there is, in the order asked."""
        # What is stored must be known here, whether or not the caller still waits.
        return await asyncio.shield(detach(self._ensure(list(wanted), principal), name="instruments"))

    async def _ensure(self, wanted: list[Instrument], principal: str) -> list[Instrument]:
        async with self._creating:
            now = time.time_ns()
            made = [(replace(each), now) for each in wanted if each.symbol not in self._known]
            if made:
                await self._store.add_instruments(made, principal)
            for instrument, create_time in made:
                self._known[instrument.symbol], self._created[instrument.symbol] = instrument, create_time
        return [self._known[each.symbol] for each in wanted]
