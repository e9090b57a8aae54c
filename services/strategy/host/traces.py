"""The traces of a decision: each of its signals is one, from the tick that caused it."""

from __future__ import annotations

import time
from collections.abc import Iterable
from contextlib import ExitStack
from typing import NamedTuple

from services.chassis.telemetry import tracing
from services.domain.deployment.commands import CancelOrder, Command, NewOrder, NewOrderList, ReplaceOrder
from services.domain.deployment.context import Signal
from services.strategy.mapping import encode_signal
from services.strategy.records import Deployment, Made, SignalKey


class _Open(NamedTuple):
    signal: Signal
    traceparent: str
    client_order_ids: list[str]


class Traces:
    """The signals of one decision, each a trace of its own: the tick that caused it, and the signal, until it is done.

    Args:
        began: wall time at which the tick was known, ns.
    """

    def __init__(self, deployment: Deployment, began: int) -> None:
        self._deployment = deployment
        self._began = began
        self._open: dict[str, _Open] = {}
        self._spans = ExitStack()

    def __enter__(self) -> Traces:
        return self

    def __exit__(self, *error: object) -> None:
        self._spans.close()

    def add(self, signals: Iterable[Signal], commands: Iterable[Command]) -> None:
        """Takes in signals, and the commands that name them.

        Raises:
            TypeError, ValueError, AttributeError, LookupError: a signal is made of something else than it should.
        """
        for signal in signals:
            encode_signal(signal, self._deployment, (), 0, "")
            self._open[signal.signal_id] = _Open(signal, self._trace(signal), [])
        for command in commands:
            placed = command.orders if isinstance(command, NewOrderList) else (command,)
            for each in placed:
                if isinstance(each, NewOrder) and each.signal_id in self._open:
                    self._open[each.signal_id].client_order_ids.append(each.client_order_id)

    def traceparent(self, command: Command) -> str:
        """The trace that a command belongs to; a cancel or replacement to that of the first signal."""
        if isinstance(command, CancelOrder | ReplaceOrder):
            return next((each.traceparent for each in self._open.values()), "")
        found = self._open.get(command.signal_id)
        return found.traceparent if found is not None else ""

    def made(self) -> list[Made]:
        """The signals, encoded."""
        now, deployment = time.time_ns(), self._deployment
        return [
            Made(
                SignalKey(deployment.deployment_id, each.signal.symbol, each.signal.signal_id),
                encode_signal(each.signal, deployment, each.client_order_ids, now, each.traceparent),
            )
            for each in self._open.values()
        ]

    def _trace(self, signal: Signal) -> str:
        attributes: dict[str, str | int] = {
            "tickmesh.environment_id": self._deployment.environment_id,
            "tickmesh.symbol": signal.symbol,
            "tickmesh.tape_sequence": signal.tape_sequence,
        }
        with tracing.span_from("", "tick", attributes, start_time_ns=self._began):
            tick = tracing.current_traceparent()
        more: dict[str, str | int] = {
            "tickmesh.signal_id": signal.signal_id,
            "tickmesh.deployment_id": self._deployment.deployment_id,
        }
        self._spans.enter_context(tracing.span_from(tick, "signal", attributes | more))
        return tracing.current_traceparent()
