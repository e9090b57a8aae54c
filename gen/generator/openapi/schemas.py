"""Messages, enums and fields as JSON schemas, as Envoy's transcoder writes them."""

from collections.abc import Iterable

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from gen.generator.openapi.contract import Contract, Described, Json
from gen.generator.openapi.rules import keywords, message_rules

# Types with a JSON form of their own.
_WELL_KNOWN: dict[str, Json] = {
    "google.protobuf.Any": {"type": "object", "properties": {"@type": {"type": "string"}}},
    "google.protobuf.Duration": {"type": "string", "pattern": "^-?[0-9]+(\\.[0-9]{1,9})?s$", "examples": ["1.5s"]},
    "google.protobuf.Empty": {"type": "object"},
    "google.protobuf.FieldMask": {"type": "string"},
    "google.protobuf.ListValue": {"type": "array"},
    "google.protobuf.Struct": {"type": "object"},
    "google.protobuf.Timestamp": {"type": "string", "format": "date-time"},
    "google.protobuf.Value": {},
    "google.rpc.Status": {"$ref": "#/components/schemas/Error"},
}
_INT64: Json = {"type": "string", "format": "int64", "pattern": "^-?[0-9]+$"}
_UINT64: Json = {"type": "string", "format": "uint64", "pattern": "^[0-9]+$"}
_INT32: Json = {"type": "integer", "format": "int32"}
_UINT32: Json = {"type": "integer", "format": "int64", "minimum": 0}
_SCALARS: dict[int, Json] = {
    FieldDescriptor.TYPE_BOOL: {"type": "boolean"},
    FieldDescriptor.TYPE_BYTES: {"type": "string", "contentEncoding": "base64"},
    FieldDescriptor.TYPE_DOUBLE: {"type": "number", "format": "double"},
    FieldDescriptor.TYPE_FIXED32: _UINT32,
    FieldDescriptor.TYPE_FIXED64: _UINT64,
    FieldDescriptor.TYPE_FLOAT: {"type": "number", "format": "float"},
    FieldDescriptor.TYPE_INT32: _INT32,
    FieldDescriptor.TYPE_INT64: _INT64,
    FieldDescriptor.TYPE_SFIXED32: _INT32,
    FieldDescriptor.TYPE_SFIXED64: _INT64,
    FieldDescriptor.TYPE_SINT32: _INT32,
    FieldDescriptor.TYPE_SINT64: _INT64,
    FieldDescriptor.TYPE_STRING: {"type": "string"},
    FieldDescriptor.TYPE_UINT32: _UINT32,
    FieldDescriptor.TYPE_UINT64: _UINT64,
}


class Schemas:
    """Makes schemas, and keeps those that are referred to by name."""

    def __init__(self, contract: Contract) -> None:
        """Starts with none."""
        self._contract = contract
        self.components: dict[str, Json] = {}

    def message(self, message: Descriptor) -> Json:
        """A reference to a message's schema, which is added when new; types with their own JSON form are inline."""
        if message.full_name in _WELL_KNOWN:
            return dict(_WELL_KNOWN[message.full_name])
        name = component_name(message)
        if name not in self.components:
            self.components[name] = {}  # Taken before its fields are read: messages may hold themselves.
            self.components[name] = self.object(message, message.fields)
        return {"$ref": f"#/components/schemas/{name}"}

    def object(self, message: Descriptor, fields: Iterable[FieldDescriptor]) -> Json:
        """An inline schema of some of a message's fields."""
        fields = list(fields)
        told = message_rules(self._contract.options(message))
        description = self._contract.comment(message)
        if told:
            description += "\n\nRules:\n" + "\n".join(f"- {rule}" for rule in told)
        schema: Json = {"type": "object", "description": description}
        schema["properties"] = {field.name: self.field(field) for field in fields}
        required = [field.name for field in fields if self.required(field)]
        if required:
            schema["required"] = required
        return {name: value for name, value in schema.items() if value != ""}

    def field(self, field: FieldDescriptor) -> Json:
        """The schema of a field's value, with its comment, rules and behaviour."""
        options = self._contract.options(field)
        rules = options.get("[buf.validate.field]", {})
        entry = field.message_type
        if entry is not None and entry.GetOptions().map_entry:
            values = entry.fields_by_name["value"]
            of_values = keywords(self._contract, rules.get("map", {}).get("values", {}))
            schema: Json = {"type": "object", "additionalProperties": _merge(self._single(values), of_values)}
        elif field.is_repeated:
            of_items = keywords(self._contract, rules.get("repeated", {}).get("items", {}))
            schema = {"type": "array", "items": _merge(self._single(field), of_items)}
        else:
            schema = self._single(field)
            self._exclude_values(schema, field, rules)
        schema = _merge({"description": self._description(field)}, _merge(schema, keywords(self._contract, rules)))
        behaviors = options.get("[google.api.field_behavior]", ())
        if "OUTPUT_ONLY" in behaviors:
            schema["readOnly"] = True
        if "INPUT_ONLY" in behaviors:
            schema["writeOnly"] = True
        if options.get("deprecated"):
            schema["deprecated"] = True
        return {name: value for name, value in schema.items() if value != ""}

    def required(self, field: FieldDescriptor) -> bool:
        """Whether a request must set the field."""
        options = self._contract.options(field)
        behaviors = options.get("[google.api.field_behavior]", ())
        return "REQUIRED" in behaviors or bool(options.get("[buf.validate.field]", {}).get("required"))

    def output_only(self, field: FieldDescriptor) -> bool:
        """Whether a request must not set the field."""
        return "OUTPUT_ONLY" in self._contract.options(field).get("[google.api.field_behavior]", ())

    def enum(self, enum: EnumDescriptor) -> Json:
        """A reference to an enum's schema, which is added when new."""
        name = component_name(enum)
        if name not in self.components:
            comments = {v.name: self._contract.enum_value_comment(enum.full_name, v.name) for v in enum.values}
            values = "\n".join(f"- `{value}`: {comment}" for value, comment in comments.items())
            description = f"{self._contract.comment(enum)}\n\n{values}".strip()
            self.components[name] = {"type": "string", "enum": list(comments), "description": description}
        return {"$ref": f"#/components/schemas/{name}"}

    def _single(self, field: FieldDescriptor) -> Json:
        if field.enum_type is not None:
            return self.enum(field.enum_type)
        if field.message_type is not None:
            return self.message(field.message_type)
        return dict(_SCALARS[field.type])

    def _description(self, field: FieldDescriptor) -> str:
        comment = self._contract.comment(field)
        oneof = field.containing_oneof
        if oneof is None or oneof.name.startswith("_"):  # A proto3 `optional` is a oneof of one.
            return comment
        siblings = ", ".join(f"`{other.name}`" for other in oneof.fields)
        return f"{comment}\n\nOne of {siblings}.".strip()

    @staticmethod
    def _exclude_values(schema: Json, field: FieldDescriptor, rules: Json) -> None:
        if field.enum_type is None:
            return
        numbers = rules.get("enum", {}).get("not_in", ())
        excluded = [field.enum_type.values_by_number[number].name for number in numbers]
        if excluded:
            schema["not"] = {"enum": excluded}


def component_name(described: Described) -> str:
    """`order.v1.Order` for `tickmesh.order.v1.Order`."""
    return described.full_name.removeprefix("tickmesh.")


def _merge(one: Json, other: Json) -> Json:
    """Both, with descriptions one after the other."""
    merged = one | other
    descriptions = [text for text in (one.get("description"), other.get("description")) if text]
    if descriptions:
        merged["description"] = "\n\n".join(descriptions)
    return merged
