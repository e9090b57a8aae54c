"""One trace from the tick to the ledger, across the services, at a real OTLP receiver."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.front import Front, standing
from tests.e2e.receiver import Receiver, Span, receiving, tree
from tests.e2e.world import MAIN, PORTFOLIO, get, order, populate, portfolio
from tests.nursery import Nursery

CREATE_ORDER = "tickmesh.order.v1.OrderService/CreateOrder"
CHECK_ORDERS = "tickmesh.risk.v1.RiskGateService/CheckOrders"
OF_A_SIGNAL = f"""\
strategy INTERNAL tick
  strategy INTERNAL signal
    strategy CLIENT {CREATE_ORDER}
      order SERVER {CREATE_ORDER}
        order CLIENT {CHECK_ORDERS}
          risk SERVER {CHECK_ORDERS}
        order INTERNAL fill
          portfolio INTERNAL ledger posting"""
OF_A_CALL = f"""\
edge SERVER {CREATE_ORDER}
  edge CLIENT router order egress
    order SERVER {CREATE_ORDER}
      order CLIENT {CHECK_ORDERS}
        risk SERVER {CHECK_ORDERS}"""
OF_A_PORTFOLIO = """\
edge SERVER tickmesh.portfolio.v1.PortfolioService/CreatePortfolio
  edge CLIENT router portfolio egress
    portfolio SERVER tickmesh.portfolio.v1.PortfolioService/CreatePortfolio
      portfolio CLIENT tickmesh.marketdata.v1.EnvironmentService/GetEnvironment
        marketdata SERVER tickmesh.marketdata.v1.EnvironmentService/GetEnvironment"""
TRACE_ID = "0af7651916cd43dd8448eb211c80319c"
CALLER = "b7ad6b7169203331"


@pytest.fixture(scope="module")
def receiver() -> Iterator[Receiver]:
    with receiving() as made:
        yield made


@pytest.fixture(scope="module")
def front(
    tmp_path_factory: pytest.TempPathFactory, prepared: Path, nursery: Nursery, receiver: Receiver
) -> Iterator[Front]:
    with standing(tmp_path_factory.mktemp("tracing"), prepared, nursery, otlp_endpoint=receiver.endpoint) as made:
        populate(made)
        yield made


def whole(receiver: Receiver, trace_id: str, wanted: str) -> dict[str, Span]:
    """A trace that has come to look as wanted; its spans by service, kind and name."""
    spans = receiver.trace(trace_id, lambda found: tree(found) == wanted)
    named = {f"{span.service} {span.kind} {span.name}": span for span in spans}
    assert len(named) == len(spans)
    return named


def events_of(front: Front, order_id: str) -> dict[str, dict[str, Any]]:
    """An order's events by their kind."""
    return {each["exec_type"]: each for each in get(front, f"/orders/{order_id}/events")["order_events"]}


def test_a_strategys_trade_is_one_trace_from_the_tick_to_the_ledger(front: Front, receiver: Receiver) -> None:
    traded = 0
    entries = get(front, f"/portfolios/{PORTFOLIO}/ledger-entries", page_size="1000")["ledger_entries"]
    for signal in get(front, "/signals", environment_id=MAIN)["signals"]:
        query = {"portfolio_id": PORTFOLIO, "client_order_id": signal["client_order_ids"][0]}
        placed = get(front, "/orders:byClientOrderId", **query)
        if placed["state"] != "ORDER_STATE_FILLED":
            continue
        traded += 1
        spans = whole(receiver, signal["traceparent"][3:35], OF_A_SIGNAL)
        tick, decided = spans["strategy INTERNAL tick"], spans["strategy INTERNAL signal"]
        served, filled = spans[f"order SERVER {CREATE_ORDER}"], spans["order INTERNAL fill"]
        # The tick began before the signal that it caused, and its span was made after.
        assert tick.start <= decided.start <= spans[f"strategy CLIENT {CREATE_ORDER}"].start
        assert tick.attributes["tickmesh.tape_sequence"] == int(signal["tape_sequence"])
        assert decided.attributes["tickmesh.signal_id"] == signal["signal_id"] == placed["signal_id"]
        # What is stored says where each belongs.
        events = events_of(front, placed["order_id"])
        assert signal["traceparent"] == decided.traceparent
        assert events["EXEC_TYPE_NEW"]["traceparent"] == served.traceparent
        assert events["EXEC_TYPE_TRADE"]["traceparent"] == filled.traceparent
        stored = {each["traceparent"] for each in entries if each["order_id"] == placed["order_id"]}
        assert stored == {filled.traceparent}
    assert traded >= 2


def test_an_order_over_rest_is_one_trace_with_the_edges_spans(front: Front, receiver: Receiver) -> None:
    body = order("traced-1", order_type="ORDER_TYPE_LIMIT", limit_price="1.5")
    headers = {"traceparent": f"00-{TRACE_ID}-{CALLER}-01"}
    answer = front.send("POST", "/api/v1/orders", json=body, headers=headers)
    spans = whole(receiver, TRACE_ID, OF_A_CALL)
    served = spans[f"order SERVER {CREATE_ORDER}"]
    assert spans[f"edge SERVER {CREATE_ORDER}"].parent_id == CALLER
    assert events_of(front, answer.body["order_id"])["EXEC_TYPE_NEW"]["traceparent"] == served.traceparent


def test_a_call_that_needs_a_peer_is_one_trace_with_it(front: Front, receiver: Receiver) -> None:
    trace_id = TRACE_ID[::-1]
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-01"}
    assert front.send("POST", "/api/v1/portfolios", json=portfolio("traced", MAIN), headers=headers).code == "OK"
    whole(receiver, trace_id, OF_A_PORTFOLIO)


def test_what_the_caller_does_not_sample_is_not_exported_but_has_its_trace(front: Front, receiver: Receiver) -> None:
    trace_id = "1" * 32
    body = order("untraced-1", order_type="ORDER_TYPE_LIMIT", limit_price="1.5")
    headers = {"traceparent": f"00-{trace_id}-{CALLER}-00"}
    answer = front.send("POST", "/api/v1/orders", json=body, headers=headers)
    assert events_of(front, answer.body["order_id"])["EXEC_TYPE_NEW"]["traceparent"][3:35] == trace_id
    # A later trace has come whole by then, so this one would have too.
    later = {"traceparent": f"00-{'2' * 32}-{CALLER}-01"}
    front.send("POST", "/api/v1/orders", json={**body, "client_order_id": "traced-2"}, headers=later)
    whole(receiver, "2" * 32, OF_A_CALL)
    assert receiver.trace(trace_id, lambda found: True) == []
