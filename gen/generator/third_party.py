"""The protos of others that ours import, found without a network.

google/* comes with `googleapis-common-protos`. buf/validate/validate.proto is in no wheel, so it is taken from the
source distribution named in validate-proto.txt; its messages are those of the installed protovalidate (1.2 and 2.1
differ only in other languages' file options).
"""

import importlib.resources
import shutil
import subprocess
import sys
import tarfile
import tempfile
from importlib.metadata import files
from pathlib import Path

from grpc_tools import protoc

GOOGLE = (
    "google/api/annotations.proto",
    "google/api/field_behavior.proto",
    "google/api/http.proto",
    "google/rpc/code.proto",
    "google/rpc/error_details.proto",
    "google/rpc/status.proto",
)
VALIDATE = "buf/validate/validate.proto"
VALIDATE_SOURCE = Path(__file__).parent / "validate-proto.txt"


def gather(target: Path) -> None:
    """Copies the protos into `target`, laid out by import path. What is there already stays."""
    installed = {str(file): Path(str(file.locate())) for file in files("googleapis-common-protos") or ()}
    for name in GOOGLE:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(installed[name], target / name)
    # Named after its pin, so that a new pin fetches anew and an old one fetches once.
    stamp = target / VALIDATE.replace("validate.proto", f".{VALIDATE_SOURCE.read_text().split()[-1][-16:]}")
    if not stamp.exists():
        (target / VALIDATE).parent.mkdir(parents=True, exist_ok=True)
        (target / VALIDATE).write_bytes(_fetch_validate())
        stamp.touch()


def _fetch_validate() -> bytes:
    """The text of validate.proto. Without build isolation pip makes the metadata in a second instead of a minute."""
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
    options = ["--no-build-isolation", "--no-binary", ":all:", "--require-hashes", "-r", str(VALIDATE_SOURCE)]
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run([*command, *options, "-d", folder], check=True)
        (archive,) = Path(folder).glob("*.tar.gz")
        with tarfile.open(archive) as contents:
            (member,) = [name for name in contents.getnames() if name.endswith(f"upstream/proto/{VALIDATE}")]
            extracted = contents.extractfile(member)
            if extracted is None:
                raise RuntimeError(f"{archive.name} holds no {VALIDATE}")
            return extracted.read()


def generate_python(protos: Path, target: Path) -> None:
    """Writes what no installed package has: buf.validate for Python, and typed stubs for google.rpc.

    Raises:
        RuntimeError: if protoc refuses.
    """
    include = [f"-I{protos}", f"-I{importlib.resources.files('grpc_tools') / '_proto'}"]
    rpc = [name for name in GOOGLE if name.startswith("google/rpc/")]
    for options in (
        [f"--python_out={target}", f"--mypy_out=quiet:{target}", VALIDATE],
        # Modules for google.rpc are installed, but without py.typed; the published stubs break types-grpcio.
        [f"--mypy_out=quiet:{target}", *rpc],
    ):
        if protoc.main(["protoc", *include, *options]) != 0:
            raise RuntimeError(f"protoc failed: {options}")
