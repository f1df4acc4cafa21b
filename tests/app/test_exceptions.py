"""What a client is told when a handler raises, and what the server is told."""

from __future__ import annotations

import copy
import logging
import pickle
from contextlib import suppress
from typing import Any

import anyio
import pytest
from baize.exceptions import HTTPException as BaizeHTTPException

from kui.asgi import (
    BaseTemplates,
    ClientDisconnect,
    HTTPException,
    HttpResponse,
    HttpRoute,
    HttpView,
    Kui,
    Mount,
    PlainTextResponse,
    TemplateResponse,
    abort,
    convert_response,
    request,
)
from kui.http.urls import request_name
from kui.testing import AsyncTestClient, Disconnected
from kui.views import Endpoint
from tests.support.scopes import http_scope

pytestmark = pytest.mark.anyio


def app_that_raises(exc: BaseException, **options: object) -> Kui:
    app = Kui(**options)

    @app.router.http("/")
    async def endpoint() -> None:
        raise exc

    return app


async def get(app: Kui, path: str = "/", raise_app_exceptions: bool = False, **options: object):
    async with AsyncTestClient(app, raise_app_exceptions=raise_app_exceptions) as client:
        return await client.get(path, **options)


class Teapot(HTTPException):
    def __init__(self) -> None:
        super().__init__(418)


async def test_an_unhandled_exception_is_a_bare_500_and_is_raised_on() -> None:
    app = app_that_raises(ValueError("secret"))
    response = await get(app)
    assert response.status_code == 500
    assert "secret" not in response.text and "Traceback" not in response.text
    with pytest.raises(ValueError, match="secret"):
        await get(app, raise_app_exceptions=True)


class Asynchronous:
    async def __call__(self, exc: Exception) -> Any:
        return await asynchronous(exc)


async def asynchronous(exc: Exception) -> Any:
    await anyio.lowlevel.checkpoint()
    return str(exc), 418


@pytest.mark.parametrize(
    "handler",
    [
        asynchronous,
        Asynchronous(),
        lambda exc: (str(exc), 418),
        lambda exc: asynchronous(exc),
        lambda exc: PlainTextResponse(str(exc), 418),
    ],
)
async def test_a_handler_is_a_function_of_any_kind_or_an_object(handler: Any) -> None:
    app = app_that_raises(LookupError("none"), exception_handlers={LookupError: handler})
    response = await get(app, raise_app_exceptions=True)
    assert (response.status_code, response.text) == (418, "none")


@pytest.mark.parametrize("status", [200, 299, 404, 499, 599])
async def test_an_http_exception_may_have_any_status(status: int) -> None:
    response = await get(app_that_raises(HTTPException(status)), raise_app_exceptions=True)
    assert response.status_code == status
    assert response.text


async def test_what_baizes_own_exception_does_not_check_is_a_500() -> None:
    for exc in BaizeHTTPException(700), BaizeHTTPException(403, "no"):  # type: ignore[arg-type]
        app = app_that_raises(exc)
        response = await get(app)
        assert response.status_code == 500
        assert "no" not in response.text
        with pytest.raises((TypeError, ValueError), match="HTTPException"):
            await get(app, raise_app_exceptions=True)


@pytest.mark.parametrize("raised", [HTTPException, abort, Teapot])
def test_an_http_exception_refuses_a_mistake_where_it_is_made(raised: Any) -> None:
    if raised is Teapot:
        raised = lambda *arguments: HTTPException.__init__(Teapot(), *arguments)  # noqa: E731
    for content in "no", b"no", ["no"], ["ab"], [("a", "b", "c")], {"detail": 1}, 7:
        with pytest.raises(TypeError) as caught:
            raised(403, content)
        assert f"write HTTPException(403, content={content!r})" in str(caught.value)
    for status in "no", None, 403.0, True:
        with pytest.raises(TypeError, match=r"is an int.*write HTTPException\(403, content=...\)"):
            raised(status)
    for status in 0, 99, 101, 199, 600:
        with pytest.raises(ValueError, match=f"from 200 to 599, not {status}"):
            raised(status)
    for headers in {"a b": "c"}, {"a": "b\nc"}, [("a", "\u20ac")]:
        with pytest.raises(ValueError, match="header"):
            raised(403, headers)


async def test_its_headers_are_a_mapping_or_pairs() -> None:
    for headers in {"X-A": "b"}, [("X-A", "b")], (("X-A", "b"), ("Set-Cookie", "c=1")):
        exc = HTTPException(403, headers, "no")
        assert exc.headers is not None and exc.headers["X-A"] == "b"
        response = await get(app_that_raises(exc))
        assert (response.status_code, response.text, response.headers["x-a"]) == (403, "no", "b")


def test_a_copy_of_an_http_exception_is_the_same() -> None:
    for exc in HTTPException(403, {"a": "b"}, "no"), Teapot():
        for twin in copy.copy(exc), pickle.loads(pickle.dumps(exc)):
            assert type(twin) is type(exc)
            assert (twin.status_code, twin.headers, twin.content) == (
                exc.status_code,
                exc.headers,
                exc.content,
            )
            assert twin.args == exc.args


async def test_a_handler_for_our_exception_answers_baizes_too() -> None:
    async def handle(exc: HTTPException[Any]) -> tuple[str, int]:
        return "handled", exc.status_code

    app = app_that_raises(BaizeHTTPException(418), exception_handlers={HTTPException: handle})
    response = await get(app, raise_app_exceptions=True)
    assert (response.status_code, response.text) == (418, "handled")


async def test_what_the_framework_refuses_is_our_exception() -> None:
    app = Kui()

    @app.router.http.post("/")
    async def endpoint() -> str:
        try:
            await request.json
        except HTTPException as exc:
            return str(exc.status_code)
        return "no refusal"

    async with AsyncTestClient(app) as client:
        assert (await client.post("/", content=b"x")).text == "415"


@pytest.mark.parametrize("raises", [False, True])
async def test_a_handler_keeps_the_headers_of_the_exception_that_it_does_not_set(
    raises: bool,
) -> None:
    headers = {
        "WWW-Authenticate": "Basic",
        "Retry-After": "7",
        "Content-Type": "a/b",
        "ETag": '"a"',
    }
    app = app_that_raises(HTTPException(401, headers, b"x"))
    page = PlainTextResponse("page", 401, {"Retry-After": "9"})

    @app.exception_handler(401)
    async def handle(exc: HTTPException[Any]) -> HttpResponse:
        if raises:
            raise HTTPException(403, {"Retry-After": "9"}, "page")
        return page

    response = await get(app, raise_app_exceptions=True)
    assert response.status_code == (403 if raises else 401)
    assert response.text == "page"
    assert response.headers["www-authenticate"] == "Basic"
    assert response.headers["retry-after"] == "9"
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert "etag" not in response.headers
    assert dict(page.headers) == {"content-type": "text/plain; charset=utf-8", "retry-after": "9"}


async def test_a_handler_for_405_keeps_allow() -> None:
    app = Kui()
    app.router.http.get("/")(lambda: "x")

    @app.exception_handler(405)
    def handle(exc: HTTPException[Any]) -> tuple[dict[str, str], int]:
        return {"error": "method"}, 405

    async with AsyncTestClient(app) as client:
        response = await client.post("/")
    assert (response.status_code, response.json()) == (405, {"error": "method"})
    assert "GET" in response.headers["allow"]


async def test_the_exact_status_goes_before_the_class_and_the_class_before_its_bases() -> None:
    async def by_status(exc: Exception) -> str:
        return "status"

    async def by_class(exc: Exception) -> str:
        return "class"

    async def by_base(exc: Exception) -> str:
        return "base"

    everything = {HTTPException: by_base, Teapot: by_class, 418: by_status}
    for handlers, expected in [
        (everything, "status"),
        ({HTTPException: by_base, Teapot: by_class}, "class"),
        ({HTTPException: by_base}, "base"),
    ]:
        response = await get(app_that_raises(Teapot(), exception_handlers=handlers))
        assert response.text == expected


async def test_a_handler_may_be_a_plain_function_that_sees_the_request() -> None:
    app = app_that_raises(ValueError("x"))

    @app.exception_handler(ValueError)
    def plain(exc: ValueError) -> tuple[dict[str, str], int]:
        return {"path": request.url.path, "why": str(exc)}, 422

    response = await get(app, raise_app_exceptions=True)
    assert (response.status_code, response.json()) == (422, {"path": "/", "why": "x"})


async def test_a_group_with_one_leaf_counts_as_that_leaf() -> None:
    seen: list[Exception] = []
    app = Kui()

    @app.exception_handler(ValueError)
    async def handle(exc: ValueError) -> str:
        seen.append(exc)
        return "leaf"

    @app.router.http("/")
    async def endpoint() -> None:
        async def crash() -> None:
            raise ValueError("child")

        async with anyio.create_task_group() as task_group:
            task_group.start_soon(crash)
            await anyio.sleep_forever()

    assert (await get(app, raise_app_exceptions=True)).text == "leaf"
    assert [type(exc) for exc in seen] == [ValueError]


async def test_a_group_of_several_is_an_exception_of_its_own() -> None:
    group = ExceptionGroup("two", [ValueError(), KeyError()])
    app = app_that_raises(group, exception_handlers={ValueError: lambda exc: "one"})
    assert (await get(app)).status_code == 500


@pytest.mark.parametrize("key", [500, Exception])
async def test_the_last_handler_answers_and_the_exception_is_raised_on(key: object) -> None:
    app = app_that_raises(ValueError("secret"))

    @app.exception_handler(key)
    async def sorry(exc: Exception) -> tuple[str, int]:
        return "sorry", 500

    assert (await get(app)).text == "sorry"
    with pytest.raises(ValueError, match="secret"):
        await get(app, raise_app_exceptions=True)


@pytest.mark.parametrize("key", [500, Exception])
async def test_the_last_handler_is_never_given_an_http_exception(key: object) -> None:
    app = app_that_raises(HTTPException(500, content="plain"))
    app.exception_handler(key)(lambda exc: "sorry")
    response = await get(app, raise_app_exceptions=True)
    assert (response.status_code, response.text) == (500, "plain")


async def test_a_disconnect_sends_nothing_and_is_no_error(caplog: pytest.LogCaptureFixture) -> None:
    sent: list[object] = []
    app = app_that_raises(ClientDisconnect())
    app.exception_handler(Exception)(lambda exc: "sorry")

    async def receive() -> dict[str, object]:
        return {"type": "http.disconnect"}

    async def send(message: object) -> None:
        sent.append(message)

    await app(http_scope(), receive, send)
    assert sent == []
    assert caplog.records == []


async def test_a_handler_that_fails_itself_gives_a_bare_500() -> None:
    app = app_that_raises(ValueError("first"))

    @app.exception_handler(ValueError)
    async def broken(exc: ValueError) -> str:
        raise KeyError("second")

    assert (await get(app)).status_code == 500
    with pytest.raises(KeyError, match="second"):
        await get(app, raise_app_exceptions=True)


async def test_an_http_exception_that_a_handler_raises_is_its_answer() -> None:
    app = app_that_raises(KeyError("item"))

    @app.exception_handler(KeyError)
    async def missing(exc: KeyError) -> None:
        raise HTTPException(404, content=f"no {exc.args[0]}")

    response = await get(app, raise_app_exceptions=True)
    assert (response.status_code, response.text) == (404, "no item")
    app.exception_handler(404)(lambda exc: (f"sorry, {exc.content}", 404))
    assert (await get(app, raise_app_exceptions=True)).text == "sorry, no item"


async def test_a_handler_may_leave_an_exception_as_it_is() -> None:
    app = app_that_raises(HTTPException(409, content="conflict"))

    @app.exception_handler(HTTPException)
    async def leaves_it(exc: HTTPException) -> None:
        raise exc

    response = await get(app, raise_app_exceptions=True)
    assert (response.status_code, response.text) == (409, "conflict")


async def test_handlers_that_raise_for_each_other_come_to_an_end() -> None:
    app = app_that_raises(HTTPException(404))

    @app.exception_handler(404)
    async def moved(exc: HTTPException) -> None:
        raise HTTPException(410)

    @app.exception_handler(410)
    async def back(exc: HTTPException) -> None:
        raise HTTPException(404)

    assert (await get(app)).status_code == 500


async def test_the_last_handler_answers_what_another_fails_with() -> None:
    app = app_that_raises(ValueError("first"))

    @app.exception_handler(ValueError)
    async def broken(exc: ValueError) -> str:
        raise KeyError("second")

    app.exception_handler(500)(lambda exc: (f"sorry: {exc!r}", 500))
    assert (await get(app)).text == "sorry: KeyError('second')"
    with pytest.raises(KeyError, match="second"):
        await get(app, raise_app_exceptions=True)


async def test_a_last_handler_that_fails_gives_a_bare_500() -> None:
    app = app_that_raises(ValueError("first"))

    @app.exception_handler(Exception)
    async def broken(exc: Exception) -> str:
        raise KeyError("second")

    assert (await get(app)).text == (await get(app_that_raises(ValueError()))).text
    with pytest.raises(KeyError, match="second"):
        await get(app, raise_app_exceptions=True)


async def test_a_page_for_an_error_that_cannot_be_rendered_gives_a_bare_500() -> None:
    class Broken(BaseTemplates):
        def render(self, name: str, context: object) -> str:
            raise RuntimeError("no such variable")

    app = app_that_raises(HTTPException(404), templates=Broken(), cors_config={})
    app.exception_handler(404)(lambda exc: (TemplateResponse("404.html"), 404))
    response = await get(app, headers={"origin": "https://example.com"})
    assert (response.status_code, response.headers["content-type"]) == (
        500,
        "text/plain; charset=utf-8",
    )
    assert response.headers["access-control-allow-origin"] == "https://example.com"
    with pytest.raises(RuntimeError, match="no such variable"):
        await get(app, raise_app_exceptions=True)


async def test_an_answer_for_a_client_that_has_left_is_no_failure(
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = Kui()
    left = anyio.Event()

    @app.router.http("/")
    async def slow() -> None:
        await left.wait()
        assert await request.is_disconnected()
        raise HTTPException(404)

    async with AsyncTestClient(app) as client, anyio.create_task_group() as tasks:

        async def ask() -> None:
            with suppress(Disconnected):
                await client.get("/")

        tasks.start_soon(ask)
        await anyio.wait_all_tasks_blocked()
        client.disconnect()
        left.set()
        await client.wait_idle()
    assert not caplog.records


async def forgetful() -> None:
    pass


def forgetful_in_a_thread() -> None:
    pass


class Forgetful(HttpView):
    async def get(self) -> None:
        pass


def converting(endpoint: Endpoint) -> Endpoint:
    async def converted() -> HttpResponse:
        return convert_response(await endpoint())

    return converted


def losing(endpoint: Endpoint) -> Endpoint:
    async def lost() -> None:
        await endpoint()

    return lost


NAMES = [
    (forgetful, "forgetful"),
    (forgetful_in_a_thread, "forgetful_in_a_thread"),
    (Forgetful, r"Forgetful\.get"),
]


@pytest.mark.parametrize(("handler", "name"), NAMES)
async def test_a_handler_without_a_return_is_named_in_the_error(handler: Any, name: str) -> None:
    app = Kui(routes=HttpRoute("/", handler))
    with pytest.raises(TypeError, match=rf"the handler \S+\.{name} returned None; return"):
        await get(app, raise_app_exceptions=True)


@pytest.mark.parametrize("middleware", [converting, losing])
@pytest.mark.parametrize("around_all", [True, False])
@pytest.mark.parametrize(("handler", "name"), NAMES)
async def test_so_it_is_behind_a_middleware(
    handler: Any, name: str, around_all: bool, middleware: Any
) -> None:
    around = [middleware]
    app = Kui(
        routes=HttpRoute("/", handler, middlewares=() if around_all else around),
        http_middlewares=around if around_all else (),
    )
    with pytest.raises(TypeError, match=rf"the handler \S+\.{name}, or a middleware around it,"):
        await get(app, raise_app_exceptions=True)


async def test_without_a_handler_it_is_a_middleware_that_returned_nothing() -> None:
    def silent(endpoint: Endpoint) -> Endpoint:
        async def answered() -> None:
            with suppress(HTTPException):
                await endpoint()

        return answered

    with pytest.raises(TypeError, match="a middleware returned None"):
        await get(Kui(http_middlewares=[silent]), raise_app_exceptions=True)


@pytest.mark.parametrize("handler", [forgetful, forgetful_in_a_thread, Forgetful])
def test_a_middleware_sees_the_name_of_the_handler(handler: Any) -> None:
    seen = []

    def noting(endpoint: Any) -> Endpoint:
        seen.append(endpoint.__name__)
        return endpoint

    Kui(routes=HttpRoute("/", handler, middlewares=[noting]))
    assert handler.__name__ in seen


async def test_handlers_may_be_registered_after_the_routes() -> None:
    app = app_that_raises(HTTPException(404))
    app.exception_handler(404)(lambda exc: ("late", 404))
    assert (await get(app)).text == "late"
    assert (await get(app, "/nowhere")).text == "late"


@pytest.mark.parametrize(
    "key", [99, 600, "404", BaseException, ClientDisconnect, True, KeyboardInterrupt]
)
def test_a_handler_for_what_cannot_be_handled_is_refused(key: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        Kui().exception_handler(key)(lambda exc: "")


async def test_background_tasks_run_after_an_error_too(caplog: pytest.LogCaptureFixture) -> None:
    ran: list[str] = []
    app = Kui()

    def broken() -> None:
        raise ValueError("in the background")

    async def last() -> None:
        ran.append(request.url.path)

    @app.router.http("/")
    async def endpoint() -> None:
        request.background_tasks.append(ran.append, "first")
        request.background_tasks.append(broken)
        request.background_tasks.append(last)
        raise HTTPException(400)

    with caplog.at_level(logging.ERROR, "kui.error"):
        assert (await get(app, raise_app_exceptions=True)).status_code == 400
    assert ran == ["first", "/"]
    assert [record.exc_info[1].args for record in caplog.records if record.exc_info] == [
        ("in the background",)
    ]


async def test_the_exit_stack_lives_until_the_body_is_sent() -> None:
    steps: list[str] = []
    app = Kui()

    @app.router.http("/")
    async def endpoint() -> PlainTextResponse:
        request.exit_stack.callback(steps.append, "left")
        request.background_tasks.append(steps.append, "background")
        return PlainTextResponse("body")

    assert (await get(app)).text == "body"
    assert steps == ["left", "background"]


async def test_the_exit_stack_is_told_of_the_exception() -> None:
    seen: list[object] = []
    app = Kui(exception_handlers={ValueError: lambda exc: "handled"})

    class Transaction:
        async def __aenter__(self) -> None: ...

        async def __aexit__(self, kind: object, exc: object, traceback: object) -> None:
            seen.append(kind)

    @app.router.http("/")
    async def endpoint() -> None:
        await request.exit_stack.enter_async_context(Transaction())
        raise ValueError

    assert (await get(app)).text == "handled"
    assert seen == [ValueError]


@pytest.mark.parametrize("key", [404, HTTPException])
async def test_a_path_that_there_is_not_asks_also_a_handler_that_came_later(key: Any) -> None:
    app = Kui()
    assert (await get(app, "/nowhere")).text == "Nothing matches the given URI"
    app.exception_handler(key)(lambda exc: ("nothing of the sort", 404))
    assert (await get(app, "/nowhere")).text == "nothing of the sort"


async def test_and_a_converter_that_came_later() -> None:
    app = Kui()
    assert (await get(app, "/nowhere")).text == "Nothing matches the given URI"

    @app.response_converter.register(str)
    def shout(text: str, status: int = 200, headers: Any = None) -> PlainTextResponse:
        return PlainTextResponse(text.upper(), status, headers)

    response = await get(app, "/nowhere")
    assert (response.status_code, response.text) == (404, "NOTHING MATCHES THE GIVEN URI")


@pytest.mark.parametrize("mounted", [False, True])
async def test_what_is_raised_on_has_a_note_with_the_method_and_the_path(mounted: bool) -> None:
    inner = app_that_raises(KeyError("no such thing"))
    app = Kui(routes=[Mount("/in", inner)]) if mounted else inner
    path = "/in/" if mounted else "/"
    with pytest.raises(KeyError) as caught:
        await get(app, f"{path}?token=secret", raise_app_exceptions=True)
    assert caught.value.__notes__ == [f"raised for GET {path}"]


@pytest.mark.parametrize(
    ("scope", "name"),
    [
        ({"path": "/a\n\x1b[0mb", "raw_path": b"/a\n\x1b[0mb?c"}, "GET /a\\n\\x1b[0mb"),
        ({"path": "/ä b"}, "GET /%C3%A4%20b"),
        ({"path": "/" + "a" * 300}, "GET /" + "a" * 199 + "..."),
    ],
)
def test_a_path_in_a_log_stays_one_short_line(scope: dict[str, Any], name: str) -> None:
    assert request_name({"type": "http", "method": "GET", **scope}) == name


async def test_so_has_what_a_websocket_handler_raises() -> None:
    app = Kui()

    @app.router.websocket("/prices")
    async def fail() -> None:
        raise KeyError("no such price")

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: object) -> None:
        pass

    scope = {"type": "websocket", "path": "/prices", "query_string": b"a", "headers": []}
    with pytest.raises(KeyError) as caught:
        await app(scope, receive, send)
    assert caught.value.__notes__ == ["raised for WEBSOCKET /prices"]
