"""What counts when, and what of it is stored (rules 2, 4 and 32c)."""

import asyncio
import random
from decimal import Decimal
from typing import Any

import pytest

from services.domain.accounting.ledger import Ledger
from services.domain.backtest.simulation import DeploymentPlan, PortfolioPlan, Simulation
from services.domain.deployment.context import Context
from services.domain.market import Bar
from services.domain.orders.order import (
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Refusal,
    Reservation,
    Side,
    TimeInForce,
)
from services.domain.risk.limit import Limit, Where
from services.domain.risk.limits import LimitChange, make_limit
from services.domain.risk.watch import AlarmKind
from services.domain.tape import merge
from services.domain.timeline import Timeline
from services.risk.gate.folding import Folding, NumberedEntry, NumberedEvent, Scene
from services.risk.gate.parts import Part
from services.risk.records import Happening, RiskKind
from tests.unit.domain.backtest.simulations import INSTRUMENTS, OnBars
from tests.unit.domain.markets import clock, daily, instrument, splits, walk

D = Decimal
DAYS, SPLIT_DAY = 12, 6
TAPE = merge([clock(DAYS), splits("A", {SPLIT_DAY: (3.0, 1.0)}), daily("A", walk(1, DAYS))])
SCENE = Scene(Timeline(TAPE), {"A": instrument("A")}, 0)
SPLIT = SCENE.timeline.next_split(0)


def begun(part: Part | None = None, cash: str = "1000") -> Folding:
    folding = Folding("e", part)
    folding.begin(SCENE)
    if part is None:
        folding.take_entries(deposit(cash))
    return folding


def deposit(cash: str, first: int = 1, at: int = 0) -> list[NumberedEntry]:
    posting = Ledger("p").deposit(D(cash), 0, at, "d")
    return [NumberedEntry(first + i, "p", entry) for i, entry in enumerate(posting.entries)]


def order(number: int, side: Side = Side.BUY, quantity: str = "1") -> Order:
    return Order(f"e-{number}", f"c{number}", "p", "A", side, OrderType.MARKET, TimeInForce.GTC, D(quantity))


def accepted(of: Order, cash: str = "0", at: int = 0, sequence: int = 1) -> NumberedEvent:
    signed = of.quantity if of.side is Side.BUY else -of.quantity
    after = of._replace(
        state=OrderState.NEW, leaves_quantity=of.quantity, reservation=Reservation(D(cash), signed), event_count=1
    )
    return NumberedEvent(sequence, OrderEvent(ExecType.NEW, after, 0, at))


def filled(before: NumberedEvent, price: str, at: int = 0, sequence: int = 2) -> NumberedEvent:
    of = before.event.order
    after = of._replace(state=OrderState.FILLED, cum_quantity=of.quantity, leaves_quantity=D(0), event_count=2)
    event = OrderEvent(ExecType.TRADE, after, 0, at, of.quantity, D(price))
    return NumberedEvent(sequence, event)


def taken(folding: Folding) -> Part:
    part, _ = folding.take_part()
    assert part is not None
    return part


def held(folding: Folding) -> Any:
    return [(p.quantity, p.pending_buy, p.pending_sell) for p in folding.gate.exposure("p").positions]


def test_nothing_counts_before_there_is_a_tape() -> None:
    folding = Folding("e")
    folding.take_entries(deposit("1000"))
    assert (folding.cursor.ledger_sequence, folding.entries_received) == (0, 2)
    folding.begin(SCENE)
    assert folding.cursor.ledger_sequence == 2
    assert folding.gate.exposure("p").cash == 1000


def test_a_repeated_event_counts_once_and_a_missing_one_is_noticed() -> None:
    folding = begun()
    event = accepted(order(1), "100")
    folding.take_events([event])
    folding.take_events([event])
    assert folding.gate.exposure("p").reserved_cash == 100
    with pytest.raises(ValueError, match="3 does not follow 1"):
        folding.take_events([accepted(order(2), sequence=3)])
    with pytest.raises(ValueError, match="9 does not follow 2"):
        folding.take_entries(deposit("1", first=9))
    assert folding.cursor.order_sequence == 1


async def test_what_lies_at_a_split_waits_for_its_fold_and_entries_count_first() -> None:
    folding = begun()
    buy = accepted(order(1, quantity="2"), "200")
    sell = accepted(order(2, Side.SELL, "6"), at=SPLIT, sequence=3)
    folding.take_events([buy, filled(buy, "100"), sell])
    assert (folding.cursor.order_sequence, held(folding)) == (2, [(2, 0, 0)])
    ledger = Ledger("p")
    ledger.deposit(D(1000), 0, 0, "d")
    ledger.apply(filled(buy, "100").event, SCENE.instruments["A"])
    posting = ledger.split("A", 3.0, 1.0, time=0, tape_sequence=SPLIT, instrument=SCENE.instruments["A"], mark=100.0)
    entries = [NumberedEntry(3 + i, "p", entry) for i, entry in enumerate(posting.entries)]
    fold = asyncio.create_task(folding.fold(1, SPLIT, 3, 2 + len(entries)))
    await asyncio.sleep(0)
    folding.take_entries(entries[:1])
    await asyncio.sleep(0)
    assert (fold.done(), folding.cursor.ledger_sequence) == (False, 2)
    folding.take_entries(entries[1:])
    await fold
    assert (held(folding), folding.cursor.order_sequence) == ([(6, 0, 6)], 3)
    assert (folding.cursor.tape_sequence, folding.cursor.cycle) == (SPLIT, 1)


def test_events_beyond_what_is_held_for_wait() -> None:
    folding = begun()
    folding.hold(1)
    folding.take_events([accepted(order(1), "10"), accepted(order(2), "10", sequence=2)])
    assert folding.gate.exposure("p").reserved_cash == 10
    folding.release()
    assert folding.gate.exposure("p").reserved_cash == 20


async def test_a_long_fold_lets_others_run() -> None:
    folding = begun()
    folding.hold(0)
    folding.take_events([accepted(order(n), "0", sequence=n) for n in range(1, 2001)])
    folding._ceiling = None
    turns = 0

    async def others() -> None:
        nonlocal turns
        while folding.cursor.order_sequence < 2000:
            turns += 1
            await asyncio.sleep(0)

    await asyncio.gather(others(), folding.fold(1, 1, 2000, 2))
    assert turns >= 3


def test_only_what_changed_is_stored_and_gone_claims_once() -> None:
    folding = begun()
    first = taken(folding)
    assert (first.cursor.ledger_sequence, first.portfolios["p"]["cash"], first.claims) == (2, "1000", {})
    assert folding.take_part() == (None, [])
    lasting, brief = accepted(order(1), "100"), accepted(order(2), "50", sequence=2)
    folding.take_events([lasting, brief, filled(brief, "50", sequence=3)])
    part = taken(folding)
    assert (list(part.claims), part.gone) == (["e-1"], ())
    folding.take_events([filled(lasting, "90", sequence=4)])
    part = taken(folding)
    assert (part.claims, part.gone) == ({}, ("e-1",))
    assert part.portfolios["p"]["holdings"] == {"A": ["2", "0"]}


def test_a_check_that_nothing_confirmed_is_not_stored() -> None:
    folding = begun()
    verdict = folding.gate.check(order(1), SCENE.instruments["A"], D(100), 0)
    assert verdict.reservation is not None
    folding.take_events([accepted(order(2), "10")])
    part = taken(folding)
    assert list(part.claims) == ["e-2"]
    again = begun(part)
    assert again.gate.exposure("p").reserved_cash == 10


def test_of_an_order_whose_new_terms_nothing_confirmed_its_own_are_stored() -> None:
    folding = begun()
    event = accepted(order(1, quantity="2"), "200")
    folding.take_events([event])
    after = event.event.order._replace(quantity=D(5), leaves_quantity=D(5))
    assert folding.gate.check_replacement(after, SCENE.instruments["A"], D(100), 0).reservation is not None
    assert folding.gate.exposure("p").reserved_cash == 500
    part = taken(folding)
    assert begun(part).gate.exposure("p").reserved_cash == 200


@pytest.mark.parametrize("seed", range(20))
def test_rule_2_a_gate_rebuilt_of_its_parts_is_the_gate(seed: int) -> None:
    rng = random.Random(seed)
    folding = begun(cash="100000")
    folding.gate.set_limit(make_limit("short_sale", D(1)))
    stored: dict[str, Any] = {"portfolios": {}, "claims": {}}
    open_events: list[NumberedEvent] = []
    for sequence in range(1, 61):
        if open_events and rng.random() < 0.5:
            before = open_events.pop(rng.randrange(len(open_events)))
            folding.take_events([filled(before, str(rng.randint(50, 150)), sequence=sequence)])
        else:
            asked = order(sequence, rng.choice(list(Side)), str(rng.randint(1, 30)))
            verdict = folding.gate.check(asked, SCENE.instruments["A"], D(100), 0)
            cash = verdict.reservation.cash if verdict.reservation else D(0)
            open_events.append(accepted(asked, str(cash), sequence=sequence))
            folding.take_events(open_events[-1:])
        if rng.random() < 0.3:
            part = taken(folding)
            stored["portfolios"].update(part.portfolios)
            stored["claims"].update(part.claims)
            for order_id in part.gone:
                del stored["claims"][order_id]
            again = begun(Part("e", part.cursor, part.marks, **stored))
            assert again.cursor == folding.cursor
            again.refresh()
            assert again.gate.exposure("p") == folding.gate.exposure("p")


def test_a_refusal_by_a_limit_is_told_and_another_is_not() -> None:
    folding = begun()
    taken(folding)
    for number, limit in enumerate(("max_order_rate", "kill_switch", "buying_power"), 1):
        refused = order(number)._replace(state=OrderState.REJECTED, refusal=Refusal("R", limit, D(3), D(4)))
        event = OrderEvent(ExecType.REJECTED, refused, 7, 5)
        folding.take_events([NumberedEvent(number, event, "ada")])
    part, told = folding.take_part()
    assert part is not None
    assert part.cursor.order_sequence == 3
    payload = {
        "order_id": "e-1",
        "strategy_id": "",
        "symbol": "A",
        "limit": "max_order_rate",
        "bound": "3",
        "value": "4",
    }
    assert told[0] == Happening(RiskKind.BREACH, "p", payload, 5, 7, "ada")
    assert [each.payload["limit"] for each in told] == ["max_order_rate", "buying_power"]
    bare = order(4)._replace(state=OrderState.REJECTED, refusal=Refusal("R", "restricted", D(0), D(0)))
    folding.take_events([NumberedEvent(4, OrderEvent(ExecType.REJECTED, bare, 7, 5), "ada")])
    [breach] = folding.take_part()[1]
    assert breach.payload == {"order_id": "e-4", "strategy_id": "", "symbol": "A", "limit": "restricted"}


def test_a_near_breach_is_told_at_the_record_that_filled_and_again_by_none_who_was_restarted() -> None:
    folding = begun()
    folding.gate.set_limit(make_limit("max_position_quantity", D(10), "p"))
    buy = accepted(order(1, quantity="9"), "900", at=1)
    folding.take_events([buy, filled(buy, "100", at=2)])
    assert folding.take_part()[1] == []
    # Its record's fills may still have been coming: only who knows that all have values them.
    folding.settle(3)
    part, told = folding.take_part()
    assert part is not None
    assert [(each.kind, each.tape_sequence, each.payload["value"]) for each in told] == [(RiskKind.NEAR_BREACH, 2, "9")]
    assert part.told == (("max_position_quantity", Where("p"), AlarmKind.NEAR_BREACH),)
    again = begun(Part("e", part.cursor, part.marks, part.portfolios, {}, (), part.curve, part.told))
    again.gate.set_limit(make_limit("max_position_quantity", D(10), "p"))
    again.settle(SPLIT - 1)
    assert again.take_part()[1] == []


STOPS = (
    make_limit("max_daily_loss", D(10), "p1"),
    make_limit("max_daily_loss", D(20)),
    make_limit("max_daily_loss", D(5), strategy_id="s1"),
    make_limit("max_drawdown", D("0.003"), "p1"),
    make_limit("max_drawdown", D("0.005")),
    make_limit("max_leverage", D("0.3"), "p1"),
    make_limit("max_concentration", D("0.1")),
    make_limit("max_net_exposure", D(1_000), strategy_id="s2"),
    make_limit("maintenance_margin", D("3"), "p1"),
    make_limit("max_gross_exposure", D(900), strategy_id="s2", symbol="A"),
    make_limit("restricted", D(1), strategy_id="s2", symbol="A"),
)


@pytest.mark.parametrize("limit", STOPS, ids=lambda limit: f"{limit.name}-{'.'.join(limit.where)}")
def test_rule_31_every_verdict_is_the_backtests_whatever_is_restarted_in_between(limit: Limit) -> None:
    """What a backtest's gate was asked and said, asked again of one that follows the streams, saved and restored."""
    rng, limits = (
        random.Random(limit.name),
        (limit, make_limit("short_sale", D(1)), make_limit("initial_margin", D("0.6"))),
    )
    tape = merge([daily("A", walk(3, 50)), daily("B", walk(4, 50, 40)), clock(50), splits("A", {20: (3.0, 2.0)})])
    portfolios = [PortfolioPlan(f"p{i}", f"p{i}", D(6_000)) for i in (1, 2)]
    plans = [DeploymentPlan(i, f"d{i}", f"s{i}", OnBars(trade(i)), f"p{1 + i // 3}") for i in (1, 2, 3)]
    changes = [LimitChange(0, each) for each in limits]
    simulation = Simulation(tape, INSTRUMENTS, portfolios, plans, limits=changes)
    asked: list[tuple[int, int, Any, Any]] = []
    check = simulation.gate.check

    def recorded(*args: Any, **slip: Any) -> Any:
        verdict = check(*args, **slip)
        asked.append((len(simulation.result.events), simulation.position, args, verdict))
        return verdict

    simulation.gate.check = recorded  # type: ignore[method-assign]
    result = simulation.run()
    mixed = [(each, portfolio_id) for portfolio_id, of in result.entries.items() for each in of]
    mixed.sort(key=lambda pair: pair[0].tape_sequence)
    entries = [NumberedEntry(i, portfolio_id, each) for i, (each, portfolio_id) in enumerate(mixed, 1)]
    events = [NumberedEvent(i, each) for i, each in enumerate(result.events, 1)]

    def follower(part: Part | None) -> Folding:
        folding = Folding("e", part)
        for each in limits:
            folding.gate.set_limit(each)
        folding.begin(Scene(simulation.timeline, INSTRUMENTS, 0))
        return folding

    folding, stored, told = follower(None), None, list[Happening]()
    for head, position, args, verdict in asked:
        folding.take_events(events[folding.events_received : head])
        rest = entries[folding.entries_received :]
        folding.take_entries([each for each in rest if each.entry.tape_sequence <= position])
        folding.raise_barrier(position, 0)
        folding.advance()
        folding.mark(position, {args[0].symbol})
        folding.settle(position)
        assert folding.gate.check(*args) == verdict
        folding.gate.drop_unconfirmed()
        if rng.random() < 0.2:
            part, happened = folding.take_part()
            told += happened
            stored = _merged(stored, part)
            folding = follower(stored)
    told += folding.take_part()[1]
    refused = [each.refusal.limit for each in result.refusals if each.refusal]
    assert limit.name in refused
    breaches = [each.payload["limit"] for each in told if each.kind is RiskKind.BREACH]
    # Those after the last check were not fed to it.
    assert breaches in (refused, refused[:-1])


def trade(seed: int) -> Any:
    """A market order most days, of either side: so that positions turn, and lose."""

    def act(context: Context, bar: Bar) -> None:
        rng = random.Random(f"{seed}-{context.tape_sequence}")
        if rng.random() < 0.7:
            context.place(rng.choice(list(Side)), bar.symbol, D(rng.randint(1, 9)))

    return act


def _merged(before: Part | None, part: Part | None) -> Part | None:
    if before is None or part is None:
        return part or before
    claims = {key: value for key, value in (*before.claims.items(), *part.claims.items()) if key not in part.gone}
    portfolios = {**before.portfolios, **part.portfolios}
    return Part("e", part.cursor, part.marks, portfolios, claims, (), part.curve, part.told)
