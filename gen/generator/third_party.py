"""The protos of others that ours import, found without a network.

google/* comes with `googleapis-common-protos`. buf/validate/validate.proto is in no wheel, so a copy lies beside this
file; its messages are those of the installed protovalidate (1.2 and 2.1 differ only in other languages' file options).
"""

import importlib.resources
import shutil
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


def gather(target: Path) -> None:
    """Copies the protos into `target`, laid out by import path."""
    installed = {str(file): Path(str(file.locate())) for file in files("googleapis-common-protos") or ()}
    sources = {name: installed[name] for name in GOOGLE}
    sources[VALIDATE] = Path(__file__).parent / "protos" / VALIDATE
    for name, source in sources.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target / name)


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
