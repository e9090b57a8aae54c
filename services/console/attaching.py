"""What `tickmesh up` makes sure of where the mesh runs already."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from services.console.layout import Layout, Trouble
from services.console.processes.pids import environment
from services.console.processes.supervision import Supervisor

if TYPE_CHECKING:
    from services.console.settings import Difference


def attach(layout: Layout, supervisor: Supervisor) -> None:
    """Says which settings the mesh was started with are others than those here.

    Raises:
        Trouble: one was asked for here, which the mesh does not do, or is where we would look for it.
    """
    from services.console.settings import differing

    found = list(differing(environment(supervisor.pid) or os.environ))
    if not found:
        return
    lines = [f"  {each.variable}: {_told(each)}" for each in found]
    text = "\n".join([f"The mesh in {layout.directory} runs with other settings than those here:", *lines])
    if any(each.given or each.variable.endswith("_ADDRESS") for each in found):
        raise Trouble(f"{text}\nIt keeps those that it was started with: `tickmesh down` stops it first.")
    print(text, flush=True)


def _told(found: Difference) -> str:
    """Both values; of two secrets, which look alike, that they differ."""
    if found.here == found.there:
        return f"{found.there} there, another here"
    return f"{found.there or 'not set'} there, {found.here or 'not set'} here"
