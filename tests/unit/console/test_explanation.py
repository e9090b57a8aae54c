"""An order's story as the terminal shows it."""

from typing import Any

from google.protobuf.timestamp_pb2 import Timestamp
from tickmesh.common.v1 import side_pb2
from tickmesh.marketdata.v1 import market_data_pb2
from tickmesh.order.v1 import order_explanation_pb2, order_pb2
from tickmesh.portfolio.v1 import portfolio_pb2

from services.console.story.mapping import lines_of

NOON = Timestamp(seconds=1_362_139_200)
LATER = Timestamp(seconds=1_362_139_260)


def story(**changes: Any) -> order_explanation_pb2.OrderExplanation:
    """A limit order of somebody's that was filled by a quote, with commission."""
    order = order_pb2.Order(
        order_id="e-7",
        symbol="BTC/USD",
        side=side_pb2.SIDE_SELL,
        quantity="2",
        order_type=order_pb2.ORDER_TYPE_LIMIT,
        time_in_force=order_pb2.TIME_IN_FORCE_DAY,
        limit_price="99.50",
        portfolio_id="trend",
        state=order_pb2.ORDER_STATE_FILLED,
        cum_quantity="2",
        avg_price="100.00",
    )
    taken = order_explanation_pb2.ExplainedEvent(
        event=order_pb2.OrderEvent(exec_type=order_pb2.EXEC_TYPE_NEW, sequence=11, transact_time=NOON),
        reservation=order_pb2.Reservation(cash="0.00", quantity="-2", headroom="500.00"),
        reason="It passed the checks, and meets the records after 4.",
    )
    kinds, accounts = portfolio_pb2.LedgerEntryKind, portfolio_pb2.LedgerAccount
    cash = {"account": accounts.LEDGER_ACCOUNT_CASH, "asset": "USD"}
    filled = order_explanation_pb2.ExplainedEvent(
        event=order_pb2.OrderEvent(
            exec_type=order_pb2.EXEC_TYPE_TRADE,
            sequence=12,
            transact_time=LATER,
            last_quantity="2",
            last_price="100.00",
        ),
        record=order_explanation_pb2.TapeRecord(
            tape_sequence=5,
            kind="QUOTE",
            symbol="BTC/USD",
            start_time=LATER,
            event_time=LATER,
            values={"ask": "101", "bid": "100", "bid_size": "7", "flag": "1"},
        ),
        reason="The bid 100 is better than its limit 99.5: it gets the better price.",
        ledger_entries=[
            portfolio_pb2.LedgerEntry(kind=kinds.LEDGER_ENTRY_KIND_TRADE, amount="200.00", balance="700.00", **cash),
            portfolio_pb2.LedgerEntry(
                kind=kinds.LEDGER_ENTRY_KIND_TRADE, account=accounts.LEDGER_ACCOUNT_MARKET, asset="USD", amount="-200"
            ),
            portfolio_pb2.LedgerEntry(
                kind=kinds.LEDGER_ENTRY_KIND_COMMISSION, amount="-1.00", balance="699.00", **cash
            ),
        ],
    )
    decision = order_explanation_pb2.OrderDecision(principal="alice", create_time=NOON, basis_sequence=4)
    fields = {"order": order, "decision": decision, "events": [taken, filled]}
    return order_explanation_pb2.OrderExplanation(**(fields | changes))


def test_a_story_is_told_from_the_decision_to_the_ledger() -> None:
    assert lines_of(story()) == [
        "e-7  sell 2 BTC/USD LIMIT limit 99.50 DAY, portfolio trend: FILLED, 2 filled at 100.00",
        "",
        "decided   by alice at record 4, received 2013-03-01 12:00:00",
        "",
        "checked   passed: 0.00 set aside, 500.00 left to spend",
        "",
        "then      NEW, 2013-03-01 12:00:00, event 11",
        "            It passed the checks, and meets the records after 4.",
        "          TRADE 2 at 100.00, 2013-03-01 12:01:00, event 12",
        "            The bid 100 is better than its limit 99.5: it gets the better price.",
        "            by QUOTE BTC/USD of 2013-03-01 12:01:00, record 5: bid 100 ask 101 bid_size 7 flag 1",
        "            trade: cash +200.00 USD, then 700.00",
        "            commission: cash -1.00 USD, then 699.00",
    ]


def headline(**terms: Any) -> str:
    told = story()
    told.order.MergeFrom(order_pb2.Order(**terms))
    return lines_of(told)[0].removeprefix("e-7  sell ").removesuffix(", portfolio trend: FILLED, 2 filled at 100.00")


def test_the_first_line_tells_every_term() -> None:
    lists, trailing = order_pb2.ContingencyType, order_pb2.ORDER_TYPE_TRAILING_STOP
    gtd = order_pb2.TIME_IN_FORCE_GTD
    assert headline(reduce_only=True, post_only=True) == "2 BTC/USD LIMIT limit 99.50 DAY, post-only, reduce-only"
    assert headline(display_quantity="1") == "2 BTC/USD LIMIT limit 99.50 DAY, shows 1"
    assert headline(time_in_force=gtd, expire_time=NOON) == "2 BTC/USD LIMIT limit 99.50 GTD until 2013-03-01 12:00:00"
    oco = {"order_list_id": "e-6", "contingency_type": lists.CONTINGENCY_TYPE_OCO}
    assert headline(**oco) == "2 BTC/USD LIMIT limit 99.50 DAY, OCO e-6"
    told = story()
    told.order.order_type, told.order.limit_price, told.order.trailing_percent = trailing, "", "2.5"
    assert "sell 2 BTC/USD TRAILING_STOP trailing by 2.5 % DAY, portfolio" in lines_of(told)[0]
    told.order.quantity, told.order.reduce_only = "0", True
    told.order.order_list_id, told.order.parent_order_id = "e-5", "e-5"
    told.order.contingency_type = lists.CONTINGENCY_TYPE_BRACKET
    wanted = "sell what e-5 fills of BTC/USD TRAILING_STOP trailing by 2.5 % DAY, reduce-only, BRACKET e-5 after e-5"
    assert f"{wanted}, portfolio" in lines_of(told)[0]


def test_what_is_cut_and_what_is_missing_is_said_at_the_end() -> None:
    gap = order_explanation_pb2.ExplanationGap(part="signal", service="strategy")
    gap.status.message = "The strategy service does not answer."
    lines = lines_of(story(more_events=True, gaps=[gap]))
    assert lines[-3:] == [
        "          … and more; `ListOrderEvents` has all of it",
        "",
        "untold    signal, of strategy: The strategy service does not answer.",
    ]


def test_each_limit_shows_its_bound_its_value_and_for_whom_it_is_set() -> None:
    told = story()
    told.events[0].event.checks.add(limit="max_order_notional", portfolio_id="trend", symbol="A", bound="9", value="8")
    told.events[0].event.checks.add(limit="max_leverage", bound="2", value="1.5")
    lines = lines_of(told)
    assert lines[5:7] == [
        "            max_order_notional of trend and A: bound 9, value 8",
        "            max_leverage of the environment: bound 2, value 1.5",
    ]


def test_a_refusal_takes_the_place_of_what_would_be_set_aside() -> None:
    refusal = order_pb2.Refusal(reason="LIMIT_EXCEEDED", limit="max_order_notional", bound="100", value="200")
    event = order_explanation_pb2.ExplainedEvent(
        event=order_pb2.OrderEvent(exec_type=order_pb2.EXEC_TYPE_REJECTED, transact_time=NOON), refusal=refusal
    )
    lines = lines_of(story(events=[event]))
    assert "checked   LIMIT_EXCEEDED: max_order_notional allows 100, the order makes it 200" in lines
    event.refusal.order_id = "e-8"
    lines = lines_of(story(events=[event]))
    assert "checked   LIMIT_EXCEEDED: max_order_notional allows 100, order e-8 of its list makes it 200" in lines
    # A switch that is on has no figures.
    event.refusal.CopyFrom(order_pb2.Refusal(reason="SYMBOL_RESTRICTED", limit="restricted"))
    event.event.checks.add(limit="restricted", symbol="A")
    lines = lines_of(story(events=[event]))
    assert "checked   SYMBOL_RESTRICTED by restricted" in lines
    event.refusal.order_id = "e-8"
    assert "checked   SYMBOL_RESTRICTED by restricted, of order e-8 of its list" in lines_of(story(events=[event]))
    assert "            restricted of A" in lines


def test_halts_are_told_after_what_happened() -> None:
    halts = [
        market_data_pb2.Halt(symbol="BTC/USD", halted=True, event_time=NOON, tape_sequence=3),
        market_data_pb2.Halt(symbol="BTC/USD", halted=False, event_time=LATER, tape_sequence=6),
    ]
    gap = order_explanation_pb2.ExplanationGap(part="signal", service="strategy")
    lines = lines_of(story(halts=halts, gaps=[gap]))
    assert lines[-5:] == [
        "",
        "meanwhile trading in BTC/USD stopped, 2013-03-01 12:00:00, record 3",
        "          trading in BTC/USD went on, 2013-03-01 12:01:00, record 6",
        "",
        "untold    signal, of strategy: ",
    ]
