"""Make the OpenAPI Object of an app: its routes, and the components that they share."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, get_type_hints

from kui.applications import Kui
from kui.parameters.plans import Plan
from kui.routing import HttpRoute
from kui.routing.mounts import Forward

from .answers import INVALID, PROBLEM, marked, refusals
from .marks import operation_of
from .operations import describe_operation, schemes_of
from .schemas import Schemas

__all__ = ["VERSIONS", "Version", "document"]

Version = Literal["3.1", "3.2"]
VERSIONS: Final[Mapping[str, str]] = {"3.1": "3.1.1", "3.2": "3.2.0"}

_METHODS: Final = ("GET", "PUT", "POST", "DELETE", "OPTIONS", "HEAD", "PATCH", "TRACE")
_placeholder = re.compile(r"\{(\w+)(?::\w+)?\}")


def document(app: Kui, info: Mapping[str, Any], *, version: Version = "3.1") -> dict[str, Any]:
    """Return the description of an app, without hidden handlers, mounted apps and WebSockets.

    :param info: the Info Object, with `title` and `version`.
    :param version: the version of OpenAPI.
    :raises TypeError: an annotation uses a name that is not defined, or a type has no JSON Schema.
    """
    schemas = Schemas()
    paths: dict[str, dict[str, Any]] = {}
    schemes: dict[str, Mapping[str, Any]] = {}
    identifiers: set[str] = set()
    for route, method, plan in _operations(app):
        path = paths.setdefault(_placeholder.sub(r"{\1}", route.path), {})
        path[method.lower()] = operation = describe_operation(
            route,
            plan,
            schemas,
            identifier=_identifier(route, method, app),
            around=_around(app, route),
            items=version == "3.2",
        )
        operation["operationId"] = _unique(operation["operationId"], identifiers)
        for scheme in schemes_of(plan):
            schemes[scheme.name] = scheme.described()
    components: dict[str, Any] = {
        "schemas": {"Problem": PROBLEM, "ValidationProblem": INVALID} | schemas.fill(),
        "responses": refusals(),
    }
    if schemes:
        components["securitySchemes"] = schemes
    return {
        "openapi": VERSIONS[version],
        "info": dict(info),
        "paths": paths,
        "components": components,
    }


def _operations(app: Kui) -> Iterator[tuple[HttpRoute, str, Plan]]:
    """Yield each route that is described with each of its methods, and the plan of its handler."""
    for route in app.router:
        if not isinstance(route, HttpRoute) or isinstance(route.endpoint, Forward):
            continue
        methods = app.router.methods(route)
        for name, plan in app.router.plans(route).items():
            if operation_of(plan.handler).hidden:
                continue
            if name is not None:
                answered = [name]
            else:
                answered = [one for one in _METHODS if one in (methods or {"GET"})]
                if "GET" in answered and "HEAD" in answered:
                    answered.remove("HEAD")  # it is answered as GET, without the body
            for method in answered:
                if method in _METHODS:
                    yield route, method, plan


def _around(app: Kui, route: HttpRoute) -> dict[int, Any]:
    """Return the responses of the middlewares around a route, as their return annotations declare them."""
    answers: dict[int, Any] = {}
    for middleware in (*app.router.http_middlewares, *route.middlewares):
        function = middleware if inspect.isroutine(middleware) else type(middleware).__call__
        try:
            annotations = get_type_hints(function, include_extras=True)
        except NameError:  # a name is defined for type checkers only
            continue
        answers |= marked(annotations.get("return"))
    return answers


def _identifier(route: HttpRoute, method: str, app: Kui) -> str:
    """Return an id that depends only on the route's name, path and method."""
    name = (route.full_name or _placeholder.sub(r"\1", route.path)).replace(":", "_")
    name = re.sub(r"\W+", "_", name).strip("_") or "root"
    methods = app.router.methods(route)
    alone = methods is not None and len(methods - {"HEAD", "OPTIONS"}) == 1
    return name if alone else f"{name}_{method.lower()}"


def _unique(identifier: str, taken: set[str]) -> str:
    found, number = identifier, 2
    while found in taken:
        found, number = f"{identifier}_{number}", number + 1
    taken.add(found)
    return found
