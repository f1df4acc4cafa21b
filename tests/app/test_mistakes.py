"""What is given to Kui by mistake is told at once, where it is given, in a sentence that says what to do."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import nullcontext
from decimal import Decimal
from typing import Annotated, Any

import pytest
import trio

from kui.asgi import (
    Body,
    Depends,
    FactoryClass,
    FileResponse,
    Files,
    HTTPException,
    HttpRequest,
    HttpRoute,
    HttpView,
    Jinja2Templates,
    JSONResponse,
    Kui,
    Mount,
    MultimethodRoutes,
    Query,
    Routes,
    SendEventResponse,
    SocketRoute,
    StreamResponse,
    WebSocket,
    abort,
    allow_cors,
    allow_origins,
    cancel_on_disconnect,
    compress,
    cross_origin_protection,
    limit_concurrency,
    request,
    request_limits,
    required_method,
    timeout,
)
from kui.testing import AsyncTestClient
from tests.support.scopes import http_scope


async def hello() -> str:
    return "hello"


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"templates": "templates"}, "templates= takes an engine, such as Jinja2Templates"),
        ({"limits": 3}, "limits= takes kui.asgi.Limits"),
        ({"lifespan": 3}, "lifespan is a function of the app, not 3"),
        ({"lifespan": hello}, "lifespan is called with the app and nothing else: .*hello"),
        ({"resources": nullcontext()}, "resources are a list: write"),
        ({"resources": [hello]}, "a resource is an async context manager, such as Channels"),
        ({"on_startup": hello}, "on_startup are a list: write"),
        ({"on_startup": [hello]}, "in on_startup is called with the app and nothing else"),
        ({"on_shutdown": [3]}, "what is listed in on_shutdown is a function of the app, not 3"),
        ({"routes": "/"}, "'/' is no route: give an HttpRoute"),
        ({"http_middlewares": allow_cors()}, "http_middlewares are a list: write"),
        ({"socket_middlewares": [3]}, "3 is no middleware: give a function"),
        ({"exception_handlers": [(404, hello)]}, "exception_handlers= takes a mapping"),
        ({"exception_handlers": {"404": hello}}, "register a handler for a status code"),
        ({"exception_handlers": {404: "x"}}, "is a function of the exception, not 'x'"),
        ({"exception_handlers": {404: hello}}, "is called with the exception and nothing else"),
        ({"cors_config": True}, "cors_config= takes the parameters of allow_cors"),
        ({"cors_config": {"allow_origin": []}}, "'allow_origin'"),
        ({"factory_class": HttpRequest}, "factory_class= takes FactoryClass"),
        ({"response_converters": [Decimal]}, "response_converters= takes a mapping"),
        ({"response_converters": {"x": hello}}, "registered for a type, not for 'x'"),
        ({"json_encoder": str}, "json_encoder= takes a mapping from types to functions"),
        ({"json_encoder": {"x": str}}, "json_encoder= maps types to functions, not 'x'"),
        ({"json_encoder": {Decimal: "str"}}, "is a function of a value, not 'str'"),
        ({"allowed_hosts": "example.com"}, r"is a list of names; write \['example.com'\]"),
        ({"nonsense": 1}, "nonsense"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_an_app_refuses_what_cannot_work(parameters: dict[str, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Kui(**parameters)


def test_what_is_decorated_without_its_argument_says_so() -> None:
    app = Kui()
    for decorate in (app.on_startup, app.on_shutdown, app.exception_handler(404)):
        with pytest.raises(TypeError, match=r"and nothing else: \S+hello"):
            decorate(hello)
    with pytest.raises(TypeError, match="a converter is called with a value and nothing else"):
        app.response_converter.register(Decimal)(hello)


def test_classes_of_connections_are_derived_from_kuis() -> None:
    with pytest.raises(TypeError, match="derived from HttpRequest"):
        FactoryClass(http=dict)  # type: ignore[arg-type]  # the mistake


@pytest.mark.parametrize("short", ["__call__", "get", "post", "put", "patch", "delete"])
def test_a_decorator_without_its_path_registers_nothing_and_says_so(short: str) -> None:
    app = Kui()
    with pytest.raises(TypeError, match="a path comes first, such as"):
        getattr(app.router.http, short)(hello)
    with pytest.raises(TypeError, match="a path comes first, such as"):
        app.router.websocket(hello)  # type: ignore[arg-type]  # the mistake


def test_an_exception_handler_without_its_key_says_so_before_it_decorates() -> None:
    with pytest.raises(TypeError, match="register a handler for a status code"):
        Kui().exception_handler(hello)  # type: ignore[arg-type]  # the mistake


Register = Callable[[Any], object]


@pytest.mark.parametrize(
    "register",
    [
        lambda one: HttpRoute("/", hello, middlewares=one),
        lambda one: SocketRoute("/", hello, middlewares=one),
        lambda one: Routes(http_middlewares=one),
        lambda one: Kui().router.http("/", middlewares=one),
        lambda one: Kui().router.websocket("/", middlewares=one),
        lambda one: HttpRoute("/", hello).within(middlewares=one),
    ],
)
def test_a_middleware_on_its_own_is_no_list(register: Register) -> None:
    with pytest.raises(
        TypeError, match=r"middlewares are a list: write \[...\] around required_me"
    ):
        register(required_method("POST"))


@pytest.mark.parametrize(
    "register",
    [
        lambda one: HttpRoute("/", hello, middlewares=[one]),
        lambda one: HttpRoute("/", hello) @ one,
        lambda one: Routes(http_middlewares=[one]),
        lambda one: Kui(http_middlewares=[one]),
        lambda one: Kui().router.http.get("/", middlewares=[one])(hello),
        lambda one: Mount("/", Kui(), http_middlewares=[one]),
    ],
)
def test_a_middleware_for_websockets_is_refused_around_http(register: Register) -> None:
    with pytest.raises(
        TypeError, match=r"allow_origins\(\) is for WebSocket routes only.*cross_origin_protection"
    ):
        register(allow_origins("https://example.com"))


@pytest.mark.parametrize(
    "register",
    [
        lambda one: SocketRoute("/", hello, middlewares=[one]),
        lambda one: SocketRoute("/", hello) @ one,
        lambda one: Routes(socket_middlewares=[one]),
        lambda one: Kui(socket_middlewares=[one]),
        lambda one: Kui().router.websocket("/", middlewares=[one])(hello),
        lambda one: Mount("/", Kui(), socket_middlewares=[one]),
    ],
)
@pytest.mark.parametrize(
    "middleware",
    [
        allow_cors(),
        required_method("GET"),
        limit_concurrency(1),
        request_limits(body=1),
        compress(),
        cross_origin_protection(),
    ],
)
def test_a_middleware_for_http_is_refused_around_websockets(
    register: Register, middleware: Any
) -> None:
    with pytest.raises(TypeError, match="is for HTTP routes only, not for WebSocket: take it away"):
        register(middleware)


class Request:
    """As the one of Starlette."""


def asks_by_name(request): ...
def asks_shortly(req): ...
def asks_by_type(incoming: Request): ...
def asks_with_a_default(incoming: Request = None): ...  # type: ignore[assignment]
def asks_for_ours(incoming: HttpRequest): ...
def asks_for_more(item: int, request): ...
async def asks_of_a_view(self, request): ...
async def chats_by_name(websocket): ...
async def chats_by_type(socket: WebSocket): ...


@pytest.mark.parametrize(
    ("register", "proxy"),
    [
        (lambda: Kui().get("/")(asks_by_name), "request"),
        (lambda: Kui().get("/")(asks_shortly), "request"),
        (lambda: Kui().get("/")(asks_by_type), "request"),
        (lambda: Kui().get("/")(asks_with_a_default), "request"),
        (lambda: Kui().get("/")(asks_for_ours), "request"),
        (lambda: Kui().get("/{item}")(asks_for_more), "request"),
        (
            lambda: Kui().router.http("/")(type("View", (HttpView,), {"get": asks_of_a_view})),
            "request",
        ),
        (lambda: Kui(routes=HttpRoute("/", asks_by_name)), "request"),
        (lambda: Kui().websocket("/")(chats_by_name), "websocket"),
        (lambda: Kui().websocket("/")(chats_by_type), "websocket"),
    ],
)
def test_a_parameter_for_the_connection_is_told_of_the_proxy(
    register: Callable[[], object], proxy: str
) -> None:
    with pytest.raises(TypeError, match=f"write from kui.asgi import {proxy}, and no parameter"):
        register()


@pytest.mark.parametrize("name", ["request", "websocket"])
def test_a_placeholder_may_have_the_name_of_a_proxy(name: str) -> None:
    def handler(request: str = "", websocket: str = "") -> None: ...

    Kui().get(f"/{{{name}}}")(handler)


class OfStarlette:
    def __init__(self, app: Any) -> None: ...

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None: ...


@pytest.mark.parametrize(
    ("register", "message"),
    [
        (lambda: Kui(http_middlewares=[OfStarlette]), r"asgi_middlewares=\[OfStarlette\]"),
        (lambda: Kui(http_middlewares=[OfStarlette(0)]), r"asgi_middlewares=\[a function of"),
        (lambda: Kui(socket_middlewares=[OfStarlette]), r"asgi_middlewares=\[OfStarlette\]"),
        (lambda: Routes(http_middlewares=[OfStarlette]), r"asgi_middlewares=\[OfStarlette\]"),
        (lambda: HttpRoute("/", hello) @ OfStarlette, r"asgi_middlewares=\[OfStarlette\]"),
        (lambda: Kui(middleware=[]), r"write Kui\(http_middlewares="),
        (lambda: Kui(debug=True), "write kui run --debug"),
        (lambda: Routes(prefix="/a"), '"/prefix" // Routes'),
        (lambda: MultimethodRoutes(prefix="/a"), '"/prefix" // Routes'),
        (lambda: Routes().http.get("/", status_code=201), 'return "made", 201'),
        (lambda: Kui().router.http("/", methods=["GET"]), "write @app.get"),
        (lambda: Kui().post("/", status_code=201), 'return "made", 201'),
        (lambda: Kui().get("/", response_model=int), "annotate what the handler returns"),
        (lambda: Routes().http.get("/", tags=["a"]), r"write @operation\(...\) below it"),
        (lambda: Kui(title="Shop"), r"write Kui\(openapi=OpenAPI\(title=...\)\)"),
        (lambda: HTTPException(403, detail="no"), 'write content="..."'),
        (lambda: abort(status=403), "write status_code=403"),
        (lambda: Kui().websocket("/", dependencies=[]), r"write middlewares=\[...\]"),
        (lambda: HttpRoute("/", hello, status_code=201), 'return "made", 201'),
        (lambda: Kui(lifespan=started), "does not yield: write yield where the app serves"),
        (lambda: Kui(lifespan=sync_lifespan), "sync_lifespan is a def: write async def"),
        (lambda: Kui(on_startup=[lifespan]), r"write Kui\(lifespan=lifespan\)"),
        (lambda: Kui().on_shutdown(sync_lifespan), r"write Kui\(lifespan=sync_lifespan\)"),
        (lambda: SendEventResponse(hello), r"write async def .*hello\(send\), or .*hello\(\)"),
        (lambda: SendEventResponse(events), r"what a generator function returns: .*events\(\)"),
        (lambda: StreamResponse(lifespan), r"what a generator function returns: .*lifespan\(\)"),
    ],
)
def test_the_habits_of_others_are_told_what_to_write(
    register: Callable[[], object], message: str
) -> None:
    with pytest.raises(TypeError, match=message):
        register()


async def started(app: Kui) -> None: ...


async def lifespan(app: Kui) -> AsyncIterator[None]:
    yield


def sync_lifespan(app: Kui) -> Iterator[None]:
    yield


async def events() -> AsyncIterator[str]:
    yield "event"


def test_the_short_forms_are_those_of_the_router() -> None:
    app = Kui()
    for method in ("get", "post", "put", "patch", "delete"):
        decorate = getattr(app, method)(f"/{method}", method, [required_method(method)])
        assert decorate(hello) is hello
    assert app.websocket("/socket", "socket")(hello) is hello
    for route in [*app.router][:-1]:
        assert isinstance(route, HttpRoute)
        assert route.methods == {route.name.upper()} and len(route.middlewares) == 1
    assert app.router.url_for("socket") == "/socket"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("route", r'write @app.get\("/path"\), or'),
        ("include_router", r'write app.router << "/prefix" // routes'),
        ("add_middleware", r"write Kui\(http_middlewares="),
        ("on_event", "write @app.on_startup"),
        ("nonsense", "'Kui' object has no attribute 'nonsense'$"),
    ],
)
def test_methods_of_other_frameworks_are_told_what_to_write(name: str, message: str) -> None:
    with pytest.raises(AttributeError, match=message):
        getattr(Kui(), name)
    assert not hasattr(Kui(), name)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("get", r'write .http.get\("/path"\)$'),
        ("route", r'write .http.get\("/path"\), or'),
        ("include_router", 'write routes << "/prefix" // more'),
        ("add_middleware", r"write Routes\(..., http_middlewares="),
    ],
)
def test_so_are_those_of_groups_and_of_the_router(name: str, message: str) -> None:
    for group in Routes(), MultimethodRoutes(), Kui().router:
        with pytest.raises(AttributeError, match=message):
            getattr(group, name)


@pytest.mark.parametrize("wrong", [hello, ["GET", "POST"], 3])
def test_a_required_method_is_a_text(wrong: Any) -> None:
    with pytest.raises(TypeError, match="an HTTP method is a str such as 'GET', not"):
        required_method(wrong)


@pytest.mark.parametrize("route", [HttpRoute, SocketRoute])
def test_the_name_of_a_route_is_a_text(route: Any) -> None:
    with pytest.raises(TypeError, match="the name of a route is a str, or None for no name, not 5"):
        route("/", hello, name=5)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: FileResponse("a", media_type="text/css"), "write content_type="),  # type: ignore[call-arg]
        (lambda: FileResponse("a", filename="b"), "write download_name="),  # type: ignore[call-arg]
        (lambda: Files(".", html=True), r"write Pages\(\.\.\.\)"),  # type: ignore[call-arg]
        (lambda: StreamResponse([b""], media_type="text/css"), "write content_type="),  # type: ignore[call-arg]
        (lambda: SendEventResponse([], ping=15), "write ping_interval=15"),  # type: ignore[call-arg, arg-type]
        (lambda: JSONResponse({}, status=201), "write status_code=201"),
        (lambda: JSONResponse({}, background=hello), r"write request\.background_tasks\.append"),
        (lambda: Jinja2Templates(directory="templates"), r'write Jinja2Templates\("templates"\)'),
        (lambda: HttpRoute("/{rest:path}", hello), "there is no converter 'path': write any"),
    ],
)
def test_parameters_of_other_frameworks_are_told(make: Callable[[], object], message: str) -> None:
    with pytest.raises((TypeError, ValueError), match=message):
        make()


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("args", "request.query_params"),
        ("match_info", "request.path_params"),
        ("remote_addr", "request.client.host"),
        ("session", 'request["session"]'),
        ("get_json", "await request.json"),
        ("files", "await request.form"),
    ],
)
def test_attributes_of_other_requests_are_told(name: str, instead: str) -> None:
    request = HttpRequest(http_scope())
    assert not hasattr(request, name) and name not in dir(request)
    with pytest.raises(
        AttributeError, match=f"HttpRequest has no '{name}': write {re.escape(instead)}"
    ):
        getattr(request, name)


async def with_next(request: HttpRequest, call_next: Any) -> Any: ...


@pytest.mark.parametrize(
    ("middleware", "message"),
    [
        *(
            (made, rf"{made.__name__} returns a middleware: write {made.__name__}\(\.\.\.\)")
            for made in (
                timeout,
                limit_concurrency,
                compress,
                cross_origin_protection,
                allow_cors,
                request_limits,
                required_method,
            )
        ),
        (with_next, "with_next is no middleware: give a function that takes an endpoint and ret"),
    ],
)
def test_what_is_no_middleware_is_told(middleware: Any, message: str) -> None:
    for register in (
        lambda: Kui(http_middlewares=[middleware]),
        lambda: Routes(http_middlewares=[middleware]),
        lambda: HttpRoute("/", hello, middlewares=[middleware]),
    ):
        with pytest.raises(TypeError, match=message):
            register()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Query(1), "write the default after ="),
        (lambda: Body(default=None), "write the default after ="),
        (lambda: Depends(), r"write Depends\(function\)"),
        (lambda: HttpRoute("/", needs_marker), r"write Depends\(function\)"),
        (lambda: Kui(openapi=True), r"openapi= takes OpenAPI\(title=\.\.\.\)"),
        (lambda: request_limits(file_byte=2), "there is no limit 'file_byte': use one of body, "),
        (lambda: Kui().get("/", dependencies=[]), "declare it in the handler, as in _: Annotated"),
    ],
)
def test_other_arguments_of_other_frameworks_are_told(make: Any, message: str) -> None:
    with pytest.raises(TypeError, match=message):
        Kui(routes=made if isinstance(made := make(), HttpRoute) else ())


async def needs_marker(store: Annotated[str, Depends]) -> str:
    return store


@pytest.mark.anyio
async def test_what_is_forgotten_in_a_handler_is_told(caplog: pytest.LogCaptureFixture) -> None:
    app = Kui()

    @app.get("/await")
    async def forgets_await() -> Any:
        return {"body": request.json}

    @app.get("/session")
    async def without_session() -> Any:
        return request.session  # type: ignore[attr-defined]

    @app.get("/service")
    async def starts_a_coroutine() -> Any:
        app.task_group.start_soon(hello())  # type: ignore[arg-type]

    @app.get("/task")
    async def adds_a_task() -> Any:
        request.background_tasks.add_task(hello)  # type: ignore[attr-defined]

    @app.get("/failing")
    async def has_a_failing_task() -> str:
        request.background_tasks.append(fails, 1)
        return ""

    async def fails(number: int) -> None:
        raise LookupError(number)

    async with AsyncTestClient(app) as client:
        for path, message in {
            "await": r"an awaitable \(AsyncCached\) is not JSON: put await before it",
            "session": r'write request\["session"\]',
            "service": "a service is a function and its arguments, not <coroutine",
            "task": "BackgroundTasks has no 'add_task': write append",
        }.items():
            with pytest.raises((TypeError, AttributeError), match=message):
                await client.get(f"/{path}")
        await client.get("/failing")
    assert caplog.messages[-1].endswith(".fails"), "the name, and not its repr"


def test_a_block_that_is_given_as_a_middleware_is_told() -> None:
    with pytest.raises(LookupError, match="as a middleware, write it without parentheses"):
        cancel_on_disconnect()


@pytest.mark.anyio
async def test_a_library_for_the_other_loop_is_told(anyio_backend: str) -> None:
    app = Kui()
    other = "asyncio" if anyio_backend == "trio" else "trio"

    @app.get("/")
    async def ask() -> None:
        asyncio.get_running_loop() if other == "asyncio" else trio.lowlevel.current_task()
        raise AssertionError("it runs here")

    async with AsyncTestClient(app) as client:
        with pytest.raises(RuntimeError) as caught:
            await client.get("/")
    assert f"kui run --backend {other}" in caught.value.__notes__[0]

    @app.on_startup
    async def start(app: Kui) -> None:
        await ask()

    with pytest.raises(RuntimeError) as caught:
        async with AsyncTestClient(app):
            raise AssertionError("it has started")
    assert f"kui run --backend {other}" in caught.value.__notes__[0]
