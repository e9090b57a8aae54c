"""What guards the project in continuous integration fails when it cannot look, instead of passing."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest

PROJECT = Path(__file__).resolve().parents[3]


def run(*command: str, folder: Path, ci: bool) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if name not in {"CI", "MAKEFLAGS"}}
    if ci:
        environment["CI"] = "true"
    return subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)


def commit(folder: Path) -> None:
    name = ("-c", "user.name=test", "-c", "user.email=test@localhost")
    subprocess.run(["git", *name, "commit", "--quiet", "--allow-empty", "-m", "more"], cwd=folder, check=True)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """One commit, with the check in it."""
    folder = tmp_path / "whole"
    (folder / ".ci").mkdir(parents=True)
    shutil.copy(PROJECT / ".ci" / "breaking", folder / ".ci")
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)
    subprocess.run(["git", "add", "."], cwd=folder, check=True)
    commit(folder)
    return folder


@pytest.mark.parametrize("ci", [True, False])
def test_a_first_commit_breaks_nothing(repository: Path, ci: bool) -> None:
    done = run(".ci/breaking", folder=repository, ci=ci)
    assert (done.returncode, done.stdout) == (0, "buf breaking: nothing to compare with\n")


def test_a_shallow_clone_does_not_pass_unseen(repository: Path, tmp_path: Path) -> None:
    commit(repository)
    shallow = tmp_path / "shallow"
    subprocess.run(["git", "clone", "--quiet", "--depth=1", f"file://{repository}", str(shallow)], check=True)
    assert run(".ci/breaking", folder=shallow, ci=False).returncode == 0
    done = run(".ci/breaking", folder=shallow, ci=True)
    assert done.returncode == 1
    assert "this clone is shallow" in done.stderr


@pytest.mark.parametrize(
    ("ci", "code", "passes"),
    [(False, 0, True), (False, 5, True), (False, 1, False), (True, 0, True), (True, 5, False), (True, 4, False)],
)
def test_no_tests_are_a_failure_in_ci_alone(ci: bool, code: int, passes: bool) -> None:
    arguments = ("-s", "-o", "setup-dev", "test-e2e", f"PYTEST=bash -c 'exit {code}' --")
    assert (run("make", *arguments, folder=PROJECT, ci=ci).returncode == 0) is passes
