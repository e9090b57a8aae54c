"""Kinds are found wherever they are, and what is broken is left out."""

import logging
import os
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from services.domain.deployment.parameters import BadParameter
from services.domain.strategies import SmaCross
from services.domain.strategy import Strategy
from services.strategy.workshop import kinds
from services.strategy.workshop.kinds import Kinds, discover

MINE = """
from dataclasses import dataclass
from decimal import Decimal
from services.domain.strategies import SmaCross
from services.domain.strategy import Strategy, parameter

class Base(Strategy):
    "A base without a kind."

class Mine(Base):
    "Mine."
    kind = "{kind}"

    @dataclass(frozen=True)
    class Parameters:
        size: Decimal = parameter(Decimal("1.50"), "Units.", minimum=0)
        bold: bool = parameter(False, "Whether to dare.")
"""


def write(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    return folder / name


def names(found: Kinds) -> dict[str, str]:
    return {kind.kind.kind: kind.origin for kind in found.all()}


BUILT_IN = {"mean_reversion": "built-in", "sma_cross": "built-in"}


def test_without_anything_else_there_are_the_built_in_ones() -> None:
    assert names(discover()) == BUILT_IN


def test_files_and_folders_are_read_and_modules_of_one_name_do_not_meet(tmp_path: Path) -> None:
    write(tmp_path / "a", "mine.py", MINE.format(kind="one"))
    write(tmp_path / "a", "_helper.py", MINE.format(kind="hidden"))
    write(tmp_path / "a", "notes.txt", "not Python")
    alone = write(tmp_path / "b", "mine.py", MINE.format(kind="two"))
    found = discover(os.pathsep.join([str(tmp_path / "a"), "", str(alone)]))
    assert names(found) == BUILT_IN | {"one": "mine.py", "two": "mine.py"}
    assert type(found.create("one", {}, ["A"])) is not type(found.create("two", {}, ["A"]))
    assert found.create("two", {"size": "2"}, ["A"]).symbols == ("A",)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("import nothing_of_this_name", "a strategy file cannot be loaded"),
        ("this is no python", "a strategy file cannot be loaded"),
        ("raise SystemExit(3)", "a strategy file cannot be loaded"),
        ("x = 1", "a strategy file holds no strategy"),
        (MINE.format(kind="sma_cross"), "a strategy was refused"),
        (MINE.format(kind="has space"), "a strategy was refused"),
        (MINE.format(kind="fine").replace('Decimal("1.50")', "None"), "a strategy was refused"),
        (MINE.format(kind="fine").replace("size: Decimal", "size: Nothing"), "a strategy"),
    ],
)
def test_what_is_broken_is_logged_and_left_out(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, text: str, said: str
) -> None:
    write(tmp_path, "a_broken.py", text)
    write(tmp_path, "b_sound.py", MINE.format(kind="sound"))
    with caplog.at_level(logging.WARNING):
        found = discover(str(tmp_path))
    assert names(found) == BUILT_IN | {"sound": "b_sound.py"}
    assert type(found.create("sma_cross", {}, ["A"])) is SmaCross
    assert any(said in record.getMessage() for record in caplog.records)


def test_a_path_that_is_not_there_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    assert names(discover("/nowhere/at/all")) == BUILT_IN
    assert "there are no strategies here" in caplog.text


class Packaged(Strategy):
    """From a package."""

    kind = "packaged"


def test_packages_name_theirs_as_entry_points(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    points = [
        EntryPoint("packaged", f"{__name__}:Packaged", kinds.GROUP),
        EntryPoint("all", __name__, kinds.GROUP),
        EntryPoint("odd", f"{__name__}:MINE", kinds.GROUP),
        EntryPoint("gone", "no_such_package:Strategy", kinds.GROUP),
    ]
    monkeypatch.setattr(kinds, "entry_points", lambda group: points if group == kinds.GROUP else [])
    assert names(discover()) == BUILT_IN | {"packaged": __name__}
    assert "an entry point is no strategy" in caplog.text
    assert "a package's strategies cannot be loaded" in caplog.text


@pytest.mark.parametrize("text", ["1e5", "NaN", ".5", "1" * 19, "1e999999999", "-1", "x", ""])
def test_a_decimal_is_one_of_the_wire(tmp_path: Path, text: str) -> None:
    found = discover(str(write(tmp_path, "mine.py", MINE.format(kind="mine"))))
    with pytest.raises(BadParameter) as refused:
        found.parameters("mine", {"size": text})
    assert refused.value.parameter == "size"


def test_parameters_are_all_there_as_text(tmp_path: Path) -> None:
    found = discover(str(write(tmp_path, "mine.py", MINE.format(kind="mine"))))
    assert found.parameters("mine", {}) == {"size": "1.50", "bold": "false"}
    assert found.parameters("mine", {"size": " 2.0 ", "bold": "TRUE"}) == {"size": "2.0", "bold": "true"}
    assert found.parameters("mine", found.parameters("mine", {})) == found.parameters("mine", {})
    with pytest.raises(KeyError):
        found.parameters("nobody", {})
