"""Why an order became what it is, told by the running mesh: by REST, by gRPC and at the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from services.console.main import main
from tests.e2e.front import Front, methods, standing
from tests.e2e.world import DEPLOYMENT, MAIN, PORTFOLIO, STRATEGY, get, order, populate, post, until
from tests.nursery import Nursery

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def front(tmp_path_factory: pytest.TempPathFactory, prepared: Path, nursery: Nursery) -> Iterator[Front]:
    """One mesh for all of them, at rest after strategies have traded."""
    with standing(tmp_path_factory.mktemp("explain"), prepared, nursery) as made:
        populate(made)
        yield made


@pytest.fixture
def said(front: Front, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """What `tickmesh explain` prints of an order."""
    for name, address in front.mesh.addresses.items():
        monkeypatch.setenv(f"TICKMESH_{name.upper()}_ADDRESS", address)
    monkeypatch.setenv("TICKMESH_DATA_DIRECTORY", str(front.mesh.data))

    def say(order_id: str) -> str:
        assert main(["explain", order_id]) == 0
        return capsys.readouterr().out

    return say


def explained(front: Front, order_id: str) -> dict[str, Any]:
    """By REST; by gRPC it is the same."""
    story = get(front, f"/orders/{order_id}:explain")
    method = methods()["OrderExplanationService/ExplainOrder"]
    assert front.grpc(method, {"order_id": order_id}).body == story
    return story


def refused(front: Front, **changes: str) -> str:
    """The id of an order that risk refuses."""
    answer = front.send("POST", "/api/v1/orders", json=order("refused-1", **changes))
    assert answer.outcome == ("FAILED_PRECONDITION", "LIMIT_EXCEEDED")
    return str(get(front, "/orders:byClientOrderId", portfolio_id=PORTFOLIO, client_order_id="refused-1")["order_id"])


def test_a_filled_order_of_a_strategys_from_the_signal_to_the_ledger(front: Front, said: Any) -> None:
    fills = get(front, "/executions", environment_id=MAIN)["executions"]
    fill = next(each for each in fills if each["deployment_id"] == DEPLOYMENT)
    story = explained(front, fill["order_id"])
    decision, events = story["decision"], story["events"]
    assert not story["gaps"]
    assert decision["strategy"]["parameters"]["fast"] == "3"
    assert decision["signal"]["strategy_id"] == STRATEGY
    assert fill["client_order_id"] in decision["signal"]["client_order_ids"]
    assert set(decision["signal"]["values"]) >= {"fast", "slow"}
    assert decision["record"]["tape_sequence"] == decision["basis_sequence"] == decision["signal"]["tape_sequence"]
    assert events[0]["event"]["exec_type"] == "EXEC_TYPE_NEW"
    assert Decimal(events[0]["reservation"]["cash"]) > 0
    trade = next(each for each in events if each["event"]["exec_id"] == fill["exec_id"])
    # A market order takes the next bar's open: the record is the one that the fill names, and shows that price.
    assert trade["price_basis"] == "PRICE_BASIS_FIRST"
    assert trade["record"]["tape_sequence"] == fill["tape_sequence"]
    assert Decimal(trade["record"]["values"]["open"]) == Decimal(fill["price"])
    assert int(trade["record"]["tape_sequence"]) > int(decision["basis_sequence"])
    moved = {each["account"]: each for each in trade["ledger_entries"]}
    signed = Decimal(fill["quantity"]) * (1 if fill["side"] == "SIDE_BUY" else -1)
    assert Decimal(moved["LEDGER_ACCOUNT_POSITION"]["amount"]) == signed
    assert Decimal(moved["LEDGER_ACCOUNT_CASH"]["amount"]) == -signed * Decimal(fill["price"])
    lines = said(fill["order_id"])
    for part in (
        f"by strategy {STRATEGY}, deployment {DEPLOYMENT}",
        "sma_cross: capital 20000, fast 3, slow 15",
        "checked   passed",
        trade["reason"],
        f"record {fill['tape_sequence']}",
        f"trade: position +{fill['quantity']} {fill['symbol']}"
        if signed > 0
        else f"trade: position {signed} {fill['symbol']}",
        moved["LEDGER_ACCOUNT_CASH"]["balance"],
    ):
        assert part in lines, part
    assert "untold" not in lines


def test_a_refused_order_by_the_bound_it_hit(front: Front, said: Any) -> None:
    order_id = refused(front, quantity="100000")
    story = explained(front, order_id)
    [event] = story["events"]
    assert event["refusal"]["limit"] in {"max_order_notional", "max_position_quantity"}
    assert event["refusal"]["bound"] in event["reason"]
    assert event["refusal"]["value"] in event["reason"]
    assert "record" not in event
    assert not event["ledger_entries"]
    assert story["decision"]["principal"] == "local"
    assert "signal" not in story["decision"]
    lines = said(order_id)
    assert f"{event['refusal']['limit']} allows {event['refusal']['bound']}" in lines
    assert "REJECTED" in lines


def test_a_resting_order_that_was_put_on_new_terms(front: Front, said: Any) -> None:
    resting = get(front, "/orders:byClientOrderId", portfolio_id=PORTFOLIO, client_order_id="working-1")
    story = explained(front, resting["order_id"])
    assert [each["event"]["exec_type"] for each in story["events"]] == ["EXEC_TYPE_NEW", "EXEC_TYPE_REPLACED"]
    assert story["events"][1]["reason"] == "Its owner changed its limit_price from 1.5 to 1.75."
    assert story["order"] == resting
    checks = {each["limit"]: each for each in story["events"][0]["event"]["checks"]}
    assert checks.keys() == {"max_order_notional", "max_position_quantity"}
    assert (checks["max_order_notional"]["bound"], checks["max_order_notional"]["value"]) == ("50000", "15")
    lines = said(resting["order_id"])
    assert "limit 1.7500 GTC" in lines.splitlines()[0]
    assert "NEW" in lines.splitlines()[0]
    assert "by local at record" in lines
    assert "max_order_notional of trend: bound 50000, value 15" in lines


def test_what_somebody_who_is_away_would_tell_is_a_gap_and_the_rest_is_told(front: Front, said: Any) -> None:
    fills = get(front, "/executions", environment_id=MAIN)["executions"]
    fill = next(each for each in fills if each["deployment_id"] == DEPLOYMENT)
    whole = explained(front, fill["order_id"])
    front.mesh.kill("strategy", "portfolio", hold=True)
    try:
        story = get(front, f"/orders/{fill['order_id']}:explain")
        lines = said(fill["order_id"])
    finally:
        front.mesh.start()
        until(lambda: not get(front, f"/orders/{fill['order_id']}:explain")["gaps"])
    assert [(gap["part"], gap["service"]) for gap in story["gaps"]] == [
        ("ledger_entries", "portfolio"),
        ("signal", "strategy"),
        ("strategy", "strategy"),
    ]
    assert story["order"] == whole["order"]
    assert [each["reason"] for each in story["events"]] == [each["reason"] for each in whole["events"]]
    assert story["decision"]["record"] == whole["decision"]["record"]
    assert "untold    ledger_entries, of portfolio:" in lines


def test_nobody_knows_such_an_order(front: Front, said: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", f"{MAIN}-99999"]) == 1
    assert f"There is no order {MAIN}-99999." in capsys.readouterr().err


def test_an_order_of_an_environment_that_has_ended_still_has_its_records(front: Front) -> None:
    [past] = get(front, "/orders", portfolio_id="past")["orders"]
    story = explained(front, past["order_id"])
    assert story["decision"]["record"]["kind"] in {"BAR", "CLOCK"}
    assert story["events"][-1]["event"]["exec_type"] in {"EXEC_TYPE_EXPIRED", "EXEC_TYPE_TRADE"}
    assert not story["gaps"]
    assert post(front, "/orders:preview", order("", portfolio_id="flat"))["passes"]
