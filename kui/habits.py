"""Hints for users of other frameworks: names that do not exist here, with a sentence that says what to write.

A method that does not exist raises AttributeError, and a parameter that does not exist TypeError, with the sentence.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import wraps
from inspect import Parameter, getattr_static, signature
from typing import Any, Final, NoReturn, TypeVar

__all__ = [
    "APP_PARAMETERS",
    "CONVERTERS",
    "DIRECTORY_PARAMETERS",
    "EVENTS_PARAMETERS",
    "EXCEPTION_PARAMETERS",
    "FILE_PARAMETERS",
    "GROUP_PARAMETERS",
    "JSON_PARAMETERS",
    "MARKER_PARAMETERS",
    "MARKER_POSITION",
    "ROUTE_PARAMETERS",
    "STREAM_PARAMETERS",
    "TEMPLATE_PARAMETERS",
    "AppHabits",
    "BackgroundHabits",
    "GroupHabits",
    "RequestHabits",
    "connection_hint",
    "refuse",
    "told",
]

F = TypeVar("F", bound=Callable[..., Any])

_ROUTE: Final = 'write @app.get("/path"), or @app.router.http("/path") for all methods'
_GROUP: Final = 'write app.router << "/prefix" // routes'
_STARTUP: Final = "write @app.on_startup or @app.on_shutdown above a function of the app"
_MIDDLEWARE: Final = (
    "write Kui(http_middlewares=[...]) for functions of an endpoint, or Kui(asgi_middlewares=[...]) for "
    "functions of an ASGI app"
)
_HANDLER: Final = "write @app.exception_handler(404) above a function of the exception"
_DESCRIPTION: Final = "write @operation(...) below it, for the description of kui.openapi"
_OPENAPI: Final = "write Kui(openapi=OpenAPI(title=...)), with OpenAPI of kui.openapi"
_DEPENDENCIES: Final = (
    "declare it in the handler, as in _: Annotated[object, Depends(check)], or write {}=[...] for a function "
    "of the endpoint that refuses before it"
)
_STATUS: Final = 'return it with the value, as in return "made", 201'

_APP_METHODS: Final = {
    "route": _ROUTE,
    "api_route": _ROUTE,
    "add_route": 'write app.router << HttpRoute("/path", handler)',
    "add_api_route": 'write app.router << HttpRoute("/path", handler)',
    "add_url_rule": 'write app.router << HttpRoute("/path", handler)',
    "head": "write @app.get, which answers HEAD too, or HttpRoute(..., methods=['HEAD'])",
    "options": "OPTIONS is answered by itself; write HttpRoute(..., methods=['OPTIONS']) to do so",
    "websocket_route": 'write @app.websocket("/path")',
    "include_router": _GROUP,
    "register_blueprint": _GROUP,
    "mount": 'write app.router << Mount("/prefix", other_app)',
    "add_middleware": _MIDDLEWARE,
    "middleware": _MIDDLEWARE,
    "before_request": _MIDDLEWARE,
    "after_request": _MIDDLEWARE,
    "on_event": _STARTUP,
    "add_event_handler": _STARTUP,
    "add_exception_handler": _HANDLER,
    "errorhandler": _HANDLER,
    "url_for": "write app.router.url_for(name, params), or request.url_for in a handler",
    "url_path_for": "write app.router.url_for(name, params), or request.url_for in a handler",
    "routes": "write app.router, which is a collection of them",
    "run": "write kui run module:app, or kui.run(app)",
    "test_client": "write kui.testing.AsyncTestClient(app)",
    "dependency_overrides": "write with app.overrides(...):",
}
_GROUP_METHODS: Final = {
    **{
        method: f'write .http.{method}("/path")'
        for method in ("get", "post", "put", "patch", "delete")
    },
    "route": 'write .http.get("/path"), or .http("/path") for all methods',
    "api_route": 'write .http.get("/path"), or .http("/path") for all methods',
    "add_route": 'write routes << HttpRoute("/path", handler)',
    "add_api_route": 'write routes << HttpRoute("/path", handler)',
    "add_url_rule": 'write routes << HttpRoute("/path", handler)',
    "websocket_route": 'write .websocket("/path")',
    "include_router": 'write routes << "/prefix" // more',
    "register_blueprint": 'write routes << "/prefix" // more',
    "mount": 'write routes << Mount("/prefix", other_app)',
    "add_middleware": "write Routes(..., http_middlewares=[...])",
    "middleware": "write Routes(..., http_middlewares=[...])",
    "before_request": "write Routes(..., http_middlewares=[...])",
}
ROUTE_PARAMETERS: Final = {
    "status_code": _STATUS,
    "response_class": "return a response, such as HTMLResponse(text)",
    "response_model": "annotate what the handler returns",
    "responses": "annotate what the handler returns with Responses(...) of kui.openapi",
    "tags": _DESCRIPTION,
    "summary": _DESCRIPTION,
    "description": "write it as the docstring of the handler",
    "deprecated": _DESCRIPTION,
    "operation_id": _DESCRIPTION,
    "include_in_schema": _DESCRIPTION,
    "methods": 'write @app.get or @app.post, or HttpRoute("/path", handler, methods=["GET"])',
    "dependencies": _DEPENDENCIES.format("middlewares"),
}
GROUP_PARAMETERS: Final = {
    "prefix": 'write "/prefix" // Routes(...)',
    "url_prefix": 'write "/prefix" // Routes(...)',
    "dependencies": _DEPENDENCIES.format("http_middlewares"),
    "middlewares": "write http_middlewares=[...] or socket_middlewares=[...]",
}
APP_PARAMETERS: Final = {
    "middleware": _MIDDLEWARE,
    "middlewares": _MIDDLEWARE,
    "debug": "write kui run --debug",
    "root_path": "write kui run --root-path",
    "prefix": 'write "/prefix" // Routes(...) around the routes',
    "static_folder": 'write Mount("/static", Files("static")) among the routes',
    "title": _OPENAPI,
    "version": _OPENAPI,
    "openapi_url": _OPENAPI,
    "docs_url": _OPENAPI,
    "template_folder": 'write templates=Jinja2Templates("templates")',
    "dependencies": _DEPENDENCIES.format("http_middlewares"),
}
EXCEPTION_PARAMETERS: Final = {
    "detail": 'write content="..."',
    "status": "write status_code=403",
    "description": 'write content="..."',
}

FILE_PARAMETERS: Final = {
    "media_type": 'write content_type="..."',
    "filename": 'write download_name="..."',
}
DIRECTORY_PARAMETERS: Final = {"html": "write Pages(...) instead of Files(...)"}
_RESPONSE_PARAMETERS: Final = {
    "status": "write status_code=201",
    "background": "write request.background_tasks.append(function, ...)",
}
STREAM_PARAMETERS: Final = {**_RESPONSE_PARAMETERS, "media_type": 'write content_type="..."'}
EVENTS_PARAMETERS: Final = {**_RESPONSE_PARAMETERS, "ping": "write ping_interval=15"}
JSON_PARAMETERS: Final = {
    **_RESPONSE_PARAMETERS,
    "media_type": 'write headers={"content-type": "..."}',
    "content_type": 'write headers={"content-type": "..."}',
}
_DEFAULT: Final = "write the default after =, as in page: Annotated[int, Query()] = 1"
MARKER_PARAMETERS: Final = {"default": _DEFAULT, "default_factory": _DEFAULT}
MARKER_POSITION: Final = f"a marker has no argument by position: {_DEFAULT}"
TEMPLATE_PARAMETERS: Final = {"directory": 'write Jinja2Templates("templates")'}

_REQUEST_ATTRIBUTES: Final = {
    "args": "write request.query_params",
    "query": "write request.query_params",
    "match_info": "write request.path_params",
    "view_args": "write request.path_params",
    "remote": "write request.client.host",
    "remote_addr": "write request.client.host",
    "session": 'write request["session"], which a middleware for sessions sets',
    "get_json": "write await request.json",
    "get_data": "write await request.body",
    "files": "write await request.form, which holds the files too",
    "values": "write request.query_params, or await request.form",
}
CONVERTERS: Final = {"path": "any", "float": "decimal", "string": "str"}
"""The converters of other frameworks, and what they are called here."""

_CONNECTION_TYPES: Final = {
    "HttpRequest": "request",
    "Request": "request",
    "WebSocket": "websocket",
}
_CONNECTION_NAMES: Final = {
    "request": "request",
    "req": "request",
    "websocket": "websocket",
    "ws": "websocket",
}


def connection_hint(name: str, annotation: object) -> str | None:
    """Return a hint if a handler's parameter is meant for the connection itself, such as `request`; otherwise None.

    :param name: the name of the parameter.
    :param annotation: the type of the parameter; `inspect.Parameter.empty` if it has none.
    """
    if annotation is Parameter.empty:
        proxy = _CONNECTION_NAMES.get(name)
    else:
        proxy = _CONNECTION_TYPES.get(getattr(annotation, "__name__", ""))
    return proxy and f"write from kui.asgi import {proxy}, and no parameter for it"


class _Missing:
    """An attribute that does not exist: reading it raises AttributeError with a hint."""

    def __init__(self, name: str, hint: str) -> None:
        self._name = name
        self._hint = hint
        self.__doc__ = f"Not here: {hint}."

    def __get__(self, instance: object | None, owner: type) -> NoReturn:
        raise AttributeError(
            f"{owner.__name__} has no {self._name!r}: {self._hint}", name=self._name
        )


class _Habits:
    """A class with hints for the methods of other frameworks.

    A `__getattr__` would do the same, but every attribute would take ten times as long to read.
    """

    __slots__ = ()

    def __init_subclass__(cls, hints: dict[str, str] | None = None, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        # Set here and not in the class body, so that a type checker still reports these names.
        for name, hint in (hints or {}).items():
            setattr(cls, name, _Missing(name, hint))

    def __dir__(self) -> Iterable[str]:
        names = super().__dir__()
        return [
            name for name in names if not isinstance(getattr_static(self, name, None), _Missing)
        ]


class AppHabits(_Habits, hints=_APP_METHODS):
    """The base of an application."""


class GroupHabits(_Habits, hints=_GROUP_METHODS):
    """The base of groups of routes and of the router."""


class BackgroundHabits(_Habits, hints={"add_task": "write append"}):
    """The base of background tasks."""

    __slots__ = ()


class RequestHabits(_Habits, hints=_REQUEST_ATTRIBUTES):
    """The base of HTTP requests."""


def refuse(names: Iterable[str], habits: dict[str, str]) -> None:
    """Check names of keyword arguments.

    :raises TypeError: `habits` has one of them; the message is its hint.
    """
    for name in names:
        if name in habits:
            raise TypeError(f"there is no parameter {name}= here: {habits[name]}")


def told(habits: dict[str, str], positional: str = "") -> Callable[[F], F]:
    """Decorate a function, so that a keyword argument that `habits` has raises TypeError with its hint.

    :param positional: the hint if there are too many arguments by position; "" for Python's own sentence.
    """

    def decorate(function: F) -> F:
        known = signature(function).parameters
        unknown = {name: hint for name, hint in habits.items() if name not in known}
        most = len(known) - sum(one.kind is Parameter.KEYWORD_ONLY for one in known.values())

        @wraps(function)
        def checked(*args: Any, **kwargs: Any) -> Any:
            refuse(kwargs, unknown)
            if positional and len(args) > most:
                raise TypeError(positional)
            return function(*args, **kwargs)

        return checked  # type: ignore[return-value]  # it has the signature of `function`

    return decorate
