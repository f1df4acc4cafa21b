"""Describe the responses of an operation, by the return annotations of its handler, dependencies and middlewares."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Generator,
    Iterator,
    Mapping,
)
from http import HTTPStatus
from pathlib import Path
from typing import Annotated, Any, Final, Union, get_args, get_origin

from kui.parameters.answers import data_of_stream
from kui.parameters.plans import NO_DEFAULT
from kui.parameters.shapes import awaited, bare, members
from kui.responses.base import HttpResponse
from kui.responses.content import (
    HTMLResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
)
from kui.responses.events import SendEventResponse
from kui.responses.stream import JSON_LINES, JSONLinesResponse

from .marks import Responses
from .schemas import Schemas

__all__ = [
    "INVALID",
    "PROBLEM",
    "answer_object",
    "answers_of",
    "describe_refusal",
    "marked",
    "refusals",
]

_STREAMS: Final = (AsyncIterable, AsyncIterator, AsyncGenerator, Iterator, Generator)
_MEDIA: Final[Mapping[type, str]] = {
    HTMLResponse: "text/html",
    PlainTextResponse: "text/plain",
    JSONResponse: "application/json",
    SendEventResponse: "text/event-stream",
}

PROBLEM: Final = {
    "type": "object",
    "description": "Problem details (RFC 9457).",
    "properties": {
        "type": {"type": "string", "format": "uri-reference"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
    },
}
INVALID: Final = {
    "allOf": [{"$ref": "#/components/schemas/Problem"}],
    "type": "object",
    "properties": {
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "in": {"enum": ["path", "query", "header", "cookie", "body"]},
                    "detail": {"type": "string"},
                    "pointer": {"type": "string", "format": "json-pointer"},
                },
                "required": ["in", "detail", "pointer"],
            },
        }
    },
    "required": ["errors"],
}


REFUSALS: Final = (400, 401, 404, 413, 415, 422)
"""The statuses with which the framework itself refuses requests to a described handler."""


def reason(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"Status {status}"


def marked(annotation: Any) -> Mapping[int, Any]:
    """Return the responses that a `Responses` in an annotation declares."""
    found: dict[int, Any] = {}
    if get_origin(annotation) is Annotated:
        for mark in get_args(annotation)[1:]:
            if isinstance(mark, Responses):
                found.update(mark.answers)
    return found


def describe_refusal(status: int) -> dict[str, str]:
    """Return a reference to one of the shared `refusals`."""
    return {"$ref": f"#/components/responses/{status}"}


def refusals() -> dict[str, Any]:
    """Return the responses with which the framework refuses: problem details, or text for clients that prefer it."""
    shared = {}
    for status in REFUSALS:
        name = "ValidationProblem" if status == 422 else "Problem"
        schema = {"$ref": f"#/components/schemas/{name}"}
        content = {
            "application/problem+json": {"schema": schema},
            "text/plain": {"schema": {"type": "string"}},
        }
        shared[str(status)] = {"description": reason(status), "content": content}
    return shared


def answers_of(annotation: Any, schemas: Schemas, *, items: bool) -> dict[str, Any]:
    """Return the Responses Object of a return annotation, and of the `Responses` in it.

    :param items: True to describe the items of a stream, which OpenAPI can do since 3.2.
    """
    answers: dict[str, Any] = {}
    more = {**marked(annotation), **marked(awaited(annotation))}
    annotation = awaited(annotation)
    plain = bare(annotation)
    arguments = get_args(plain)
    has_status = get_origin(plain) is tuple and len(arguments) in (2, 3) and arguments[1] is int
    successes = [type_ for status, type_ in more.items() if 200 <= status < 300]
    # If success statuses are declared, a status that the handler returns is one of them, and a type that
    # is declared with a status is sent with that status.
    if not successes or not (has_status or plain in successes):
        value = arguments[0] if has_status else annotation
        kinds = list(members(value))
        redirects = [kind for kind in kinds if _is_redirect(kind)]
        if len(redirects) < len(kinds):
            answers["200"] = answer_object(200, value, schemas, items)
        if redirects and not any(300 <= status < 400 for status in more):
            answers["3XX"] = {"description": "Redirection"}
    for other, type_ in more.items():
        answers[str(other)] = answer_object(other, type_, schemas, items)
    return answers


def answer_object(status: int, annotation: Any, schemas: Schemas, items: bool) -> dict[str, Any]:
    answer: dict[str, Any] = {"description": reason(status)}
    if isinstance(annotation, str):
        answer["description"] = annotation
        annotation = str
    if annotation is None or status in (204, 304):
        return answer
    content = _content(annotation, schemas, items)
    if content:
        answer["content"] = content
    return answer


def _content(annotation: Any, schemas: Schemas, items: bool) -> dict[str, Any]:
    """Return the media types of a response: response classes and streams have their own, all else is JSON."""
    content: dict[str, Any] = {}
    values = []
    kinds = list(members(annotation))
    for kind in kinds:
        if kind is NO_DEFAULT or kind is Any:
            continue
        if (get_origin(kind) or kind) is JSONLinesResponse:
            content |= _lines(kind, schemas, items)
        elif _is_response(kind):
            content |= _of_response(kind)
        elif (get_origin(kind) or kind) in _STREAMS:
            content |= _stream(kind, schemas, items)
        elif kind in (str, bytes):
            content["text/plain"] = {"schema": {"type": "string"}}
        elif isinstance(kind, type) and issubclass(kind, Path):
            content["*/*"] = {"schema": {}}
        else:
            values.append(kind)
    if values:
        alone = len(values) == len(kinds)
        whole = annotation if alone else Union[tuple(values)]  # noqa: UP007 - made at run time
        content["application/json"] = {"schema": schemas.of(whole, "serialization")}
    return content


def _is_response(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, HttpResponse)


def _is_redirect(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, RedirectResponse)


def _of_response(kind: type) -> dict[str, Any]:
    if _is_redirect(kind):
        return {}
    for base, media in _MEDIA.items():
        if issubclass(kind, base):
            return {media: {"schema": {} if media == "application/json" else {"type": "string"}}}
    return {"*/*": {"schema": {}}}


def _stream(kind: Any, schemas: Schemas, items: bool) -> dict[str, Any]:
    if not items:
        return {"text/event-stream": {"schema": {"type": "string"}}}
    data: dict[str, Any] = {"type": "string"}
    model = data_of_stream(kind)
    if model is not NO_DEFAULT:
        content = schemas.of(model, "serialization")
        data |= {"contentMediaType": "application/json", "contentSchema": content}
    event = {
        "type": "object",
        "properties": {
            "data": data,
            "event": {"type": "string"},
            "id": {"type": "string"},
            "retry": {"type": "integer", "minimum": 0},
        },
    }
    return {"text/event-stream": {"itemSchema": event}}


def _lines(kind: Any, schemas: Schemas, items: bool) -> dict[str, Any]:
    """Return the content of JSON lines. Their items can be described since OpenAPI 3.2."""
    arguments = get_args(kind)
    if not items or not arguments:
        return {JSON_LINES: {"schema": {"type": "string"}}}
    return {JSON_LINES: {"itemSchema": schemas.of(arguments[0], "serialization")}}
