"""An order's story as the order service composes it, also where those who know the rest do not answer."""

from decimal import Decimal

from tickmesh.marketdata.v1 import environment_pb2, market_data_pb2
from tickmesh.order.v1 import order_explanation_pb2
from tickmesh.portfolio.v1 import portfolio_pb2

from services.domain.risk.limits import make_limit
from services.wire.values import timestamp
from tests.component.order.calls import bracket, cancel, explain, gaps, refused, replace
from tests.component.order.support import ENVIRONMENT, MINUTE, Mesh, limit, request, stop_peer

BASIS = order_explanation_pb2.PriceBasis


async def test_a_fill_is_told_with_the_record_that_made_it(mesh: Mesh) -> None:
    at = mesh.market.start_sequence
    placed = await mesh.orders.CreateOrder(request("a"))
    reached = await mesh.market.run(1, at + 6)
    entry = portfolio_pb2.LedgerEntry(order_id=placed.order_id, exec_id=f"{placed.order_id}-2", balance="10")
    mesh.portfolios.entries = [entry, portfolio_pb2.LedgerEntry(order_id="another", exec_id="another-2")]
    story = await explain(mesh, placed.order_id)
    assert not gaps(story)
    assert story.order == await mesh.get("a")
    decision, (taken, filled) = story.decision, story.events
    assert (decision.basis_sequence, decision.record.tape_sequence) == (at, at)
    assert taken.reservation == placed.reservation
    assert not taken.HasField("record")
    record = filled.record
    assert (record.tape_sequence, record.kind, record.symbol) == (reached.tape_sequence, "BAR", "AAPL")
    assert filled.price_basis == BASIS.PRICE_BASIS_FIRST
    assert float(record.values["open"]) == float(filled.event.last_price)
    assert filled.reason.startswith("It fills at the first price there is: the bar's open")
    assert not filled.event.HasField("order")
    assert (list(taken.ledger_entries), list(filled.ledger_entries)) == ([], [entry])


async def test_the_tape_is_asked_for_once_it_is_no_longer_here_and_is_missed_where_it_cannot_be(mesh: Mesh) -> None:
    placed = await mesh.orders.CreateOrder(request("a"))
    await mesh.market.run(1, len(mesh.market.tape), final=False)
    before = await explain(mesh, placed.order_id)
    mesh.market.idle((await mesh.market.run(2, len(mesh.market.tape), final=True)).tape_sequence)
    mesh.market.announce(environment_pb2.ENVIRONMENT_STATE_COMPLETED)
    await mesh.stop()
    await mesh.start()
    after = await explain(mesh, placed.order_id)
    assert list(after.events) == list(before.events)
    assert after.decision == before.decision
    await stop_peer(mesh, "marketdata")
    alone = await explain(mesh, placed.order_id)
    assert gaps(alone) == [("halts", "marketdata"), ("records", "marketdata")]
    assert not alone.events[1].HasField("record")
    assert alone.events[1].reason == "The record that filled it cannot be shown."
    assert alone.order == after.order


async def test_a_refusal_a_cancel_and_new_terms_say_why(mesh: Mesh) -> None:
    await refused(mesh.orders.CreateOrder(request("much", quantity="1000000")))
    [event] = (await explain(mesh, (await mesh.get("much")).order_id)).events
    assert event.refusal.limit == "buying_power"
    assert f"which allows {event.refusal.bound}" in event.reason
    resting = await mesh.orders.CreateOrder(limit("rests"))
    await mesh.orders.ReplaceOrder(replace(resting.order_id, limit_price="51"))
    await mesh.orders.CancelOrder(cancel(resting.order_id))
    story = await explain(mesh, resting.order_id)
    assert [each.reason for each in story.events[1:]] == [
        "Its owner changed its limit_price from 50 to 51.",
        "local asked for its end.",
    ]
    # Decided once: new terms have a position of their own.
    assert story.decision.basis_sequence == resting.basis_sequence


async def test_new_terms_say_what_the_limits_said_of_them(mesh: Mesh) -> None:
    placed = await mesh.orders.CreateOrder(limit("rests"))
    mesh.gate.gate.set_limit(make_limit("max_order_quantity", Decimal(20)))
    await mesh.orders.ReplaceOrder(replace(placed.order_id, quantity="15"))
    await mesh.orders.ReplaceOrder(replace(placed.order_id, quantity="12"))
    told = [each.event.checks for each in (await explain(mesh, placed.order_id)).events]
    assert [[(check.limit, check.bound, check.value) for check in checks] for checks in told] == [
        [],
        [("max_order_quantity", "20", "15")],
        [],  # fewer units are not checked
    ]


async def test_rule_15_halts_are_told_that_stood_while_an_order_was_open(mesh: Mesh) -> None:
    at = mesh.market.start_sequence
    now = int(mesh.market.tape.time[at - 1])
    places = [(now - 3 * MINUTE, True), (now - 2 * MINUTE, False), (now - MINUTE, True), (now + MINUTE, False)]
    places += [(now + 30 * MINUTE, True)]
    mesh.market.halts = [
        market_data_pb2.Halt(symbol="AAPL", halted=halted, event_time=timestamp(time)) for time, halted in places
    ]
    placed = await mesh.orders.CreateOrder(limit("rests"))
    # Open, it is told of all from the one that it came into on.
    assert list((await explain(mesh, placed.order_id)).halts) == mesh.market.halts[2:]
    await mesh.market.run(1, at + 6)
    mesh.market.idle(at + 6)
    await mesh.orders.CancelOrder(cancel(placed.order_id))
    ended = await explain(mesh, placed.order_id)
    assert list(ended.halts) == mesh.market.halts[2:4]
    assert not gaps(ended)


async def test_a_long_story_is_cut_and_says_so(mesh: Mesh) -> None:
    placed = await mesh.orders.CreateOrder(limit("a"))
    for n in range(100):
        await mesh.orders.ReplaceOrder(replace(placed.order_id, limit_price=str(51 + n % 2)))
    story = await explain(mesh, placed.order_id)
    assert (len(story.events), story.more_events) == (100, True)
    assert story.order.limit_price == "52.0000"


async def test_there_is_no_such_order(mesh: Mesh) -> None:
    for order_id in (f"{ENVIRONMENT}-1", "nobody", f"{ENVIRONMENT}-x"):
        assert (await refused(explain(mesh, order_id))).reason == "ORDER_NOT_FOUND"


async def test_a_brackets_orders_say_what_they_wait_for_and_what_ends_them(mesh: Mesh) -> None:
    made = await mesh.orders.CreateOrderList(bracket())
    _, target, stop = (order.order_id for order in made.orders)
    await mesh.market.run(1, 60)
    await mesh.market.run(2, 100)
    waited, lives, fills = (await explain(mesh, target)).events
    assert waited.reason == f"It passed the checks, and waits for {made.orders[0].order_id}."
    assert lives.reason == "What it waited for has come."
    assert "its limit 100.3" in fills.reason
    assert (await explain(mesh, stop)).events[-1].reason == "Its twin filled."
