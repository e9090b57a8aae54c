"""What a repeat says that it cannot know: whatever from outside changed a replay is named."""

from decimal import Decimal

import pytest

from services.console.records import Deployment, Portfolio, Replay
from services.console.trial.caveats import caveats
from services.console.trial.clients import Account
from services.domain.backtest.digest import History, RefusalLine
from services.domain.backtest.simulation import Result
from services.domain.orders.order import (
    CancelReason,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)

REPLAY = Replay("replay-1", "", "RUNNING", (), "us-daily", ("A",), 30, 100, 60, 0, 4)
PORTFOLIO = Portfolio("trend", "Trend", "USD", Decimal(0), Decimal(0), {})
ORDER = Order(
    "replay-1-1", "1-40-1", "trend", "A", Side.BUY, OrderType.LIMIT, TimeInForce.GTC,
    state=OrderState.CANCELED, cancel_reason=CancelReason.REQUESTED,
)  # fmt: skip
REFUSED = RefusalLine("1-40-2", "LIMIT_EXCEEDED", "max_order_notional", Decimal(5), Decimal(6))


def told(
    *deployments: Deployment,
    everywhere: tuple[str, ...] = (),
    events: tuple[OrderEvent, ...] = (),
    **of_account: object,
) -> list[str]:
    values = {"history": History("Trend"), "deposit": Decimal(1), "opening_sequence": 30, **of_account}
    account = Account(portfolio=PORTFOLIO, **values)  # type: ignore[arg-type]
    result = Result((), 60, {}, list(events))
    return list(caveats(REPLAY, [account], deployments, everywhere, result))


def test_an_undisturbed_replay_has_none() -> None:
    canceled = OrderEvent(ExecType.CANCELED, ORDER, 0, 40)
    assert not told(
        Deployment("cross-1", "cross", "trend", 1, "RUNNING", "", 30, 60),
        events=(canceled,),
        canceled=frozenset({"1-40-1"}),
        history=History("Trend", refusals=[REFUSED]),
    )


@pytest.mark.parametrize(
    ("of_account", "words"),
    [
        ({"by_hand": 2}, "trend has 2 orders that no strategy decided"),
        (
            {"canceled": frozenset({"1-40-1"})},
            "trend has 1 orders that were canceled, and that no strategy cancels here",
        ),
        ({"stopped": 3}, "trend has 3 orders that a kill switch refused or canceled"),
        ({"opening_sequence": 31}, "trend was opened after the start"),
        ({"everywhere": ("a kill switch is engaged for replay-1",)}, "a kill switch is engaged for replay-1"),
    ],
)
def test_what_came_from_outside_is_named(of_account: dict[str, object], words: str) -> None:
    assert told(**of_account) == [words]  # type: ignore[arg-type]


def test_a_deployment_that_ended_early_is_named() -> None:
    assert told(Deployment("cross-1", "cross", "trend", 1, "FAILED", "", 30, 60)) == ["cross-1 is FAILED"]
