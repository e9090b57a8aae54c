"""Writes the order lifecycle's diagram into the order service's README, or checks that it is what the table says."""

import argparse
import re
import sys
from collections import defaultdict
from collections.abc import Mapping, Set
from pathlib import Path

from services.domain.orders.lifecycle import TRANSITIONS
from services.domain.orders.order import TERMINAL, ExecType, OrderState

README = Path(__file__).resolve().parents[2] / "services/order/README.md"
_BLOCK = re.compile(r"```mermaid\nstateDiagram-v2\n.*?```", re.DOTALL)


def main() -> int:
    """Writes the diagram; with `--check` only says whether it is stale, by an exit code of 1."""
    parser = argparse.ArgumentParser(prog="python -m gen.generator.lifecycle", description=__doc__)
    parser.add_argument("--check", action="store_true", help="change nothing")
    check = parser.parse_args().check
    text = README.read_text("utf-8")
    fresh = with_diagram(text)
    if check and fresh != text:
        sys.stderr.write(f"stale, run `make gen`: the lifecycle in {README}\n")
        return 1
    if fresh != text:
        README.write_text(fresh, "utf-8")
    return 0


def with_diagram(text: str) -> str:
    """A README with the diagram in its one place.

    Raises:
        ValueError: it has no such place, or several.
    """
    fresh, count = _BLOCK.subn(lambda _: f"```mermaid\n{diagram(TRANSITIONS)}```", text)
    if count != 1:
        raise ValueError(f"the lifecycle has {count} places in {README}")
    return fresh


def diagram(transitions: Mapping[tuple[OrderState, ExecType], Set[OrderState]]) -> str:
    """A Mermaid state diagram, an arrow from state to state with the events that lead there."""
    events: dict[tuple[OrderState, OrderState], list[str]] = defaultdict(list)
    for (before, exec_type), afters in transitions.items():
        for after in afters:
            events[before, after].append(exec_type.name)
    arrows = [f"{before.name} --> {after.name}: {', '.join(events[before, after])}" for before, after in sorted(events)]
    ends = [f"{state.name} --> [*]" for state in sorted(TERMINAL)]
    first = [f"[*] --> {OrderState.PENDING_NEW.name}"]
    return "\n".join(["stateDiagram-v2", *(f"    {line}" for line in (*first, *arrows, *ends)), ""])


if __name__ == "__main__":
    sys.exit(main())
