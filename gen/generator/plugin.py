"""The protoc plugin protocol: a request on stdin, a response on stdout."""

import sys
from collections.abc import Callable

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest, CodeGeneratorResponse


def run(generate: Callable[[CodeGeneratorRequest], dict[str, str]]) -> None:
    """Answers the request on stdin with the files (name to content) that `generate` makes of it."""
    request = CodeGeneratorRequest.FromString(sys.stdin.buffer.read())
    response = CodeGeneratorResponse(supported_features=CodeGeneratorResponse.FEATURE_PROTO3_OPTIONAL)
    for name, content in sorted(generate(request).items()):
        response.file.add(name=name, content=content)
    sys.stdout.buffer.write(response.SerializeToString(deterministic=True))
