"""What a repeat of a replay cannot know: commands from outside, which it does not give again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence

from services.console.records import Deployment, Replay
from services.console.trial.clients import Account
from services.domain.backtest.simulation import Result
from services.domain.orders.order import CancelReason, ExecType


def caveats(
    replay: Replay,
    accounts: Sequence[Account],
    deployments: Sequence[Deployment],
    everywhere: Sequence[str],
    result: Result,
) -> Iterator[str]:
    """Every reason that can be seen why the mesh may have come to something else than `result`.

    Args:
        everywhere: kill switches that are engaged.
    """
    yield from (f"{each.deployment_id} is {each.state}" for each in deployments if each.state in {"STOPPED", "FAILED"})
    yield from everywhere
    canceled = _canceled(result)
    for account in accounts:
        name = account.portfolio.portfolio_id
        yield from (f"{name} {each}" for each in _of_account(replay, account, canceled[name]))


def _of_account(replay: Replay, account: Account, canceled: set[str]) -> Iterator[str]:
    if account.by_hand:
        yield f"has {account.by_hand} orders that no strategy decided"
    if by_hand := len(account.canceled - canceled):
        yield f"has {by_hand} orders that were canceled, and that no strategy cancels here"
    if account.stopped:
        yield f"has {account.stopped} orders that a kill switch refused or canceled"
    if account.opening_sequence > replay.start_sequence:
        yield "was opened after the start"


def _canceled(result: Result) -> Mapping[str, set[str]]:
    """The client order ids of what strategies canceled, by portfolio."""
    found: dict[str, set[str]] = defaultdict(set)
    for event in result.events:
        if event.exec_type is ExecType.CANCELED and event.order.cancel_reason is CancelReason.REQUESTED:
            found[event.order.portfolio_id].add(event.order.client_order_id)
    return found
