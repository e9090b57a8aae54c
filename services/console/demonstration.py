"""The demonstration: a replay in which every trader of the scenario is at work. Its ids follow from its number."""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Sequence
from decimal import Decimal
from typing import Final, Protocol

from services.chassis.errors import ApiError
from services.console.layout import Trouble
from services.console.records import Deployment, Replay, Strategy
from services.console.scenario import DEMONSTRATION, SESSIONS_PER_SECOND, Scenario, Trader

DISPLAY_NAME: Final = "Demonstration"
# The contract's examples speak of `replay-1` and `trend`: so they work on the first one.
_ID: Final = re.compile(r"replay-([1-9][0-9]{0,8})")
_NAMESPACE: Final = uuid.UUID("6f1d5d0e-5a5e-4b43-9c0e-2f8f0a6f7c11")
# The first cycle waits for the venue and the books, which have just been started.
SEATED_SECONDS: Final = 30.0
# Between two looks, and after an answer that asks to be repeated.
PAUSE_SECONDS: Final = 0.05


class Calls(Protocol):
    """What making a demonstration needs of the mesh."""

    async def replays(self) -> list[Replay]:
        """All, newest first."""

    async def replay(self, environment_id: str) -> Replay:
        """One as it stands."""

    async def create_replay(
        self,
        environment_id: str,
        *,
        display_name: str,
        data_set_id: str,
        symbols: tuple[str, ...],
        warm_up_sessions: int,
        sessions_per_second: float,
        request_id: str,
    ) -> Replay:
        """A new one, or that of the same request."""

    async def start(self, environment_id: str) -> Replay:
        """Lets time begin."""

    async def create_portfolio(
        self, portfolio_id: str, environment_id: str, *, label: str, cash: Decimal, currency_code: str, request_id: str
    ) -> None:
        """A new one, or that of the same request."""

    async def create_strategy(self, plan: Strategy) -> None:
        """A new one; ALREADY_EXISTS where its id is taken."""

    async def deploy(self, deployment_id: str, strategy_id: str, portfolio_id: str, request_id: str) -> Deployment:
        """A new deployment, or that of the same request."""

    async def deployments(self, environment_id: str) -> list[Deployment]:
        """Those of an environment."""


def current(replays: Sequence[Replay]) -> Replay | None:
    """The newest demonstration among replays that are listed newest first."""
    return next(
        (each for each in replays if each.display_name == DISPLAY_NAME and _ID.fullmatch(each.environment_id)), None
    )


async def ensure(mesh: Calls, scenario: Scenario = DEMONSTRATION, pace: float = SESSIONS_PER_SECOND) -> Replay:
    """The demonstration that goes on, or a new one where there is none or the last has ended.

    May be broken off and repeated at any point, by several at once: everything is made under ids that follow from the
    demonstration's number. One that is paused stays paused.

    Raises:
        ApiError: the mesh refuses, or is not there.
        Trouble: its participants do not come.
    """
    replays = await mesh.replays()
    found = current(replays)
    if found is None or found.ended:
        taken = (_ID.fullmatch(each.environment_id) for each in replays)
        number = 1 + max((int(each[1]) for each in taken if each), default=0)
        found = await mesh.create_replay(
            f"replay-{number}",
            display_name=DISPLAY_NAME,
            data_set_id=scenario.data_set_id,
            symbols=scenario.symbols,
            warm_up_sessions=scenario.warm_up_sessions,
            sessions_per_second=pace,
            request_id=_request_id("replay", number),
        )
    if found.state in {"CREATED", "BLOCKED"} and found.tape_sequence <= found.start_sequence:
        # It may have been left half made. BLOCKED is one that was started and still lacks somebody.
        found = await _furnish(mesh, found, scenario)
    return found


async def _furnish(mesh: Calls, replay: Replay, scenario: Scenario) -> Replay:
    number = number_of(replay)
    for trader in scenario.traders:
        await mesh.create_portfolio(
            portfolio_id(trader, number),
            replay.environment_id,
            label=trader.label,
            cash=scenario.cash,
            currency_code=scenario.currency_code,
            request_id=_request_id(trader.portfolio_id, number),
        )
        try:
            plan = Strategy(trader.strategy_id, trader.kind, trader.parameters, scenario.symbols or replay.symbols)
            await mesh.create_strategy(plan)
        except ApiError as error:
            if error.reason != "ALREADY_EXISTS":
                raise
        # One after the other, so that their numbers are those of a backtest.
        await _deploy(mesh, replay, trader, number)
    return await mesh.start(replay.environment_id)


async def _deploy(mesh: Calls, replay: Replay, trader: Trader, number: int) -> None:
    deployment_id = f"{trader.strategy_id}-{number}"
    request_id = _request_id(deployment_id, number)
    await mesh.deploy(deployment_id, trader.strategy_id, portfolio_id(trader, number), request_id)
    deadline = time.monotonic() + SEATED_SECONDS
    while time.monotonic() < deadline:
        made = {each.deployment_id: each for each in await mesh.deployments(replay.environment_id)}
        if deployment_id in made and (made[deployment_id].number or made[deployment_id].state == "FAILED"):
            return
        await asyncio.sleep(PAUSE_SECONDS)
    stands = await mesh.replay(replay.environment_id)
    missing = f"; it waits for {', '.join(stands.blocked_on)}" if stands.blocked_on else ""
    raise Trouble(f"{deployment_id} got no place in {replay.environment_id} within {SEATED_SECONDS:.0f} s{missing}.")


def number_of(replay: Replay) -> int:
    """The demonstration's number."""
    found = _ID.fullmatch(replay.environment_id)
    return int(found[1]) if found else 1


def portfolio_id(trader: Trader, number: int) -> str:
    """The trader's portfolio in the demonstration of this number."""
    return trader.portfolio_id if number == 1 else f"{trader.portfolio_id}-{number}"


def _request_id(what: str, number: int) -> str:
    return str(uuid.uuid5(_NAMESPACE, f"{what}/{number}"))
