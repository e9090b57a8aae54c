"""A demonstration is made once, whoever asks how often and wherever it was broken off."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import pytest

from services.chassis.errors import ApiError
from services.console.demonstration import DISPLAY_NAME, current, ensure, number_of, portfolio_id
from services.console.records import Deployment, Replay, Strategy
from services.console.scenario import DEMONSTRATION


def replay(environment_id: str, state: str = "CREATED", *, at: int = 10, name: str = DISPLAY_NAME) -> Replay:
    return Replay(environment_id, name, state, (), "us-daily", DEMONSTRATION.symbols, 10, 100, at, 0, 0)


class Killed(Exception):
    """The console is gone in the middle of its work."""


@dataclass
class FakeMesh:
    """Keeps what was made, refuses what is there already, and can be cut off after some calls."""

    made: list[Replay] = field(default_factory=list)
    portfolios: dict[str, tuple[str, Decimal]] = field(default_factory=dict)
    strategies: dict[str, Strategy] = field(default_factory=dict)
    deployed: list[Deployment] = field(default_factory=list)
    requests: dict[str, str] = field(default_factory=dict)
    calls: int = 0
    patience: int = 1000

    def _call(self) -> None:
        self.calls += 1
        if self.calls > self.patience:
            raise Killed

    def _once(self, request_id: str, what: str) -> bool:
        self._call()
        assert self.requests.setdefault(request_id, what) == what
        return True

    async def replays(self) -> list[Replay]:
        self._call()
        return self.made[::-1]

    async def replay(self, environment_id: str) -> Replay:
        return next(each for each in self.made if each.environment_id == environment_id)

    async def create_replay(self, environment_id: str, *, request_id: str, **_: Any) -> Replay:
        self._once(request_id, environment_id)
        if not any(each.environment_id == environment_id for each in self.made):
            self.made.append(replay(environment_id))
        return await self.replay(environment_id)

    async def start(self, environment_id: str) -> Replay:
        self._call()
        self.made = [
            each._replace(state="RUNNING") if each.environment_id == environment_id else each for each in self.made
        ]
        return await self.replay(environment_id)

    async def create_portfolio(
        self, portfolio_id: str, environment_id: str, *, label: str, cash: Decimal, currency_code: str, request_id: str
    ) -> None:
        self._once(request_id, portfolio_id)
        assert self.portfolios.setdefault(portfolio_id, (environment_id, cash)) == (environment_id, cash)

    async def create_strategy(self, plan: Strategy) -> None:
        self._call()
        if plan.strategy_id in self.strategies:
            raise ApiError.already_exists("strategy", plan.strategy_id, "ALREADY_EXISTS")
        self.strategies[plan.strategy_id] = plan

    async def deploy(self, deployment_id: str, strategy_id: str, portfolio_id: str, request_id: str) -> Deployment:
        self._once(request_id, deployment_id)
        found = [each for each in self.deployed if each.deployment_id == deployment_id]
        if not found:
            environment_id = self.portfolios[portfolio_id][0]
            number = 1 + sum(self.portfolios[each.portfolio_id][0] == environment_id for each in self.deployed)
            found = [Deployment(deployment_id, strategy_id, portfolio_id, number, "RUNNING", "", 10, 10)]
            self.deployed += found
        return found[0]

    async def deployments(self, environment_id: str) -> list[Deployment]:
        self._call()
        return [each for each in self.deployed if self.portfolios[each.portfolio_id][0] == environment_id]


def shape(mesh: FakeMesh) -> tuple[Sequence[object], ...]:
    return (mesh.made, sorted(mesh.portfolios.items()), sorted(mesh.strategies), mesh.deployed)


async def test_the_first_one_has_the_names_that_the_contract_speaks_of() -> None:
    mesh = FakeMesh()
    made = await ensure(mesh)
    assert (made.environment_id, made.state) == ("replay-1", "RUNNING")
    cash = Decimal(100_000)
    assert mesh.portfolios == {"trend": ("replay-1", cash), "reversion": ("replay-1", cash)}
    assert [(each.number, each.deployment_id, each.portfolio_id) for each in mesh.deployed] == [
        (1, "cross-1", "trend"),
        (2, "revert-1", "reversion"),
    ]
    assert {each.kind for each in mesh.strategies.values()} == {"sma_cross", "mean_reversion"}


async def test_asking_again_changes_nothing() -> None:
    mesh = FakeMesh()
    await ensure(mesh)
    before = shape(mesh)
    assert (await ensure(mesh)).environment_id == "replay-1"
    assert shape(mesh) == before


async def test_one_that_was_broken_off_anywhere_is_finished() -> None:
    whole = FakeMesh()
    await ensure(whole)
    for patience in range(whole.calls):
        mesh = FakeMesh(patience=patience)
        with pytest.raises(Killed):
            await ensure(mesh)
        mesh.patience = 1000
        await ensure(mesh)
        assert shape(mesh) == shape(whole), patience


@pytest.mark.parametrize("state", ["COMPLETED", "STOPPED"])
async def test_after_one_that_has_ended_comes_the_next(state: str) -> None:
    mesh = FakeMesh()
    await ensure(mesh)
    mesh.made[0] = mesh.made[0]._replace(state=state)
    made = await ensure(mesh)
    assert (made.environment_id, made.state) == ("replay-2", "RUNNING")
    assert mesh.portfolios["trend-2"][0] == "replay-2"
    assert [each.number for each in await mesh.deployments("replay-2")] == [1, 2]
    assert len(mesh.strategies) == 2


async def test_a_paused_one_stays_paused() -> None:
    mesh = FakeMesh()
    await ensure(mesh)
    mesh.made[0] = mesh.made[0]._replace(state="PAUSED", tape_sequence=50)
    assert (await ensure(mesh)).state == "PAUSED"


async def test_replays_of_others_are_left_alone_and_their_names_are_not_taken() -> None:
    mesh = FakeMesh(made=[replay("replay-4", "RUNNING", name="Mine"), replay("other", "RUNNING")])
    assert (await ensure(mesh)).environment_id == "replay-5"
    assert [each.environment_id for each in mesh.made] == ["replay-4", "other", "replay-5"]


def test_the_newest_demonstration_is_the_current_one() -> None:
    listed = [replay("replay-7", name="Mine"), replay("replay-3", "COMPLETED"), replay("replay-1", "COMPLETED")]
    found = current(listed)
    assert found is not None
    assert number_of(found) == 3
    assert portfolio_id(DEMONSTRATION.traders[0], 3) == "trend-3"
    assert current([]) is None
