"""A protoc plugin around the gRPC generator, which grpcio-tools has only built in."""

import tempfile
from pathlib import Path

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest
from google.protobuf.descriptor_pb2 import FileDescriptorSet
from grpc_tools import protoc

from gen.generator import plugin


def generate(request: CodeGeneratorRequest) -> dict[str, str]:
    """Returns `*_pb2_grpc.py` of each file that has a service.

    Raises:
        RuntimeError: if protoc refuses.
    """
    have_services = {file.name for file in request.proto_file if file.service}
    names = [name for name in request.file_to_generate if name in have_services]
    if not names:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        descriptors = Path(folder, "descriptors.binpb")
        descriptors.write_bytes(FileDescriptorSet(file=request.proto_file).SerializeToString())
        out = Path(folder, "out")
        out.mkdir()
        if protoc.main(["protoc", f"--descriptor_set_in={descriptors}", f"--grpc_python_out={out}", *names]) != 0:
            raise RuntimeError(f"protoc failed for {names}")
        return {str(path.relative_to(out)): path.read_text() for path in out.rglob("*.py")}


if __name__ == "__main__":
    plugin.run(generate)
