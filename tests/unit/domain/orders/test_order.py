"""The order lifecycle and what an order holds of its reservation. The numbers are the behaviour's rules."""

from decimal import Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.domain.orders.lifecycle import TRANSITIONS, IllegalTransition, check_transition
from services.domain.orders.order import (
    TERMINAL,
    ExecType,
    Order,
    OrderState,
    OrderType,
    Reservation,
    Side,
    TimeInForce,
    reserved_cash,
)

ORDER = Order("env-1", "c", "P", "X", Side.BUY, OrderType.MARKET, TimeInForce.GTC, quantity=Decimal(7))
WORKING = [OrderState.NEW, OrderState.TRIGGERED, OrderState.PARTIALLY_FILLED]


@pytest.mark.parametrize(("before", "exec_type", "after"), list(product(OrderState, ExecType, OrderState)))
def test_rule_6_an_event_that_does_not_fit_the_state_is_refused(
    before: OrderState, exec_type: ExecType, after: OrderState
) -> None:
    if after in TRANSITIONS.get((before, exec_type), frozenset()):
        check_transition(before, exec_type, after)
    else:
        with pytest.raises(IllegalTransition):
            check_transition(before, exec_type, after)


def test_rule_6_what_is_finished_stays_finished_and_all_else_can_be_ended() -> None:
    assert not [before for before, _ in TRANSITIONS if before in TERMINAL]
    for state in (OrderState.HELD, *WORKING):
        check_transition(state, ExecType.CANCELED, OrderState.CANCELED)
        check_transition(state, ExecType.EXPIRED, OrderState.EXPIRED)
        check_transition(state, ExecType.RESTATED, state)
        check_transition(state, ExecType.REPLACED, state)


def test_rule_6_only_working_orders_trade_and_only_new_ones_are_rejected() -> None:
    assert {before for before, exec_type in TRANSITIONS if exec_type is ExecType.TRADE} == set(WORKING)
    assert {before for before, exec_type in TRANSITIONS if exec_type is ExecType.REJECTED} == {OrderState.PENDING_NEW}


def test_rule_6_every_state_can_be_reached() -> None:
    assert {after for afters in TRANSITIONS.values() for after in afters} == set(OrderState) - {OrderState.PENDING_NEW}


@given(st.decimals(0, 10**9, places=2), st.integers(1, 10**6), st.data())
def test_rules_4_and_19_fills_release_the_reservation_step_by_step_and_the_end_releases_the_rest(
    cash: Decimal, quantity: int, data: st.DataObject
) -> None:
    order = ORDER._replace(quantity=Decimal(quantity), reservation=Reservation(cash))
    assert reserved_cash(order) == cash
    cums = sorted(data.draw(st.lists(st.integers(1, quantity), max_size=5, unique=True)))
    held = [cash]
    for cum in cums:
        state = OrderState.FILLED if cum == quantity else OrderState.PARTIALLY_FILLED
        order = order._replace(state=state, cum_quantity=Decimal(cum), leaves_quantity=Decimal(quantity - cum))
        held.append(reserved_cash(order))
    assert held == sorted(held, reverse=True)
    assert reserved_cash(order._replace(state=OrderState.CANCELED)) == 0
    if cums and cums[-1] == quantity:
        assert held[-1] == 0


def test_rule_12_an_order_by_cash_holds_the_cash_it_has_not_traded() -> None:
    order = ORDER._replace(quantity=Decimal(0), cash_quantity=Decimal(100), reservation=Reservation(Decimal(100)))
    assert reserved_cash(order) == 100
    part = order._replace(state=OrderState.PARTIALLY_FILLED, gross_amount=Decimal("60.5"))
    assert reserved_cash(part) == Decimal("39.5")
    assert reserved_cash(part._replace(state=OrderState.CANCELED)) == 0
