"""The diagram in the order service's README says what the lifecycle's table says, no more and no less."""

import re

import pytest

from gen.generator.lifecycle import README, diagram, with_diagram
from services.domain.orders.lifecycle import TRANSITIONS
from services.domain.orders.order import TERMINAL, ExecType, OrderState


def test_its_arrows_are_the_table() -> None:
    arrows = re.findall(r"^    (\w+) --> (\w+): (.+)$", README.read_text("utf-8"), re.MULTILINE)
    drawn = {(before, each, after) for before, after, events in arrows for each in events.split(", ")}
    assert drawn == {
        (before.name, event.name, after.name) for (before, event), afters in TRANSITIONS.items() for after in afters
    }


def test_another_table_makes_it_stale() -> None:
    text = README.read_text("utf-8")
    assert with_diagram(text) == text
    stale = text.replace("    NEW --> FILLED: TRADE\n", "")
    assert with_diagram(stale) == text != stale


def test_the_first_state_begins_and_the_last_ones_end() -> None:
    lines = diagram({(OrderState.PENDING_NEW, ExecType.REJECTED): frozenset({OrderState.REJECTED})}).splitlines()
    assert lines[:3] == ["stateDiagram-v2", "    [*] --> PENDING_NEW", "    PENDING_NEW --> REJECTED: REJECTED"]
    assert set(lines[3:]) == {f"    {state.name} --> [*]" for state in TERMINAL}


def test_a_readme_without_a_place_for_it_is_an_error() -> None:
    with pytest.raises(ValueError, match="0 places"):
        with_diagram("# order")
