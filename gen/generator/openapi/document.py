"""The whole OpenAPI document."""

from gen.generator.openapi import errors
from gen.generator.openapi.contract import Contract, Json
from gen.generator.openapi.operations import Operations, bindings
from gen.generator.openapi.schemas import Schemas, component_name

_ABOUT = """\
Every call is a gRPC method too; this is how the edge shows them over HTTP.

- Field names are those of the protos; zeros are shown.
- Money, prices and quantities are decimal strings, 64-bit integers are strings.
- Unknown body fields and query parameters are refused.
- Streams are Server-Sent Events; give the last `resume_token` to continue one.
- A repeated query parameter is written again: `?symbols=AAPL&symbols=IBM`.
"""
_INFO = {
    "title": "tickmesh",
    "version": "v1",
    "description": _ABOUT,
    "license": {"name": "MIT", "identifier": "MIT"},
}


def document(contract: Contract) -> Json:
    """The OpenAPI 3.1 document of all methods that have an HTTP binding.

    Raises:
        ValueError: if two bindings share a verb and a path.
    """
    reasons = errors.reasons(contract)
    schemas = Schemas(contract)
    operations = Operations(contract, schemas, reasons)
    paths: dict[str, Json] = {}
    tags: list[Json] = []
    for service in contract.services():
        bound = [(method, binding) for method in service.methods for binding in bindings(contract, method)]
        if bound:
            tags.append({"name": component_name(service), "description": contract.comment(service)})
        for method, binding in bound:
            at_path = paths.setdefault(binding.template, {})
            if binding.verb in at_path:
                raise ValueError(f"{binding.verb.upper()} {binding.template} is bound twice")
            at_path[binding.verb] = operations.operation(method, binding)
    return {
        "openapi": "3.1.0",
        "info": _INFO,
        "servers": [{"url": "/"}],
        "tags": tags,
        "paths": paths,
        "components": {
            "schemas": errors.schemas(reasons) | dict(sorted(schemas.components.items())),
            "responses": {"Error": errors.any_error()},
            "examples": errors.examples(reasons),
        },
    }
