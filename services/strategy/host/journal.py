"""What deployments have decided, as it is stored: with their signals, which are numbered and shown in that order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from services.chassis.streams.event_log import EventLog
from services.strategy.host.places import Place
from services.strategy.mapping import number_signal
from services.strategy.records import Made, Moment, Progress, SignalKey
from services.strategy.store import Store, Unit, signal_entry
from services.strategy.workshop.mind import Decision


class Journal:
    """Numbers signals when they take their place among what is to be stored; that is the order they are shown in."""

    def __init__(self, store: Store, log: EventLog[SignalKey]) -> None:
        self._store = store
        self._log = log
        self._heads: dict[str, int] = {}

    def recover(self, heads: Mapping[str, int]) -> None:
        """Takes back the last number of each environment; call once, before serving."""
        for environment_id, head in heads.items():
            self._heads[environment_id] = head
            self._log.recover(environment_id, head)

    def take(self, place: Place, moment: Moment, decision: Decision) -> asyncio.Future[None] | None:
        """Queues a decision to be stored; from then on it counts. None where nothing of it is to be stored."""

        def answered() -> None:
            if moment.cycle > place.cycle:
                place.cycle, place.tape_sequence = moment.cycle, moment.tape_sequence
            place.wake = decision.wake

        if decision.state is None:
            answered()
            return None
        count = place.progress.signal_count + len(decision.signals)
        progress = Progress(moment.cycle, moment.tape_sequence, moment.order_head, count, decision.state)
        unit, show = self.unit(place, progress, decision.signals)

        def then() -> None:
            show()
            answered()

        return self._store.writer.enqueue(unit, then)

    def unit(self, place: Place, progress: Progress, made: Sequence[Made]) -> tuple[Unit, Callable[[], None]]:
        """What stores a deployment's progress with its new signals, to be queued at once; and what shows it then."""
        environment_id = place.deployment.environment_id
        head = self._heads.get(environment_id, 0)
        numbered = [(n, each.key, number_signal(n, each.body)) for n, each in enumerate(made, head + 1)]
        self._heads[environment_id] = head + len(made)

        def show() -> None:
            place.progress = progress
            self._log.publish(environment_id, [signal_entry(*each) for each in numbered])

        return self._store.progress_unit(place.deployment, progress, numbered), show
