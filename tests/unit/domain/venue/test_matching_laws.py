"""The paper venue's laws, over drawn tapes, orders and settings. The numbers are the behaviour's rules."""

from collections import defaultdict
from collections.abc import Iterator
from decimal import Decimal
from itertools import groupby, product
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from services.domain.filling import VenueSettings
from services.domain.market import Bar
from services.domain.orders.lists import paired, sized_by_parent
from services.domain.orders.order import (
    TERMINAL,
    ContingencyType,
    ExecType,
    Order,
    OrderEvent,
    OrderState,
    OrderType,
    Side,
    TimeInForce,
)
from services.domain.tape import Kind, Tape
from services.domain.venue.matching import Venue
from services.domain.venue.waiting import resting
from tests.unit.domain.venue.compare_venues import compare, differ, restored
from tests.unit.domain.venue.laws import in_parents_bar, plain_limit, rank
from tests.unit.domain.venue.matching_reference import (
    INSTRUMENTS,
    Command,
    any_commands,
    command_lists,
    drive,
    settings_drawn,
    tapes,
)

law = settings(max_examples=150, deadline=None)
SIZES = {Kind.BAR: (4, 4), Kind.QUOTE: (3, 2), Kind.TRADE: (1, 1), Kind.AUCTION: (1, 1)}
"""The columns that buys and sells take from."""


@pytest.fixture(autouse=True, scope="module")
def _look_ahead_in_small_steps() -> Iterator[None]:
    """Spans of a few rows, so that short tapes cross their edges as a million quotes would."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(resting, "_FIRST_SPAN", 3)
        patch.setattr(resting, "_LONGEST_SPAN", 12)
        yield


def run(tape: Tape, commands: list[Command], how: VenueSettings) -> list[OrderEvent]:
    return drive(Venue(INSTRUMENTS, how), tape, commands)


@settings(max_examples=800, deadline=None)
@given(tapes(), command_lists(), settings_drawn)
def test_rules_8_to_15_skipping_records_is_the_same_as_looking_at_each(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    assert not differ(tape, commands, how)


@pytest.mark.parametrize("first_seed", [1, 1_000_000])
def test_rules_8_to_15_the_slow_model_says_the_same_of_thousands_of_orders(first_seed: int) -> None:
    """``compare_venues`` goes through as many as are asked for."""
    compare(first_seed, 4_000)


@law
@given(tapes(), command_lists(), settings_drawn, st.lists(st.integers(0, 90)))
def test_rule_34_nothing_depends_on_how_far_each_grant_goes(
    tape: Tape, commands: list[Command], how: VenueSettings, grants: list[int]
) -> None:
    in_steps = drive(Venue(INSTRUMENTS, how), tape, commands, grants)
    one_by_one = drive(Venue(INSTRUMENTS, how), tape, commands, range(len(tape)))
    assert in_steps == one_by_one == run(tape, commands, how)


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_2_a_venue_restored_at_any_moment_is_the_venue_that_ran_through(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    assert drive(Venue(INSTRUMENTS, how), tape, commands, between=restored(tape, how)) == run(tape, commands, how)


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_7_leaves_and_cum_make_the_quantity_and_fills_never_exceed_it(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in run(tape, commands, how):
        order = event.order
        if event.exec_type is ExecType.RESTATED:
            filled[order.order_id] = order.cum_quantity
        filled[order.order_id] += event.last_quantity
        assert order.cum_quantity == filled[order.order_id] <= order.quantity
        assert order.leaves_quantity == (0 if order.state in TERMINAL else order.quantity - order.cum_quantity)
        assert (event.exec_type is ExecType.TRADE) is (event.last_quantity > 0)
        assert (order.state is OrderState.FILLED) <= (order.cum_quantity == order.quantity)
        if order.cash_quantity is not None:
            assert order.gross_amount <= order.cash_quantity


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_7_every_order_ends_once_and_its_events_are_numbered_without_gaps(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    by_order: dict[str, list[OrderEvent]] = defaultdict(list)
    for event in run(tape, commands, how):
        by_order[event.order.order_id].append(event)
    for order_id, events in by_order.items():
        assert [e.exec_id for e in events] == [f"{order_id}-{n + 1}" for n in range(len(events))]
        assert [e.order.state in TERMINAL for e in events] == [False] * (len(events) - 1) + [True]


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_12_nothing_fills_on_a_record_from_before_the_order_was_live(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    for event in run(tape, commands, how):
        if event.exec_type in {ExecType.TRADE, ExecType.TRIGGERED}:
            record = tape.record(event.tape_sequence)
            start = record.start if isinstance(record, Bar) else record.time
            if in_parents_bar(event):
                assert event.tape_sequence == event.order.basis_sequence
            else:
                assert event.tape_sequence > event.order.basis_sequence
                assert start >= event.order.basis_time + event.order.latency
            assert event.transact_time in {start, int(tape.time[event.tape_sequence - 1])}


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_8_a_limit_never_fills_worse_than_its_price_and_a_stop_never_better(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    triggers: dict[str, int] = {}
    for event in run(tape, commands, how):
        order, sign = event.order, 1 if event.order.side is Side.BUY else -1
        if event.exec_type is ExecType.TRIGGERED:
            triggers[order.order_id] = event.tape_sequence
        if event.exec_type is not ExecType.TRADE:
            continue
        if order.limit_price is not None:
            assert sign * event.last_price <= sign * order.limit_price
        elif order.stop_price is not None and triggers[order.order_id] == event.tape_sequence:
            beyond = sign * (event.last_price - order.stop_price)
            if order.order_type is not OrderType.MARKET_IF_TOUCHED:
                assert beyond >= 0
            elif (order.costs is None or order.costs.slippage is None) and not tape.behind(event.tape_sequence - 1):
                # Where it walks a quote's levels, the farther ones may lie beyond what it waited for.
                assert beyond <= 0


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_11_all_fills_of_a_record_stay_within_the_share_of_its_size(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    taken: dict[tuple[int, int], Decimal] = defaultdict(Decimal)
    shares: dict[tuple[int, int], list[Decimal | None]] = defaultdict(list)
    for event in run(tape, commands, how):
        if not event.last_quantity:
            continue
        sequence, share = event.tape_sequence, (event.order.fill_settings or how).volume_share
        number = tape.source[sequence - 1]
        columns, behind = SIZES[tape.sources[number].kind], tape.behind(sequence - 1)
        column = columns[event.order.side is Side.SELL]
        taken[sequence, column] += event.last_quantity
        shares[sequence, column].append(share)
        if None in shares[sequence, column] or not tape.values[tape.source == number][:, list(columns)].any():
            continue
        # At a level an order may meet less than its share, as others with larger ones had more of those before.
        most = max(each for each in shares[sequence, column] if each is not None) if behind else share
        own = 1 if event.order.side is Side.SELL else 3
        size = tape.values[sequence - 1, column] + sum(level[own] for level in behind)
        assert most is not None
        assert taken[sequence, column] <= most * Decimal(size)


@law
@given(tapes(), command_lists(), settings_drawn)
def test_rule_11_a_record_fills_the_better_price_first_and_at_one_price_the_earlier(
    tape: Tape, commands: list[Command], how: VenueSettings
) -> None:
    """Where a limit order got something, a like one with priority over it wanted nothing more."""
    working: dict[str, Order] = {}
    for _, record in groupby(run(tape, commands, how), key=lambda e: e.tape_sequence):
        batch = list(record)
        got = {e.order.order_id: e.order for e in batch if e.exec_type is ExecType.TRADE}
        for (mine, before), theirs in product(working.items(), got.values()):
            if terms(before) != terms(theirs) or not plain_limit(before) or not plain_limit(theirs):
                continue
            if rank(before) < rank(theirs):
                assert mine in got
                assert got[mine].leaves_quantity == 0
        for event in batch:
            working[event.order.order_id] = event.order
            if event.order.state in TERMINAL or event.order.state is OrderState.HELD:
                del working[event.order.order_id]


@law
@given(tapes(), st.integers(0, 2**32), settings_drawn)
def test_rule_13_twins_together_never_fill_more_than_one_of_them_was_to(
    tape: Tape, seed: int, how: VenueSettings
) -> None:
    """Of a bracket's children, than the parent's fills brought; a split would need new units."""
    rng = Random(seed)
    split = {tape.sources[number].symbol for number in tape.source if tape.sources[number].kind is Kind.SPLIT}
    events = run(tape, any_commands(rng, 10, len(tape), lists=1.0), how)
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in events:
        order = event.order
        if order.symbol in split or not order.order_list_id:
            continue
        came = event.last_quantity - event.last_commission_quantity
        if sized_by_parent(order):
            filled[order.order_list_id] += came
            # Covers that pay in units pay whole steps, each of the two by itself.
            more = INSTRUMENTS[order.symbol].quantity_increment if order.costs and order.costs.in_units else 0
            assert filled[order.order_list_id] <= filled[order.parent_order_id + "+"] + more
        elif paired(order):
            filled[order.order_list_id] += event.last_quantity
            first = next(e.order for e in events if e.order.order_id == order.order_list_id)
            assert filled[order.order_list_id] <= first.quantity
        else:
            filled[order.order_id + "+"] += came


def terms(order: Order) -> tuple[object, ...]:
    """What orders must have in common to stand in one queue; one that may not rest has no place in any."""
    rests = order.time_in_force is not TimeInForce.IOC
    return order.symbol, order.side, order.fill_settings, order.basis_time, order.latency, rests


@law
@given(tapes(), command_lists(), settings_drawn, st.integers(0, 3000), st.integers(0, 2000))
def test_rule_19_buys_never_cost_more_than_what_was_set_aside_and_the_headroom(
    tape: Tape, commands: list[Command], how: VenueSettings, reserved: int, headroom: int
) -> None:
    """One order only, so that no later verdict restates the headroom."""
    first = commands[0] if commands[0].sent else next(c for c in commands if c.sent)
    alone = first.sent[0]._replace(order_list_id="", contingency_type=ContingencyType.NONE)
    money = alone.reservation._replace(cash=Decimal(reserved), headroom=Decimal(headroom))
    only = alone._replace(side=Side.BUY, reservation=money)
    events = run(tape, [Command(first.position, only)], how)
    last = events[-1].order
    in_units = last.costs is not None and last.costs.in_units
    cost = last.gross_amount + (0 if in_units else last.commission)
    assert cost <= reserved + headroom
    if events[0].exec_type is not ExecType.REJECTED:
        assert last.reservation.headroom == reserved + headroom - cost
