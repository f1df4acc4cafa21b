"""Dependencies: what may be one, how often it is called, in which order all is entered, left and refused."""

from __future__ import annotations

import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextvars import ContextVar
from functools import partial, wraps
from typing import Annotated, Any

import anyio
import pytest

from kui.asgi import (
    Body,
    ClientDisconnect,
    Depends,
    Header,
    HTTPException,
    HttpRoute,
    HttpView,
    Kui,
    PlainTextResponse,
    Query,
    Security,
    StreamResponse,
    UploadFile,
    allow_cors,
    request,
)
from kui.testing import AsyncTestClient
from tests.support.scopes import http_scope

from .conftest import Serve, faults

pytestmark = pytest.mark.anyio


class Log(list[str]):
    """What has happened, in order; and dependencies that say so."""

    def generator(self, name: str, **needs: Any) -> Any:
        async def dependency(**values: Any) -> AsyncIterator[str]:
            self.append(f"+{name}")
            try:
                yield name
            except BaseException as error:
                self.append(f"{name}:{type(error).__name__}")
                raise
            finally:
                await anyio.lowlevel.checkpoint()
                self.append(f"-{name}")

        return declared(dependency, name, needs)


def declared(function: Any, name: str, needs: dict[str, Any]) -> Any:
    """A function that declares these parameters."""
    import inspect

    parameters = [
        inspect.Parameter(key, inspect.Parameter.KEYWORD_ONLY, annotation=annotation)
        for key, annotation in needs.items()
    ]
    function.__signature__ = inspect.Signature(parameters)
    function.__name__ = function.__qualname__ = name
    return function


class Class:
    def __init__(self, a: Annotated[int, Query()] = 1) -> None:
        self.a = a


class Callable:
    def __init__(self, factor: int) -> None:
        self.factor = factor

    async def __call__(self, a: Annotated[int, Query()] = 1) -> int:
        return a * self.factor

    def method(self, a: Annotated[int, Query()] = 1) -> int:
        return a * self.factor


def function(a: Annotated[int, Query()] = 1) -> int:
    return a


async def coroutine(a: Annotated[int, Query()] = 1) -> int:
    return a


def generator(a: Annotated[int, Query()] = 1) -> Iterator[int]:
    yield a


async def async_generator(a: Annotated[int, Query()] = 1) -> AsyncIterator[int]:
    yield a


def two(b: int, a: Annotated[int, Query()] = 1) -> int:
    return a * b


def positional(a: Annotated[int, Query()] = 1, b: int = 7, /, *rest: int, **more: int) -> int:
    return a


@pytest.mark.parametrize(
    "dependency",
    [
        function,
        coroutine,
        generator,
        async_generator,
        Callable(1),
        Callable(1).method,
        partial(two, 1),
        positional,
    ],
)
async def test_what_may_be_a_dependency(serve: Serve, dependency: Any) -> None:
    async def show(value: Annotated[int, Depends(dependency)]) -> Any:
        return [value]

    async with serve(show) as client:
        assert (await client.get("/?a=5")).json() == [5]
        assert (await client.get("/")).json() == [1]
        assert faults(await client.get("/?a=x")) == [("query", "/a")]


async def test_a_class_is_a_dependency(serve: Serve) -> None:
    async def show(value: Annotated[Class, Depends(Class)]) -> Any:
        return [value.a]

    async with serve(show) as client:
        assert (await client.get("/?a=5")).json() == [5]


async def test_a_dependency_is_called_once_for_a_request(serve: Serve) -> None:
    calls = []

    async def count() -> int:
        calls.append(1)
        return len(calls)

    async def other(count: Annotated[int, Depends(count)]) -> int:
        return count

    async def show(
        a: Annotated[int, Depends(count)],
        b: Annotated[int, Depends(other)],
        c: Annotated[int, Depends(count, cache=False)],
        d: Annotated[int, Depends(count, cache=False)],
    ) -> Any:
        return [a, b, c, d]

    async with serve(show) as client:
        assert (await client.get("/")).json() == [1, 1, 2, 3]
        assert (await client.get("/")).json() == [4, 4, 5, 6]


async def test_sync_ones_run_in_place_unless_they_say_otherwise(serve: Serve) -> None:
    here = threading.get_ident()

    def place() -> bool:
        return threading.get_ident() == here

    def closing() -> Iterator[bool]:
        yield threading.get_ident() == here
        left.append(threading.get_ident() == here)

    left: list[bool] = []

    async def show(
        a: Annotated[bool, Depends(place)],
        b: Annotated[bool, Depends(place, thread=True, cache=False)],
        c: Annotated[bool, Depends(closing)],
        d: Annotated[bool, Depends(closing, thread=True, cache=False)],
    ) -> Any:
        return [a, b, c, d]

    async with serve(show) as client:
        assert (await client.get("/")).json() == [True, False, True, False]
    assert left == [False, True]


async def test_a_coroutine_that_a_sync_one_returns_is_awaited_wherever_it_runs(
    serve: Serve,
) -> None:
    async def later() -> str:
        await anyio.lowlevel.checkpoint()
        return "later"

    def now() -> Any:
        return later()

    async def show(
        a: Annotated[str, Depends(now)],
        b: Annotated[str, Depends(now, thread=True, cache=False)],
    ) -> Any:
        return [a, b]

    async with serve(show) as client:
        assert (await client.get("/")).json() == ["later", "later"]


async def test_dependencies_are_left_in_reverse_order_when_the_handler_returns(
    serve: Serve,
) -> None:
    log = Log()
    a = log.generator("a")
    b = log.generator("b", a=Annotated[str, Depends(a)])
    c = log.generator("c", a=Annotated[str, Depends(a)], b=Annotated[str, Depends(b)])

    async def show(c: Annotated[str, Depends(c)], a: Annotated[str, Depends(a)]) -> str:
        log.append("handler")
        request.background_tasks.append(log.append, "background")
        return "answer"

    async with serve(show) as client:
        assert (await client.get("/")).text == "answer"
        await client.wait_idle()
    assert log == ["+a", "+b", "+c", "handler", "-c", "-b", "-a", "background"]


async def test_a_commit_that_fails_is_a_500_and_not_a_200(serve: Serve) -> None:
    log = Log()
    outer = log.generator("outer")

    async def session(outer: Annotated[str, Depends(outer)]) -> AsyncIterator[str]:
        yield "session"
        raise OSError("the commit has failed")

    async def create(session: Annotated[str, Depends(session)]) -> Any:
        return "created", 201

    app = Kui(routes=HttpRoute("/", create))
    with pytest.raises(OSError, match="the commit has failed"):
        async with AsyncTestClient(app) as client:
            await client.post("/")
    assert log == ["+outer", "outer:OSError", "-outer"]
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        assert (await client.post("/")).status_code == 500


async def test_exits_see_what_the_handler_has_raised_and_not_what_it_has_returned(
    serve: Serve,
) -> None:
    log = Log()
    session = log.generator("session")

    async def raised(session: Annotated[str, Depends(session)]) -> Any:
        raise HTTPException(404)

    async def returned(session: Annotated[str, Depends(session)]) -> Any:
        return "not found", 404

    async with serve(raised) as client:
        assert (await client.get("/")).status_code == 404
    assert log == ["+session", "session:HTTPException", "-session"]
    log.clear()
    async with serve(returned) as client:
        assert (await client.get("/")).status_code == 404
    assert log == ["+session", "-session"]


async def test_an_exit_may_raise_something_else(serve: Serve) -> None:
    async def translated() -> AsyncIterator[None]:
        try:
            yield
        except KeyError:
            raise HTTPException(404, content="no such key") from None

    async def show(a: Annotated[None, Depends(translated)]) -> Any:
        return {}["key"]

    async with serve(show) as client:
        response = await client.get("/")
    assert (response.status_code, response.text) == (404, "no such key")


async def test_an_exit_that_fails_does_not_keep_the_others_from_theirs(serve: Serve) -> None:
    log = Log()
    first = log.generator("first")

    async def failing(first: Annotated[str, Depends(first)]) -> AsyncIterator[None]:
        try:
            yield
        finally:
            raise HTTPException(503)

    last = log.generator("last", a=Annotated[None, Depends(failing)])

    async def show(last: Annotated[str, Depends(last)]) -> str:
        return "a"

    async with serve(show) as client:
        assert (await client.get("/")).status_code == 503
    assert log == ["+first", "+last", "-last", "first:HTTPException", "-first"]


@pytest.mark.parametrize("kind", ["exception", "timeout"])
async def test_what_a_dependency_swallows_is_an_error_that_names_it(
    serve: Serve, kind: str
) -> None:
    async def swallowing() -> AsyncIterator[None]:
        with anyio.move_on_after(0 if kind == "timeout" else 10):
            try:
                yield
            except ValueError:
                pass

    async def show(a: Annotated[None, Depends(swallowing)]) -> Any:
        if kind == "timeout":
            await anyio.sleep_forever()
        raise ValueError

    with pytest.raises(RuntimeError, match=r"the dependency .*swallowing has swallowed"):
        async with serve(show) as client:
            await client.get("/")


@pytest.mark.parametrize("thread", [False, True])
async def test_a_synchronous_generator_is_left_as_an_asynchronous_one_is(
    serve: Serve, thread: bool
) -> None:
    log: list[str] = []

    def noting() -> Iterator[None]:
        try:
            yield
        except ValueError:
            log.append("fails")
            raise
        else:
            log.append("returns")

    def swallowing() -> Iterator[None]:
        try:
            yield
        except ValueError:
            pass

    def none() -> Iterator[None]:
        if False:
            yield

    def twice() -> Iterator[None]:
        yield
        yield

    async def returns(a: Annotated[None, Depends(noting, thread=thread)]) -> str:
        return "a"

    async def fails(a: Annotated[None, Depends(noting, thread=thread)]) -> Any:
        raise ValueError("a fault")

    async def fails_silently(a: Annotated[None, Depends(swallowing, thread=thread)]) -> Any:
        raise ValueError

    async def never(a: Annotated[None, Depends(none, thread=thread)]) -> Any: ...

    async def again(a: Annotated[None, Depends(twice, thread=thread)]) -> str:
        return "a"

    async with serve(returns) as client:
        assert (await client.get("/")).text == "a"
    with pytest.raises(ValueError, match="a fault"):
        async with serve(fails) as client:
            await client.get("/")
    assert log == ["returns", "fails"]
    for handler, message in [
        (fails_silently, r"the dependency .*swallowing has swallowed"),
        (never, "returned before its yield"),
        (again, "yielded a second time"),
    ]:
        with pytest.raises(RuntimeError, match=message):
            async with serve(handler) as client:
                await client.get("/")


async def test_a_dependency_yields_once(serve: Serve) -> None:
    async def none() -> AsyncIterator[None]:
        if False:
            yield

    async def twice() -> AsyncIterator[None]:
        yield
        yield

    for dependency, message in [
        (none, "returned before its yield"),
        (twice, "yielded a second time"),
    ]:

        async def show(a: Annotated[None, Depends(dependency)]) -> str:
            return "a"

        with pytest.raises(RuntimeError, match=message):
            async with serve(show) as client:
                await client.get("/")


async def test_a_dependency_may_hold_a_scope_or_a_group_around_the_handler(serve: Serve) -> None:
    async def limited() -> AsyncIterator[None]:
        try:
            with anyio.fail_after(0.01):
                yield
        except TimeoutError:
            raise HTTPException(504) from None

    async def helped() -> AsyncIterator[anyio.Event]:
        async with anyio.create_task_group() as tasks:
            event = anyio.Event()
            tasks.start_soon(partial(set_event, event))
            yield event
            tasks.cancel_scope.cancel()

    async def set_event(event: anyio.Event) -> None:
        event.set()

    async def slow(a: Annotated[None, Depends(limited)], b: Annotated[Any, Depends(helped)]) -> str:
        await anyio.sleep_forever()
        return "never"

    async def quick(
        a: Annotated[None, Depends(limited)], b: Annotated[anyio.Event, Depends(helped)]
    ) -> str:
        await b.wait()
        return "a"

    async with serve(slow) as client:
        assert (await client.get("/")).status_code == 504
    async with serve(quick) as client:
        assert (await client.get("/")).text == "a"


async def test_a_context_variable_that_a_dependency_sets_is_the_handler_s(serve: Serve) -> None:
    variable: ContextVar[str] = ContextVar("variable")

    async def sets() -> AsyncIterator[None]:
        token = variable.set("set")
        yield
        variable.reset(token)

    async def show(a: Annotated[None, Depends(sets)]) -> str:
        return variable.get()

    async with serve(show) as client:
        assert (await client.get("/")).text == "set"


# ---- the order of refusals


async def test_the_order_of_refusals(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")

    async def user(token: Annotated[str | None, Header()] = None) -> str:
        log.append("security")
        if token != "right":
            raise HTTPException(401)
        return "ann"

    async def checked(page: Annotated[int, Query()]) -> int:
        return page

    async def create(
        session: Annotated[str, Depends(session)],
        checked: Annotated[int, Depends(checked)],
        count: Annotated[int, Body()],
        size: Annotated[int, Query()],
        user: Annotated[str, Security(user)],
    ) -> str:
        return "created"

    right = {"token": "right"}
    async with serve(create, "/items") as client:
        assert (await client.post("/other")).status_code == 404
        assert (await client.post("/items?page=x")).status_code == 401
        response = await client.post("/items?page=x&size=y", headers=right)
        assert sorted(faults(response)) == [("query", "/page"), ("query", "/size")]
        assert log == ["security", "security"]
        log.clear()
        response = await client.post("/items?page=1&size=2", headers=right, json={"count": "x"})
        assert faults(response) == [("body", "/count")]
        assert log == ["security", "+session", "session:RequestValidationError", "-session"]
        response = await client.post("/items?page=1&size=2", headers=right, json={"count": 1})
        assert response.text == "created"


async def test_what_security_needs_is_told_before_all_else(serve: Serve) -> None:
    async def user(token: Annotated[str, Header()]) -> str:
        return token

    async def show(user: Annotated[str, Security(user)], page: Annotated[int, Query()]) -> str:
        return user

    async with serve(show) as client:
        assert faults(await client.get("/?page=x")) == [("header", "/token")]


async def test_an_upload_that_is_refused_is_never_read() -> None:
    read: list[str] = []
    before: list[list[str]] = []

    async def user() -> None:
        await anyio.lowlevel.checkpoint()
        before.append(list(read))
        raise HTTPException(403)

    async def upload(
        user: Annotated[None, Security(user)], file: Annotated[UploadFile, Body()]
    ) -> str:
        return "a"

    async def receive() -> Any:
        await anyio.lowlevel.checkpoint()
        read.append("body")
        if len(read) > 1:
            return {"type": "http.disconnect"}
        return {"type": "http.request", "body": b"x" * 1000}

    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http", "http_version": "2", "method": "POST", "path": "/", "query_string": b"", "root_path": "",
        "headers": [(b"host", b"a"), (b"content-type", b"multipart/form-data; boundary=b"), (b"content-length", b"1000")],
    }  # fmt: skip
    await Kui(routes=HttpRoute("/", upload))(scope, receive, send)
    assert sent[0]["status"] == 403
    assert before == [[]]


async def test_a_dependency_that_reads_the_body_comes_after_the_others(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")

    async def item(name: Annotated[str, Body()]) -> str:
        log.append("item")
        return name

    async def create(
        item: Annotated[str, Depends(item)], session: Annotated[str, Depends(session)]
    ) -> str:
        return item

    async with serve(create) as client:
        assert (await client.post("/", json={"name": "a"})).text == "a"
    assert log == ["+session", "item", "-session"]


# ---- middlewares


async def test_middlewares_are_around_dependencies(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")
    lasting = log.generator("lasting")

    def middleware(endpoint: Any) -> Any:
        @wraps(endpoint)
        async def around() -> Any:
            log.append("(")
            try:
                return await endpoint()
            finally:
                log.append(")")

        return around

    async def show(
        session: Annotated[str, Depends(session)],
        lasting: Annotated[str, Depends(lasting, until="sent")],
    ) -> str:
        return "a"

    async with serve(show, middlewares=[middleware]) as client:
        assert (await client.get("/")).text == "a"
        await client.wait_idle()
    assert log == ["+lasting", "(", "+session", "-session", ")", "-lasting"]


async def test_calling_an_endpoint_twice_resolves_twice(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")

    def twice(endpoint: Any) -> Any:
        async def around() -> Any:
            await endpoint()
            return await endpoint()

        return around

    async def show(session: Annotated[str, Depends(session)]) -> str:
        return "a"

    async with serve(show, middlewares=[twice]) as client:
        await client.get("/")
    assert log == ["+session", "-session"] * 2


async def test_what_a_middleware_returns_is_read_by_its_own_signature(serve: Serve) -> None:
    def middleware(endpoint: Any) -> Any:
        @wraps(endpoint)
        async def around(**none: Any) -> Any:
            return await endpoint()

        return around

    @middleware
    async def wrapped(a: Annotated[int, Query()] = 1) -> Any:
        return [a]

    async with serve(wrapped) as client:  # as a handler its own parameters are none
        assert (await client.get("/?a=5")).json() == [1]


@pytest.mark.parametrize("until", ["return", "sent"])
async def test_refusals_carry_the_headers_of_a_route_s_cors(serve: Serve, until: Any) -> None:
    log = Log()
    session = log.generator("session")

    async def user(token: Annotated[str | None, Header()] = None) -> str:
        if token is None:
            raise HTTPException(401)
        return token

    async def show(
        session: Annotated[str, Depends(session, until=until)],
        page: Annotated[int, Query()],
        user: Annotated[str, Security(user)],
    ) -> str:
        return "a"

    cors = allow_cors(allow_origins=[re.compile(r"https://example\.com")])
    async with serve(show, middlewares=[cors]) as client:
        origin = {"origin": "https://example.com"}
        for url, headers, status in [("/", {}, 401), ("/?page=x", {"token": "a"}, 422)]:
            response = await client.get(url, headers={**origin, **headers})
            assert response.status_code == status
            assert response.headers["access-control-allow-origin"] == "https://example.com"
    assert log == []


# ---- until="sent", and streams


async def test_until_sent_is_left_after_the_body(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")
    lasting = log.generator("lasting")

    async def show(
        session: Annotated[str, Depends(session)],
        lasting: Annotated[str, Depends(lasting, until="sent")],
    ) -> Any:
        async def stream() -> AsyncIterator[bytes]:
            log.append("chunk")
            yield b"a"
            log.append("end")

        request.exit_stack.callback(log.append, "stack")
        request.background_tasks.append(log.append, "background")
        return StreamResponse(stream())

    async with serve(show) as client:
        assert (await client.get("/")).text == "a"
        await client.wait_idle()
    assert log == [
        "+lasting",
        "+session",
        "-session",
        "chunk",
        "end",
        "-lasting",
        "stack",
        "background",
    ]


async def test_of_a_generator_function_the_dependencies_are_left_when_its_stream_ends(
    serve: Serve,
) -> None:
    log = Log()
    session = log.generator("session")

    async def events(
        session: Annotated[str, Depends(session)], n: Annotated[int, Query()] = 1
    ) -> AsyncIterator[str]:
        for _ in range(n):
            log.append("event")
            yield session

    async with serve(events) as client:
        assert (await client.get("/?n=2")).text == "data: session\n\n" * 2
        await client.wait_idle()
        assert log == ["+session", "event", "event", "-session"]
        assert faults(await client.get("/?n=x")) == [("query", "/n")]


async def test_exits_see_that_the_client_has_left(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")
    lasting = log.generator("lasting")

    async def events(lasting: Annotated[str, Depends(lasting)]) -> AsyncIterator[str]:
        yield "a"
        await anyio.sleep_forever()

    async def upload(session: Annotated[str, Depends(session)]) -> Any:
        return await request.body

    async with serve(events) as client:
        async with client.stream("GET", "/") as response:
            async for _ in response.aiter_text():
                break
        await client.wait_idle()
    assert log == ["+lasting", "lasting:ClientDisconnect", "-lasting"]

    async def receive() -> Any:
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None: ...

    log.clear()
    app = Kui(routes=HttpRoute("/", upload))
    headers = [(b"host", b"a"), (b"content-length", b"5")]
    await app(http_scope(method="POST", headers=headers), receive, send)
    assert log == ["+session", "session:ClientDisconnect", "-session"]
    assert ClientDisconnect


async def test_an_until_sent_exit_that_fails_is_raised_once_the_answer_was_sent(
    serve: Serve,
) -> None:
    async def failing() -> AsyncIterator[None]:
        yield
        raise OSError("too late")

    async def show(a: Annotated[None, Depends(failing, until="sent")]) -> str:
        return "a"

    app = Kui(routes=HttpRoute("/", show))
    async with AsyncTestClient(app, raise_app_exceptions=False) as client:
        response = await client.get("/")
        assert (response.status_code, response.text) == (200, "a")


async def test_until_sent_sees_the_handler_s_exception(serve: Serve) -> None:
    log = Log()
    lasting = log.generator("lasting")

    async def show(a: Annotated[str, Depends(lasting, until="sent")]) -> str:
        raise HTTPException(404)

    async with serve(show) as client:
        assert (await client.get("/")).status_code == 404
        await client.wait_idle()
    assert log == ["+lasting", "lasting:HTTPException", "-lasting"]


async def test_a_group_that_an_until_sent_holds_fails_while_the_answer_is_sent(
    serve: Serve,
) -> None:
    failed = anyio.Event()

    async def fail() -> None:
        await failed.wait()
        raise OSError("the child")

    async def helped() -> AsyncIterator[None]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fail)
            yield

    async def show(a: Annotated[None, Depends(helped, until="sent")]) -> Any:
        async def stream() -> AsyncIterator[bytes]:
            yield b"a"
            failed.set()
            await anyio.sleep_forever()

        return StreamResponse(stream())

    app = Kui(routes=HttpRoute("/", show))
    with pytest.raises(BaseException) as raised:
        async with AsyncTestClient(app) as client:
            await client.get("/")
    assert "the child" in repr(raised.value) or "the child" in repr(raised.value.__cause__)


# ---- views


async def test_the_methods_of_a_view_declare_for_themselves(serve: Serve) -> None:
    log = Log()
    session = log.generator("session")

    class Item(HttpView):
        async def get(self, id: int, session: Annotated[str, Depends(session)]) -> Any:
            return [type(self).__name__, id, session]

        def post(self, id: int, name: Annotated[str, Body()]) -> Any:
            return [id, name]

        async def delete(self) -> str:
            return "deleted"

        @classmethod
        async def put(cls, id: int) -> Any:
            return [cls.__name__, id]

        async def patch(self, id: int) -> AsyncIterator[str]:
            yield f"event {id}"

    async with serve(Item, "/{id:int}") as client:
        assert (await client.get("/7")).json() == ["Item", 7, "session"]
        assert (await client.head("/7")).status_code == 200
        assert (await client.post("/7", json={"name": "a"})).json() == [7, "a"]
        assert (await client.delete("/7")).text == "deleted"
        assert (await client.put("/7")).json() == ["Item", 7]
        assert (await client.patch("/7")).text == "data: event 7\n\n"
        assert (await client.request("TRACE", "/7")).status_code == 405


async def test_handlers_of_every_kind_declare(serve: Serve) -> None:
    def threaded(a: Annotated[int, Query()]) -> Any:
        return [a, threading.current_thread() is threading.main_thread()]

    def generator(a: Annotated[int, Query()]) -> Iterator[str]:
        yield str(a)

    async with serve(threaded) as client:
        assert (await client.get("/?a=1")).json() == [1, False]
    async with serve(generator) as client:
        assert (await client.get("/?a=1")).text == "data: 1\n\n"
    async with serve(partial(two, 3)) as client:
        with pytest.raises(TypeError):
            await client.get("/?a=2")  # an int, which has no converter
    async with serve(
        Callable(2), response_converters={int: lambda value: PlainTextResponse(str(value))}
    ) as client:
        assert (await client.get("/?a=2")).text == "4"
