"""`tickmesh up` as people use it: real processes, real Envoy, a directory of its own."""

import os
import re
import signal
import socket

import httpx
import pytest

from tests.e2e.console.terminal import PATIENCE_SECONDS, Mesh

pytestmark = pytest.mark.timeout(400)
MOST_MEGABYTES = 600
"""All processes together, pages that they share counted once."""


def test_a_day_in_the_life(mesh: Mesh) -> None:
    up = mesh.up()
    up.wait_for(r"first fill [0-9.]+ s after the start")
    up.wait_for(r"replay-1 RUNNING .* Trend [0-9,.]+  Reversion [0-9,.]+$")

    # A killed service comes back and trading goes on.
    os.kill(mesh.pid("order"), signal.SIGKILL)
    status = mesh.serving(r"^order +[0-9]+ +[0-9:]+ +1 ")
    together = re.search(r"^together +([0-9]+) MB", status, re.MULTILINE)
    assert together, status
    assert int(together[1]) < MOST_MEGABYTES, status
    up.wait_for(r"  fill  ", after=len(up.lines))

    # What the mesh came to so far is what a backtest comes to.
    compared = mesh.run("backtest", "--environment", "replay-1")
    assert compared.returncode == 0, compared.stdout + compared.stderr
    assert "\nequal\n" in compared.stdout
    assert not re.search(r"^Trend +0 ", compared.stdout, re.MULTILINE)

    # A second one attaches, and leaves without stopping anything.
    second = mesh.up()
    second.wait_for(rf"^See {mesh.edge.replace('127.0.0.1', 'localhost')}/ and ")
    second.wait_for(r"replay-1 RUNNING .* fills [1-9]")
    assert second.stop() == 0
    assert "goes on" in second.lines[-1]
    mesh.serving()

    # One that asks for other settings is told that the mesh keeps its own.
    mesh.environment["TICKMESH_LOG_LEVEL"] = "DEBUG"
    other = mesh.run("up", "--detach")
    assert (other.returncode, other.stdout) == (1, "")
    assert "\n  TICKMESH_LOG_LEVEL: INFO there, DEBUG here\n" in other.stderr
    del mesh.environment["TICKMESH_LOG_LEVEL"]
    # Who has fewer only looks at it.
    patience = mesh.environment.pop("TICKMESH_CALL_DEADLINE_SECONDS")
    looking = mesh.up()
    looking.wait_for(rf"^  TICKMESH_CALL_DEADLINE_SECONDS: {float(patience)} there, 5.0 here$")
    assert looking.stop() == 0
    mesh.environment["TICKMESH_CALL_DEADLINE_SECONDS"] = patience
    mesh.serving()

    # Ctrl-C drains, and says what was kept.
    assert up.stop() == 0
    assert not any("Traceback" in line for line in up.lines)
    kept = next(line for line in up.lines if "stands at record" in line)
    position = int(re.findall(r"record ([0-9,]+)", kept)[0].replace(",", ""))
    assert mesh.run("status").returncode == 3

    # The next one goes on from there, in the background.
    again = mesh.up("--detach")
    assert again.process.wait(timeout=PATIENCE_SECONDS) == 0
    back = mesh.up()
    # It tells only of fills that come while it looks.
    back.wait_for(r"  fill  ")
    assert back.stop() == 0
    records = re.findall(r"^replay-1 .* ([0-9,]+) of [0-9,]+ ", mesh.serving(r"^replay-1 "), re.MULTILINE)
    assert [int(record.replace(",", "")) > position for record in records] == [True]
    compared = mesh.run("backtest", "--environment", "replay-1")
    assert compared.returncode == 0, compared.stdout + compared.stderr

    # One that has ended is followed by the next.
    httpx.post(f"{mesh.edge}/api/v1/environments/replay-1:stop", json={}, timeout=PATIENCE_SECONDS).raise_for_status()
    third = mesh.up()
    third.wait_for(r"replay-2 RUNNING")

    # Stopped from elsewhere, the view ends too.
    assert mesh.run("down").returncode == 0
    assert third.process.wait(timeout=PATIENCE_SECONDS) == 0
    assert mesh.run("status").returncode == 3


def test_a_service_that_cannot_start_stops_everything_and_is_shown(mesh: Mesh) -> None:
    mesh.environment["TICKMESH_ORDER_DATABASE_URL"] = "sqlite:////dev/null/no/such.db"
    up = mesh.up()
    assert up.process.wait(timeout=PATIENCE_SECONDS) == 1
    up._reader.join(timeout=10)
    said = "\n".join(up.lines)
    assert "order did not start" in said
    assert "order.log" in said
    assert mesh.run("status").returncode == 3
    assert not list((mesh.directory / "run").iterdir())
    for name, address in mesh.environment.items():
        if name.endswith("_ADDRESS"):
            with pytest.raises(ConnectionRefusedError):
                socket.create_connection((address.split(":")[0], int(address.split(":")[1])), 1)
