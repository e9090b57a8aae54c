"""What the README tells a newcomer to type works, block after block, in one shell and in its order."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.e2e.console.terminal import PATIENCE_SECONDS, Mesh
from tests.e2e.mesh import PROJECT

pytestmark = pytest.mark.timeout(400)
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EDGE = "localhost:8080"
RESTART = "(`tickmesh down`, then `tickmesh up`)"
FILE = re.compile(r"# (\S+\.py)\n")
NOT_RUN = {
    "go mod download": "builds Jaeger, of sources from the network, in minutes",
    "tickmesh down\nTICKMESH_OTLP_ENDPOINT": "starts the mesh once more, to tell that Jaeger",
    "curl -s 'localhost:16686/": "asks that Jaeger",
    "context.": "is a line of a strategy, of which the lines around it are not there",
}
"""Blocks by how they begin, and why they cannot run here."""


def script(readme: str, edge: str) -> Iterator[str]:
    """One shell script of all its blocks, which ends at the first that fails and names it.

    Raises:
        ValueError: a block of which nothing says how to run it.
    """
    yield "set -Eeuo pipefail; at=start; trap 'echo \"README.md line $at failed\" >&2' ERR"
    # What people see as an answer is a failure to a script.
    yield 'curl() { command curl --fail-with-body --silent --show-error "$@"; }'
    yield "tickmesh up --detach"
    end = 0
    for found in BLOCK.finditer(readme):
        before, (language, text), end = readme[end : found.start()], found.groups(), found.end()
        yield f"at={readme.count(chr(10), 0, found.start()) + 1}"
        if RESTART in before:
            yield "tickmesh down; tickmesh up --detach"
        if language not in {"sh", "python"} or text.startswith(tuple(NOT_RUN)):
            continue
        text = text.replace(EDGE, edge)
        if language == "sh":
            yield text
        elif file := FILE.match(text):
            yield f"mkdir -p $(dirname {file[1]}); cat > {file[1]} <<'END'\n{text}END"
        elif text.startswith("import "):
            yield f"python - <<'END'\n{text}END"
        else:
            raise ValueError(f"Python that is neither a file nor a program: {text}")


def test_what_the_readme_tells_to_type_works(mesh: Mesh, tmp_path: Path, tool: Callable[[str], str]) -> None:
    for name in ("bash", "curl", "grpcurl"):
        tool(name)
    readme = (PROJECT / "README.md").read_text("utf-8")
    blocks = [text for language, text in BLOCK.findall(readme) if language in {"sh", "python"}]
    for beginning, why in NOT_RUN.items():
        assert len([text for text in blocks if text.startswith(beginning)]) == 1, f"{beginning!r}: which {why}"
    typed = "\n".join(script(readme, mesh.edge.removeprefix("http://")))
    programs = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        ["bash", "-c", typed],
        cwd=tmp_path,
        env=mesh.environment | {"PATH": programs},
        capture_output=True,
        text=True,
        timeout=2 * PATIENCE_SECONDS,
        check=False,
    )
    said = f"{done.stdout}\n{done.stderr}"
    assert done.returncode == 0, said
    assert re.search(r"replay-1-1  buy for .* portfolio trend: ", done.stdout), said
    assert '"deployment_id":"mine-1"' in done.stdout.replace(" ", ""), said
