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
from pathlib import Path

from gen.generator import third_party

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build"
OUTPUTS = ("gen/python", "gen/client", "gen/openapi", "gen/tickmesh.binpb")


def main() -> int:
    """Runs one of the three modes; the exit code is non-zero when a check finds stale files."""
    parser = argparse.ArgumentParser(prog="python -m gen.generator", description=__doc__)
    mode = parser.add_mutually_exclusive_group()
    mode.add_argument("--check", action="store_true", help="regenerate elsewhere and compare")
    mode.add_argument("--third-party", action="store_true", help="only gather what buf needs to lint")
    arguments = parser.parse_args()
    third_party.gather(BUILD / "third_party")
    if arguments.third_party:
        return 0
    if arguments.check:
        return check()
    generate(ROOT)
    return 0


def generate(target: Path) -> None:
    """Writes every output below `target`, replacing what is there."""
    _run("buf", "generate", "--output", str(target))
    third_party.generate_python(BUILD / "third_party", target / "gen/python")
    _mark_packages(target / "gen/python/tickmesh")
    (target / "gen/client/tickmesh_api/py.typed").touch()
    # Of the whole workspace: Envoy must know every error-detail type, and google.rpc is imported by none of ours.
    _run("buf", "build", "--exclude-source-info", "--as-file-descriptor-set", "-o", str(target / "gen/tickmesh.binpb"))


def check() -> int:
    """Returns 1 and names the stale files if what is committed is not what the protos give."""
    fresh = BUILD / "gen-check"
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    generate(fresh)
    stale = [str(path) for path in sorted(_files(ROOT) | _files(fresh)) if not _same(ROOT / path, fresh / path)]
    if stale:
        print("stale, run `make gen`:", *stale, sep="\n  ", file=sys.stderr)
    return 1 if stale else 0


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


if __name__ == "__main__":
    sys.exit(main())
