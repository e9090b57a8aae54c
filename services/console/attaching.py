"""What `tickmesh up` makes sure of where the mesh runs already."""

from __future__ import annotations

import os

from services.console.layout import Layout, Trouble
from services.console.processes.pids import environment
from services.console.processes.supervision import Supervisor


def attach(layout: Layout, supervisor: Supervisor) -> None:
    """Says which settings the mesh was started with are others than those here.

    Raises:
        Trouble: one was asked for here, which the mesh does not do, or is where we would look for it.
    """
    from services.console.settings import differing

    found = list(differing(environment(supervisor.pid) or os.environ))
    if not found:
        return
    lines = [f"  {each.variable}: {each.there or 'not set'} there, {each.here or 'not set'} here" for each in found]
    text = "\n".join([f"The mesh in {layout.directory} runs with other settings than those here:", *lines])
    if any(each.given or each.variable.endswith("_ADDRESS") for each in found):
        raise Trouble(f"{text}\nIt keeps those that it was started with: `tickmesh down` stops it first.")
    print(text, flush=True)
