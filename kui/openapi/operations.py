"""Make the Operation Object of one route and one method (OpenAPI 3.1, 4.8.10)."""

from __future__ import annotations

import inspect
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Callable,
    Iterable,
    Iterator,
    Mapping,
)
from itertools import product
from types import NoneType
from typing import Any, Final, get_args, get_origin

from kui.forms import Part, UploadFile
from kui.parameters.markers import Body, SourceMarker
from kui.parameters.plans import NO_DEFAULT, Parameter, Plan
from kui.parameters.shapes import bare, members, parts_of
from kui.routing import HttpRoute
from kui.security.combined import AnyOf
from kui.security.schemes import SecurityScheme

from .answers import answer_object, answers_of, describe_refusal, marked, refusals
from .marks import operation_of
from .schemas import Schemas, as_json

__all__ = ["describe_operation", "schemes_of"]

_IGNORED_HEADERS: Final = frozenset(("accept", "content-type", "authorization"))
"""Headers that are not described as parameters (OpenAPI 3.1, 4.8.12.1)."""
_CONVERTERS: Final[Mapping[str, Mapping[str, str]]] = {
    "int": {"type": "integer"},
    "decimal": {"type": "string", "format": "decimal"},
    "uuid": {"type": "string", "format": "uuid"},
    "date": {"type": "string", "format": "date"},
}
_STREAMS: Final = (AsyncIterable, AsyncIterator, AsyncGenerator)
_FILE: Final = {"type": "string", "format": "binary"}


def describe_operation(
    route: HttpRoute,
    plan: Plan,
    schemas: Schemas,
    *,
    identifier: str,
    around: Mapping[int, Any],
    items: bool,
) -> dict[str, Any]:
    """Return the operation of a handler on a route.

    :param identifier: the id, unless the handler has another by `operation`.
    :param around: the responses of the middlewares around it, by status.
    :param items: True to describe the items of streams (OpenAPI 3.2).
    """
    mark = operation_of(plan.handler)
    summary, description = _documented(plan.handler)
    namespaces = [name for name in route.namespace.split(":") if name]
    parameters = [*_path_parameters(route, plan, schemas), *_other_parameters(plan, schemas)]
    answers = answers_of(plan.returns, schemas, items=items)
    for status, type_ in (dict(around) | _answers_of_dependencies(plan)).items():
        if str(status) not in answers:
            answers[str(status)] = answer_object(status, type_, schemas, items)
    security = _requirements(plan)
    for status in _refusals(plan, bool(security)):
        mine = answers.setdefault(str(status), describe_refusal(status))
        # The handler has a response with this status, and so has the framework.
        if "content" in mine:
            mine["content"] = refusals()[str(status)]["content"] | mine["content"]
    described = {
        "operationId": mark.id or identifier,
        "summary": mark.summary or summary,
        "description": description,
        "tags": namespaces if mark.tags is None else list(mark.tags),
        "deprecated": mark.deprecated,
        "parameters": parameters,
        "requestBody": _request_body(plan.body, schemas) if plan.body else None,
        "responses": dict(sorted(answers.items())),
        "security": security,
    }
    return {key: value for key, value in described.items() if value}


def _documented(handler: Callable[..., Any]) -> tuple[str, str]:
    """Return the first line of a docstring, and the rest."""
    summary, _, rest = (inspect.getdoc(handler) or "").partition("\n")
    return summary.strip(), rest.strip()


def _answers_of_dependencies(plan: Plan) -> dict[int, Any]:
    answers: dict[int, Any] = {}
    for dependency in plan.dependencies:
        answers |= marked(dependency.returns)
    return answers


def _refusals(plan: Plan, is_secured: bool) -> Iterator[int]:
    """Yield the statuses with which the framework refuses a request by itself."""
    if is_secured:
        yield 401
    if plan.parameters:
        yield 422
    if plan.path:
        yield 404
    if plan.body:
        yield from (400, 413, 415)


# ---- parameters


def _path_parameters(route: HttpRoute, plan: Plan, schemas: Schemas) -> Iterator[dict[str, Any]]:
    declared = {one.alias: one for one in plan.of("path") if not one.exclusive}
    of_models: dict[str, Any] = {}
    for one in plan.of("path"):
        if one.exclusive:
            of_models |= schemas.properties(one.annotation)[0]
    for name, converter in route.pattern.converters.items():
        found: dict[str, Any] = {"name": name, "in": "path", "required": True}
        if name in declared and declared[name].annotation is not Any:
            yield found | _details(declared[name], schemas)
        else:
            schema = of_models.get(name) or _CONVERTERS.get(converter) or {"type": "string"}
            yield found | {"schema": dict(schema)}


def _other_parameters(plan: Plan, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield the parameters that do not come from the path. One that several functions declare is yielded once."""
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for one in plan.parameters:
        if one.source in ("path", "body"):
            continue
        for described in _expanded(one, schemas) if one.exclusive else [_single(one, schemas)]:
            key = (one.source, described["name"])
            if one.source == "header" and described["name"].lower() in _IGNORED_HEADERS:
                continue
            if key not in found or described.get("required"):
                found[key] = described
    yield from found.values()


def _single(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    found: dict[str, Any] = {"name": parameter.alias, "in": parameter.source}
    if parameter.required:
        found["required"] = True
    return found | _details(parameter, schemas)


def _expanded(parameter: Parameter, schemas: Schemas) -> Iterator[dict[str, Any]]:
    """Yield a parameter for each field of a model of a whole source."""
    properties, required = schemas.properties(parameter.annotation)
    for name, schema in properties.items():
        text = name.replace("_", "-") if parameter.source == "header" else name
        found: dict[str, Any] = {"name": text, "in": parameter.source}
        if name in required and parameter.required:
            found["required"] = True
        if "description" in schema:
            found["description"] = schema["description"]
        yield found | {"schema": schema}


def _details(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    marker = parameter.marker
    found: dict[str, Any] = {}
    if marker.description:
        found["description"] = marker.description
    if marker.deprecated:
        found["deprecated"] = True
    if examples := _examples(marker):
        found["examples"] = {f"example {n}": {"value": v} for n, v in enumerate(examples, 1)}
    return found | {"schema": _schema(parameter, schemas)}


def _examples(marker: SourceMarker) -> list[Any]:
    """Return the examples as JSON has them, without those that it does not have."""
    return [one for one in map(as_json, marker.examples) if one is not NO_DEFAULT]


def _schema(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a single value, with its constraints and its default."""
    if parameter.source == "body":
        file = _file_schema(parameter.annotation)
        if file is not None:
            return file
    return schemas.constrained(
        parameter.annotation, parameter.marker.constraints, default=parameter.default
    )


# ---- bodies


def _file_schema(annotation: Any) -> dict[str, Any] | None:
    """Return the schema of an upload; None for anything else."""
    kinds = list(members(annotation))
    if UploadFile in kinds or bytes in kinds or any(_is_stream_of(kind, bytes) for kind in kinds):
        return dict(_FILE)
    if any(get_origin(kind) is list and get_args(kind) == (UploadFile,) for kind in kinds):
        return {"type": "array", "items": dict(_FILE)}
    if any(_is_stream_of(kind, Part) for kind in kinds):
        return {"type": "array", "items": dict(_FILE)}
    return None


def _is_stream_of(annotation: Any, item: type) -> bool:
    kind = bare(annotation)
    return get_origin(kind) in _STREAMS and get_args(kind)[0] is item


def _request_body(body: Iterable[Parameter], schemas: Schemas) -> dict[str, Any]:
    """Return the Request Body Object, with each media type that the handler accepts."""
    whole = [one for one in body if one.exclusive]
    fields = [one for one in body if not one.exclusive]
    given = {
        one.marker.media_type
        for one in body
        if isinstance(one.marker, Body) and one.marker.media_type is not None
    }
    if whole:
        (one, *_) = whole
        kinds = [kind for kind in members(one.annotation) if kind is not NoneType]
        if all(kind is bytes or _is_stream_of(kind, bytes) for kind in kinds):
            content = {
                media: {"schema": dict(_FILE)} for media in given or {"application/octet-stream"}
            }
            return _body(content, one.required, one.marker.description)
        if all(_is_stream_of(kind, Part) for kind in kinds):
            schema: dict[str, Any] = {"type": "object", "additionalProperties": dict(_FILE)}
            content = {"multipart/form-data": {"schema": schema}}
            return _body(content, one.required, one.marker.description)
        schema = schemas.of(one.annotation, "validation")
        description, required = one.marker.description, one.required
    else:
        properties = {one.alias: _field(one, schemas) for one in fields}
        schema = {"type": "object", "properties": properties}
        needed = [one.alias for one in fields if one.required]
        if needed:
            schema["required"] = needed
        description, required = None, bool(needed)
    if not given:
        has_files = any(
            _file_schema(one.annotation) or UploadFile in parts_of(one.annotation) for one in body
        )
        forms = {"application/x-www-form-urlencoded", "multipart/form-data"}
        given = {"multipart/form-data"} if has_files else {"application/json", *forms}
    content = {media: {"schema": schema} for media in sorted(given)}
    return _body(content, required, description)


def _field(parameter: Parameter, schemas: Schemas) -> dict[str, Any]:
    """Return the schema of a field of a body, with what its marker says of it."""
    marker, schema = parameter.marker, _schema(parameter, schemas)
    if marker.description:
        schema["description"] = marker.description
    if marker.deprecated:
        schema["deprecated"] = True
    if examples := _examples(marker):
        schema["examples"] = examples
    return schema


def _body(content: dict[str, Any], required: bool, description: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {"content": content}
    if required:
        found["required"] = True
    if description:
        found["description"] = description
    return found


# ---- security


def _alternatives(plan: Plan) -> Iterator[list[tuple[SecurityScheme, tuple[str, ...]]]]:
    """Yield, for each `Security` dependency, the schemes of which a client needs one, with their scopes."""
    scopes = tuple(scope for one in plan.security for scope in getattr(one.marker, "scopes", ()))
    seen: set[int] = set()
    for dependency in plan.dependencies:
        scheme = dependency.declared
        if isinstance(scheme, SecurityScheme) and id(scheme) not in seen:
            seen.add(id(scheme))
            one_of = scheme.schemes if isinstance(scheme, AnyOf) else (scheme,)
            yield [(one, scopes) for one in one_of]


def _requirements(plan: Plan) -> list[dict[str, list[str]]]:
    """Return the Security Requirement Objects. A client needs all schemes of one object, and only one object."""
    alternatives = list(_alternatives(plan))
    if not alternatives:
        return []
    return [
        {
            scheme.name: list(scopes) if scheme.described()["type"] == "oauth2" else []
            for scheme, scopes in choice
        }
        for choice in product(*alternatives)
    ]


def schemes_of(plan: Plan) -> Iterator[SecurityScheme]:
    """Yield the schemes that a plan needs."""
    for one_of in _alternatives(plan):
        yield from (scheme for scheme, _ in one_of)
