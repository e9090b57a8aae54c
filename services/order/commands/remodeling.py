"""How venue models are set and taken away: for the orders that come after, and durable before they are answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from services.chassis.errors import ApiError
from services.domain.costs import Scope, VenueModel, VenueModels
from services.order.commands.answered import Answered
from services.order.model_mapping import Version, decode_model, model_id, version_from_proto, version_to_proto
from services.order.records import EnvironmentRow, ModelRow
from services.order.store import Store


@dataclass(slots=True, eq=False)
class Remodel(Answered[bytes]):
    """Somebody sets a model, or takes it away where there is none.

    Attributes:
        answer: the version that then is the last one, encoded.
        deadline: as every command's; nothing is waited for here.
    """

    scope: Scope
    model: VenueModel | None
    principal: str
    answer: asyncio.Future[bytes]
    deadline: float = 0.0


class Desk(Protocol):
    """What this needs of its desk."""

    row: EnvironmentRow

    async def objection_to(self, change: Remodel) -> ApiError | None:
        """Why nothing can be changed now."""
        ...


class Remodeling:
    """The models of one environment, and their versions.

    Attributes:
        models: those that hold.
    """

    def __init__(self, desk: Desk, store: Store) -> None:
        self.models = VenueModels()
        self._desk = desk
        self._store = store
        self._last: dict[Scope, Version] = {}
        self._sequence = 0

    async def restore(self) -> None:
        """Reads back what was set."""
        for payload in await self._store.venue_models(self._desk.row.environment_id):
            self._know(version_from_proto(decode_model(payload)))

    async def change(self, batch: Iterable[Remodel]) -> None:
        """Makes changes durable, one after the other, and answers them; one that changes nothing is answered too."""
        for remodel in batch:
            before, objection = self._last.get(remodel.scope), await self._desk.objection_to(remodel)
            if objection is not None:
                remodel.fail(objection)
                continue
            version = self._next(remodel, before)
            if version is None:
                name = model_id(self._desk.row.environment_id, remodel.scope)
                remodel.fail(ApiError.not_found("venue_model", name, "VENUE_MODEL_NOT_FOUND"))
                continue
            payload = version_to_proto(version).SerializeToString()
            if version is not before:
                row, name = self._desk.row, model_id(version.environment_id, version.scope)
                stored = ModelRow(row.environment_id, version.sequence, name, payload, remodel.principal, row.owner)
                await self._store.writer.commit(self._store.unit(row, models=[stored]))
                self._know(version)
            remodel.answer_with(payload)

    def _next(self, remodel: Remodel, before: Version | None) -> Version | None:
        """The version after the change; None where nothing can be taken away."""
        row, model = self._desk.row, remodel.model
        if model is None:
            if before is None or before.deleted:
                return before
        elif before is not None and not before.deleted and before.model == model:
            return before
        return Version(
            environment_id=row.environment_id,
            sequence=self._sequence + 1,
            scope=remodel.scope,
            model=before.model if model is None and before is not None else model or VenueModel(),
            deleted=model is None,
            number=1 if before is None else before.number + 1,
            tape_sequence=row.tape_sequence,
            order_count=row.order_count,
            update_time=time.time_ns(),
            principal=remodel.principal,
        )

    def _know(self, version: Version) -> None:
        self._sequence = version.sequence
        self._last[version.scope] = version
        self.models.put(version.scope, None if version.deleted else version.model)
