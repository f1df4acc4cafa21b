"""JSON Schemas of all types in one document. Each class is in the components once.

The operations get empty schemas, which are filled in at the end: names for the classes, and the difference between a
model that is read and the same model that is written, depend on all types in the document.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Final, Literal, TypeAlias

from kui.parameters.plans import NO_DEFAULT
from kui.parameters.shapes import members, model_kind, parts_of
from kui.parameters.validators import modern
from kui.responses.encode import to_json

__all__ = ["SchemaMode", "Schemas", "as_json"]

SchemaMode: TypeAlias = Literal["validation", "serialization"]
Schema: TypeAlias = dict[str, Any]

_TEMPLATE: Final = "#/components/schemas/"


class Schemas:
    """The schemas of a document.

    Example::

        schemas = Schemas()
        schema = schemas.of(Item, "serialization")  # empty until `fill`
        components = schemas.fill()                 # now {"$ref": "#/components/schemas/Item"}
    """

    def __init__(self) -> None:
        self._wanted: list[tuple[Any, SchemaMode, Schema]] = []
        self._defaults: list[tuple[Schema, Any]] = []
        self._more: dict[str, Schema] = {}

    def of(self, annotation: Any, mode: SchemaMode) -> Schema:
        """Return the schema of a type. It is empty until `fill` is called."""
        schema: Schema = {}
        self._wanted.append((annotation, mode, schema))
        return schema

    def constrained(
        self, annotation: Any, constraints: Mapping[str, Any], *, default: Any = NO_DEFAULT
    ) -> Schema:
        """Return the schema of a single value, with constraints of pydantic's `Field`, and with its default."""
        if constraints:
            from pydantic import Field

            annotation = Annotated[modern(annotation), Field(**constraints)]
        schema = self.of(annotation, "validation")
        written = NO_DEFAULT if default is None else as_json(default)
        if written is not NO_DEFAULT:
            self._defaults.append((schema, written))
        return schema

    def properties(self, model: Any) -> tuple[dict[str, Schema], frozenset[str]]:
        """Return the schemas of a model's fields by their names in a request, and the names that are required.

        Of a union they are the fields of all its models, and the names that each of them requires.
        """
        each = [self._properties(one) for one in members(model) if model_kind(one) is not None]
        if not each:
            return self._properties(model)
        found = {
            name: schema for properties, _ in reversed(each) for name, schema in properties.items()
        }
        return found, frozenset.intersection(*(required for _, required in each))

    def _properties(self, model: Any) -> tuple[dict[str, Schema], frozenset[str]]:
        if _has_struct(model):
            import msgspec

            (schema,), components = msgspec.json.schema_components(
                [model], ref_template=_TEMPLATE + "{name}"
            )
        else:
            from pydantic import TypeAdapter

            schema = TypeAdapter(modern(model)).json_schema(ref_template=_TEMPLATE + "{model}")
            components = schema.pop("$defs", {})
        name = schema.get("$ref", "").removeprefix(_TEMPLATE)
        found: Schema = components.pop(name) if name else schema
        if name and json.dumps(schema["$ref"]) in json.dumps([found, components]):
            components[name] = found  # a field of it refers to it
        self._more |= components
        return found.get("properties", {}), frozenset(found.get("required", ()))

    def fill(self) -> dict[str, Schema]:
        """Fill in all schemas, and return the components by name.

        :raises TypeError: a type has no schema.
        """
        structs = [one for one in self._wanted if _has_struct(one[0])]
        others = [one for one in self._wanted if not _has_struct(one[0])]
        components = {**self._more, **_of_pydantic(others), **_of_msgspec(structs)}
        for schema, default in self._defaults:
            schema["default"] = default
        return dict(sorted(components.items()))


def as_json(value: Any) -> Any:
    """Return a value as JSON has it, such as a text for a date; NO_DEFAULT if JSON does not have it."""
    try:
        return json.loads(to_json(value))
    except (TypeError, ValueError):
        return NO_DEFAULT


def _has_struct(annotation: Any) -> bool:
    return any(model_kind(part) == "struct" for part in parts_of(annotation))


def _of_pydantic(wanted: list[tuple[Any, SchemaMode, Schema]]) -> dict[str, Schema]:
    if not wanted:
        return {}
    from pydantic import TypeAdapter
    from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
    from pydantic.json_schema import GenerateJsonSchema

    class Generate(GenerateJsonSchema):
        """Makes an empty schema for a value that JSON does not have, instead of an error."""

        def handle_invalid_for_json_schema(self, schema: Any, error_info: str) -> Schema:
            return {}

    inputs: list[tuple[int, SchemaMode, TypeAdapter[Any]]] = []
    for number, (annotation, mode, _) in enumerate(wanted):
        try:
            inputs.append((number, mode, TypeAdapter(modern(annotation))))
        except PydanticUserError as error:
            raise TypeError(str(error).partition("\n")[0]) from error
    try:
        found, rest = TypeAdapter.json_schemas(
            inputs, ref_template=_TEMPLATE + "{model}", schema_generator=Generate
        )
    except PydanticInvalidForJsonSchema as error:
        raise TypeError(str(error).partition("\n")[0]) from error
    for number, (_, mode, schema) in enumerate(wanted):
        schema.update(found[number, mode])
    definitions: dict[str, Schema] = rest.get("$defs", {})
    return definitions


def _of_msgspec(wanted: list[tuple[Any, SchemaMode, Schema]]) -> dict[str, Schema]:
    if not wanted:
        return {}
    import msgspec

    found, components = msgspec.json.schema_components(
        [annotation for annotation, _, _ in wanted], ref_template=_TEMPLATE + "{name}"
    )
    for (_, _, schema), made in zip(wanted, found, strict=True):
        schema.update(made)
    return components
