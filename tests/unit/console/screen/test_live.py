"""The view of those whose output is no terminal."""

import asyncio
from decimal import Decimal

import pytest

from services.console.records import Replay
from services.console.screen import live
from services.console.screen.watch import Scene

REPLAY = Replay("replay-2", "Demonstration", "RUNNING", (), "us-daily", ("IBM",), 100, 1100, 600, 0, 40)


async def heard(capsys: pytest.CaptureFixture[str], count: int) -> list[str]:
    """What is said, once it is so many lines."""
    said = ""
    async with asyncio.timeout(30):
        while said.count("\n") < count:
            await asyncio.sleep(0.05)
            said += capsys.readouterr().out
    return said.splitlines()


async def test_it_says_once_what_to_try_and_waits_for_the_replay(capsys: pytest.CaptureFixture[str]) -> None:
    scene = Scene(begin_time=0, attached=True)
    drawing = asyncio.ensure_future(live.lines(scene, "127.0.0.1:8080"))
    await asyncio.sleep(0.1)
    assert not capsys.readouterr().out
    scene.begin(REPLAY, Decimal(1000))
    said = await heard(capsys, 6)
    drawing.cancel()
    assert said[0] == "See http://localhost:8080/ and http://localhost:8080/docs, or try from another terminal:"
    assert [line.split()[0] for line in said[1:4]] == ["grpcurl", "curl", "curl"]
    assert "portfolio_id=trend-2" in said[3]
    assert all("replay-2 RUNNING" in line for line in said[4:])


async def test_a_mesh_without_a_replay_is_told_as_such(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(live, "FIRST_LOOK_SECONDS", 0.1)
    drawing = asyncio.ensure_future(live.lines(Scene(begin_time=0), "127.0.0.1:8080"))
    said = await heard(capsys, 5)
    drawing.cancel()
    assert said[-1].endswith("no replay yet")
