"""The protoc plugin's entry."""

import json

from google.protobuf.compiler.plugin_pb2 import CodeGeneratorRequest

from gen.generator import plugin
from gen.generator.openapi.contract import Contract
from gen.generator.openapi.document import document


def generate(request: CodeGeneratorRequest) -> dict[str, str]:
    """Returns the document as the one file `openapi.json`."""
    return {"openapi.json": json.dumps(document(Contract(request)), indent=2, ensure_ascii=False) + "\n"}


if __name__ == "__main__":
    plugin.run(generate)
