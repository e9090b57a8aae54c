"""Generates gen/{python,client,openapi,tickmesh.binpb} from proto/, or checks that they are fresh.

buf.gen.yaml says which plugins run; this adds what no plugin can do: third-party protos without a network, package
markers, and the descriptor set.
"""

import argparse
import filecmp
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from gen.generator import third_party

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
OUTPUTS = ("gen/python", "gen/client", "gen/openapi", "gen/tickmesh.binpb")


def main() -> int:
    """Runs one of the three modes; the exit code is 1 when a check finds stale files."""
    parser = argparse.ArgumentParser(prog="python -m gen.generator", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="name what is stale, change nothing")
    mode.add_argument("--third-party", action="store_true", help="only gather what buf needs to lint")
    arguments = parser.parse_args()
    third_party.gather(BUILD / "third_party")
    if arguments.third_party:
        return 0
    # Elsewhere first: a failing plugin then leaves gen/ as it was, and fresh files keep their times.
    with tempfile.TemporaryDirectory(prefix="gen-", dir=BUILD) as folder:
        fresh = Path(folder)
        generate(fresh)
        stale = sorted(path for path in _files(ROOT) | _files(fresh) if not _same(ROOT / path, fresh / path))
        if arguments.check:
            return _report(stale)
        for path in stale:
            _replace(fresh / path, ROOT / path)
    return 0


def generate(target: Path) -> None:
    """Writes every output below the empty folder `target`."""
    _run("buf", "generate", "--output", str(target))
    third_party.generate_python(BUILD / "third_party", target / "gen/python")
    _mark_packages(target / "gen/python/tickmesh")
    # Of the whole workspace: Envoy must know every error-detail type, and none of our protos imports those.
    _run("buf", "build", "--exclude-source-info", "--as-file-descriptor-set", "-o", str(target / "gen/tickmesh.binpb"))


def _run(*command: str) -> None:
    # Plugins and what they start (ruff, for betterproto2) are found beside this interpreter.
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    done = subprocess.run(
        command,
        cwd=ROOT,
        env={**os.environ, "PATH": path, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    if done.returncode != 0:  # The plugins' chatter is worth reading only then.
        sys.exit(f"{done.stdout}{' '.join(command)} failed with {done.returncode}")


def _mark_packages(package: Path) -> None:
    for folder in (package, *(path for path in package.rglob("*") if path.is_dir())):
        (folder / "__init__.py").touch()
    (package / "py.typed").touch()
    for stub in package.rglob("*_pb2_grpc.pyi"):  # mypy-protobuf writes one for files without a service too.
        if not stub.with_suffix(".py").exists():
            stub.unlink()


def _files(root: Path) -> set[Path]:
    found = set[Path]()
    for output in OUTPUTS:
        path = root / output
        inside = path.rglob("*") if path.is_dir() else [path]
        found |= {file.relative_to(root) for file in inside if file.is_file() and "__pycache__" not in file.parts}
    return found


def _same(one: Path, other: Path) -> bool:
    return one.is_file() and other.is_file() and filecmp.cmp(one, other, shallow=False)


def _report(stale: list[Path]) -> int:
    if stale:
        print("stale, run `make gen`:", *stale, sep="\n  ", file=sys.stderr)
    return 1 if stale else 0


def _replace(fresh: Path, committed: Path) -> None:
    if fresh.exists():
        committed.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(fresh, committed)
    else:
        committed.unlink()


if __name__ == "__main__":
    sys.exit(main())
