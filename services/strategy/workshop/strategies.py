"""Strategies: kinds with their parameters and symbols."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from services.chassis.details import FieldViolation
from services.chassis.errors import ApiError
from services.domain.deployment.parameters import BadParameter
from services.domain.strategy import Strategy
from services.strategy.records import Deployment, StrategyRecord, unused_id
from services.strategy.store import Store
from services.strategy.workshop.kinds import Kinds
from services.strategy.workshop.workbench import Workbench


@dataclass(frozen=True, slots=True)
class NewStrategy:
    """A strategy as it is asked for; what is left to the service is empty."""

    strategy_id: str
    display_name: str
    kind: str
    parameters: Mapping[str, str]
    symbols: tuple[str, ...]
    request_id: str
    principal: str


class Strategies:
    """All strategies. An id is taken at once, but nothing shows before it is stored.

    Attributes:
        kinds: the kinds there are.
        records: what is stored, by id, oldest first.
    """

    def __init__(self, store: Store, kinds: Kinds) -> None:
        self.kinds = kinds
        self.records: dict[str, StrategyRecord] = {}
        self._store = store
        self._claimed: dict[str, StrategyRecord] = {}
        self._requests: dict[str, str] = {}

    def recover(self, strategies: Iterable[StrategyRecord]) -> None:
        """Takes back what is stored; call once, before serving."""
        for strategy in strategies:
            self._claim(strategy)
            self.records[strategy.strategy_id] = strategy

    async def create(self, wanted: NewStrategy) -> StrategyRecord:
        """Creates a strategy; the same request again finds the same strategy.

        Raises:
            ApiError: NOT_FOUND `STRATEGY_KIND_NOT_FOUND`, INVALID_ARGUMENT `STRATEGY_PARAMETERS_INVALID`,
                ALREADY_EXISTS `ALREADY_EXISTS` or `REQUEST_ID_REUSED`.
        """
        if wanted.kind not in self.kinds:
            raise ApiError.not_found("strategy kind", wanted.kind, "STRATEGY_KIND_NOT_FOUND")
        parameters = await self._tried(wanted)
        found = self._existing(wanted, parameters)
        if found is not None:
            await self._store.writer.drain()
            return found
        number = len(self._claimed) + 1
        strategy_id = wanted.strategy_id or unused_id(wanted.kind, number, self._claimed)
        made = StrategyRecord(
            strategy_id=strategy_id,
            number=number,
            display_name=wanted.display_name or strategy_id,
            kind=wanted.kind,
            parameters=parameters,
            symbols=wanted.symbols,
            request_id=wanted.request_id,
            create_time=time.time_ns(),
            principal=wanted.principal,
            owner=wanted.principal,
        )
        self._claim(made)

        def then() -> None:
            self.records[strategy_id] = made

        await self._store.add_strategy(made, then)
        return made

    def find(self, strategy_id: str) -> StrategyRecord:
        """A strategy.

        Raises:
            ApiError: NOT_FOUND `STRATEGY_NOT_FOUND`.
        """
        found = self.records.get(strategy_id)
        if found is None:
            raise ApiError.not_found("strategy", strategy_id, "STRATEGY_NOT_FOUND")
        return found

    def make(self, deployment: Deployment) -> Strategy:
        """The strategy of a deployment, with no history.

        Raises:
            LookupError: its kind is not there any more.
            BadParameter: its parameters do not fit the kind any more.
        """
        strategy = self.records[deployment.strategy_id]
        if strategy.kind not in self.kinds:
            raise LookupError(f"there is no kind {strategy.kind} any more")
        return self.kinds.create(strategy.kind, strategy.parameters, strategy.symbols)

    async def _tried(self, wanted: NewStrategy) -> dict[str, str]:
        """Makes the strategy once, on a bench: code that does not return leaves only its caller waiting."""
        bench = Workbench(f"strategy:{wanted.kind}")
        try:
            return await bench.run(lambda: self._parameters(wanted))
        finally:
            bench.close()

    def _parameters(self, wanted: NewStrategy) -> dict[str, str]:
        """All parameters, of which the kind has made a strategy."""
        try:
            parameters = self.kinds.parameters(wanted.kind, wanted.parameters)
            self.kinds.create(wanted.kind, parameters, wanted.symbols)
        except BadParameter as error:
            field = f'parameters["{error.parameter}"]' if error.parameter else "parameters"
            violation = FieldViolation(field, error.problem, "STRATEGY_PARAMETERS_INVALID")
            raise ApiError.invalid_argument(
                str(error), "STRATEGY_PARAMETERS_INVALID", field_violations=[violation]
            ) from error
        except (Exception, SystemExit) as error:
            raise ApiError.invalid_field("parameters", repr(error), "STRATEGY_PARAMETERS_INVALID") from error
        return parameters

    def _existing(self, wanted: NewStrategy, parameters: Mapping[str, str]) -> StrategyRecord | None:
        """The strategy that this request made, or one of the same id and values."""
        first = self._requests.get(wanted.request_id)
        if first is not None:
            if wanted.strategy_id not in {"", first} or not _same(self._claimed[first], wanted, parameters):
                raise ApiError.already_exists(
                    "request", wanted.request_id, "REQUEST_ID_REUSED", metadata={"strategy_id": first}
                )
            return self._claimed[first]
        taken = self._claimed.get(wanted.strategy_id)
        if taken is not None and not _same(taken, wanted, parameters):
            raise ApiError.already_exists("strategy", wanted.strategy_id, "ALREADY_EXISTS")
        return taken

    def _claim(self, strategy: StrategyRecord) -> None:
        self._claimed[strategy.strategy_id] = strategy
        if strategy.request_id:
            self._requests[strategy.request_id] = strategy.strategy_id


def _same(found: StrategyRecord, wanted: NewStrategy, parameters: Mapping[str, str]) -> bool:
    values = (wanted.display_name or found.strategy_id, wanted.kind, parameters, wanted.symbols)
    return (found.display_name, found.kind, found.parameters, found.symbols) == values
