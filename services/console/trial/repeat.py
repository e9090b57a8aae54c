"""Repeats a replay of the mesh in this process and compares what both came to."""

from __future__ import annotations

from dataclasses import dataclass

from services.chassis.garbage import rare_collections
from services.console.clients import Mesh
from services.console.layout import Trouble
from services.console.records import Deployment, Replay, Strategy
from services.console.trial.caveats import caveats
from services.console.trial.clients import Account, Archive
from services.domain.backtest.digest import History, digest, history
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Result, Simulation
from services.domain.deployment.parameters import BadParameter
from services.strategy.workshop.kinds import Kinds


@dataclass(frozen=True, slots=True)
class Comparison:
    """What the mesh and this process made of the same tape, up to where the replay stood.

    Attributes:
        caveats: what a repeat cannot know of; where there is any, the digests may differ.
    """

    replay: Replay
    accounts: tuple[Account, ...]
    result: Result
    mesh_digest: str
    own_digest: str
    caveats: tuple[str, ...]

    @property
    def equal(self) -> bool:
        """Whether both gave the same fills, refusals and ledgers."""
        return self.mesh_digest == self.own_digest


async def mesh_digest(mesh: Mesh, replay: Replay) -> str:
    """The digest of what the services list of a replay, up to where `replay` says that it stands."""
    archive = Archive(mesh.channels)
    portfolios = await mesh.portfolios(replay.environment_id)
    return digest([(await archive.account(replay, each)).history for each in portfolios])


async def repeat(mesh: Mesh, environment_id: str, kinds: Kinds) -> Comparison:
    """Reads a replay from the mesh, runs it again here, and compares.

    Raises:
        ApiError: the mesh is not there, or has no such replay.
        Trouble: a strategy's code is not here.
    """
    replay = await mesh.replay(environment_id)
    archive = Archive(mesh.channels)
    accounts = [await archive.account(replay, each) for each in await mesh.portfolios(environment_id)]
    deployments = [each for each in await mesh.deployments(environment_id) if each.number]
    strategies = {each.strategy_id: each for each in await mesh.strategies()}
    simulation = Simulation(
        await archive.tape(replay),
        await archive.instruments(replay),
        [_portfolio(each) for each in accounts],
        [_deployment(each, strategies[each.strategy_id], kinds) for each in deployments],
        start_sequence=replay.start_sequence,
        models=await archive.models(replay),
        limits=await archive.limits(replay),
        environment_id=environment_id,
    )
    with rare_collections():
        result = run_to(simulation, replay.tape_sequence)
    return Comparison(
        replay=replay,
        accounts=tuple(accounts),
        result=result,
        mesh_digest=digest(each.history for each in accounts),
        own_digest=digest(histories_to(result, replay.tape_sequence)),
        caveats=tuple(caveats(replay, accounts, deployments, await archive.everywhere(replay), result)),
    )


def run_to(simulation: Simulation, sequence: int) -> Result:
    """Runs until nothing more can happen up to a tape position; at the tape's end resting orders expire."""
    if sequence >= simulation.timeline.end:
        return simulation.run()
    while simulation.position < sequence:
        simulation.cycle()
    return simulation.result


def histories_to(result: Result, sequence: int) -> list[History]:
    """What a simulation came to up to a tape position: its last cycle may have gone beyond."""
    events = [each for each in result.events if each.tape_sequence <= sequence]
    return [
        history(
            plan.label,
            [each for each in events if each.order.portfolio_id == plan.portfolio_id],
            [each for each in result.entries[plan.portfolio_id] if each.tape_sequence <= sequence],
        )
        for plan in result.portfolios
    ]


def _portfolio(account: Account) -> PortfolioPlan:
    portfolio = account.portfolio
    return PortfolioPlan(
        portfolio.portfolio_id, portfolio.label, account.deposit, currency_code=portfolio.currency_code
    )


def _deployment(deployment: Deployment, strategy: Strategy, kinds: Kinds) -> DeploymentPlan:
    try:
        made = kinds.create(strategy.kind, strategy.parameters, strategy.symbols)
    except KeyError:
        message = (
            f"The code of {strategy.kind} is not here; TICKMESH_STRATEGY_PATH must name it as it does for the mesh."
        )
        raise Trouble(message) from None
    except BadParameter as error:
        raise Trouble(f"{strategy.strategy_id}: {error}.") from None
    ids = (deployment.number, deployment.deployment_id, deployment.strategy_id)
    return DeploymentPlan(*ids, made, deployment.portfolio_id, deployment.start_sequence)
