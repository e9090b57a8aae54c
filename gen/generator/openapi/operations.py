"""RPCs with an HTTP binding as OpenAPI operations."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from google.protobuf.descriptor import Descriptor, FieldDescriptor, MethodDescriptor

from gen.generator.openapi.contract import Contract, Json
from gen.generator.openapi.errors import Reason, responses
from gen.generator.openapi.schemas import Schemas, component_name

_VERBS = ("get", "put", "post", "delete", "patch")
_VARIABLE = re.compile(r"\{([^}=]+)(?:=[^}]*)?\}")
# Types that stand in a query as one value.
_QUERY_VALUES = ("google.protobuf.Duration", "google.protobuf.FieldMask", "google.protobuf.Timestamp")


@dataclass(frozen=True)
class Binding:
    """One HTTP way to an RPC."""

    verb: str
    path: str
    body: str
    primary: str | None
    """The binding that this one repeats, as `GET /path`; None if this is the RPC's own."""
    number: int

    @property
    def variables(self) -> list[str]:
        """The fields bound by the path."""
        return _VARIABLE.findall(self.path)

    @property
    def template(self) -> str:
        """The path with plain variables."""
        return _VARIABLE.sub(r"{\1}", self.path)


def bindings(contract: Contract, method: MethodDescriptor) -> Iterator[Binding]:
    """The method's bindings, its own first, then the additional ones."""
    rule = contract.options(method).get("[google.api.http]")
    if rule is None:
        return
    primary: str | None = None
    for number, one in enumerate((rule, *rule.get("additional_bindings", ())), start=1):
        verb = next(verb for verb in _VERBS if verb in one)
        yield Binding(verb, one[verb], one.get("body", ""), primary, number)
        primary = primary or f"{verb.upper()} {one[verb]}"


class Operations:
    """Makes operations, all over one set of schemas."""

    def __init__(self, contract: Contract, schemas: Schemas, reasons: dict[str, Reason]) -> None:
        """Keeps what operations refer to."""
        self._contract = contract
        self._schemas = schemas
        self._reasons = reasons

    def operation(self, method: MethodDescriptor, binding: Binding) -> Json:
        """The operation object of one binding."""
        comment = self._contract.comment(method)
        first, _, rest = comment.partition("\n\n")
        summary = re.split(r"(?<=\.)\s", " ".join(first.split()), maxsplit=1)[0].rstrip(".")
        if binding.primary:
            rest = f"The same as `{binding.primary}`."
        repeated = f"_{binding.number}" if binding.primary else ""
        operation: Json = {
            "operationId": f"{method.containing_service.name}_{method.name}{repeated}",
            "tags": [component_name(method.containing_service)],
            "summary": summary,
            "description": rest if binding.primary else comment,
        }
        parameters = [*self._path_parameters(method, binding), *self._query_parameters(method, binding)]
        if parameters:
            operation["parameters"] = parameters
        if binding.body:
            schema = self._body(method.input_type, binding)
            needed = "$ref" in schema or bool(schema.get("required"))
            operation["requestBody"] = {"required": needed, "content": {"application/json": {"schema": schema}}}
        operation["responses"] = {"200": self._success(method), **responses(self._reasons, comment)}
        return operation

    def _success(self, method: MethodDescriptor) -> Json:
        schema = self._schemas.message(method.output_type)
        if method.server_streaming:
            description = "Server-Sent Events; the `data:` line of each holds one of these."
            return {"description": description, "content": {"text/event-stream": {"schema": schema}}}
        return {"description": "OK", "content": {"application/json": {"schema": schema}}}

    def _body(self, message: Descriptor, binding: Binding) -> Json:
        if binding.body != "*":
            return self._schemas.field(message.fields_by_name[binding.body])
        left = [field for field in message.fields if field.name not in binding.variables]
        if len(left) == len(message.fields):
            return self._schemas.message(message)
        return self._schemas.object(message, left)

    def _path_parameters(self, method: MethodDescriptor, binding: Binding) -> Iterator[Json]:
        for variable in binding.variables:
            name, *nested = variable.split(".")
            field = method.input_type.fields_by_name[name]
            for inner in nested:
                if field.message_type is None:
                    raise ValueError(f"{binding.path}: {variable} goes through a scalar")
                field = field.message_type.fields_by_name[inner]
            yield self._parameter(field, variable, "path", required=True)

    def _query_parameters(self, method: MethodDescriptor, binding: Binding) -> Iterator[Json]:
        if binding.body == "*":
            return
        for name, field in _leaves(method.input_type, "", ()):
            bound = name in binding.variables or name.partition(".")[0] == binding.body
            if not bound and not self._schemas.output_only(field):
                required = self._schemas.required(field) and "." not in name
                yield self._parameter(field, name, "query", required=required)

    def _parameter(self, field: FieldDescriptor, name: str, place: str, *, required: bool) -> Json:
        schema = self._schemas.field(field)
        parameter: Json = {"name": name, "in": place, "description": schema.pop("description", "")}
        if required:
            parameter["required"] = True
        if schema.pop("deprecated", False):
            parameter["deprecated"] = True
        return {**parameter, "schema": schema}


def _leaves(message: Descriptor, prefix: str, outer: tuple[Descriptor, ...]) -> Iterator[tuple[str, FieldDescriptor]]:
    """The fields that a query can carry, nested ones by their dotted path."""
    for field in message.fields:
        name = f"{prefix}{field.name}"
        inner = field.message_type
        if inner is None or inner.full_name in _QUERY_VALUES:
            yield name, field
        elif not field.is_repeated and inner not in outer:
            yield from _leaves(inner, f"{name}.", (*outer, message))
