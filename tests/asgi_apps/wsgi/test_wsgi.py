"""WSGI apps in threads: streaming both ways, the rules of PEP 3333, and a client that leaves."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextvars import ContextVar
from typing import Any
from wsgiref.validate import validator

import anyio
import anyio.from_thread
import pytest
from baize.typing import Message, Scope

from kui.asgi import WSGI, Kui, Mount, request
from kui.testing import AsyncTestClient, WebSocketDenied

pytestmark = pytest.mark.anyio

Environ = dict[str, Any]
StartResponse = Callable[..., Callable[[bytes], None]]


def everywhere(app: Any, **options: Any) -> list[tuple[Any, str]]:
    """On its own, and in a Kui app; with the prefix that it has there."""
    return [(WSGI(app, **options), ""), (Kui(routes=[Mount("/old", WSGI(app, **options))]), "/old")]


class Closing:
    """Blocks that know when they are closed."""

    def __init__(self, blocks: Iterable[bytes]) -> None:
        self.blocks = blocks
        self.closed = threading.Event()

    def __iter__(self) -> Iterator[bytes]:
        return iter(self.blocks)

    def close(self) -> None:
        assert not self.closed.is_set()
        self.closed.set()


async def until_set(event: threading.Event) -> None:
    """Wait for what a thread does."""
    assert await anyio.to_thread.run_sync(event.wait, 10)


async def test_the_rules_of_pep_3333_are_kept() -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"].read(100)
        start_response("200 OK", [("Content-Type", "text/plain")])
        return [environ["SCRIPT_NAME"].encode(), b"|", environ["PATH_INFO"].encode(), b"|", body]

    for asgi, prefix in everywhere(validator(app)):
        async with AsyncTestClient(asgi) as client:
            response = await client.post(f"{prefix}/x?q=1", content=b"body")
            assert response.text == f"{prefix}|/x|body"
            assert response.headers["content-type"] == "text/plain"


async def test_it_runs_in_one_thread_that_is_not_the_loop_s_and_sees_the_request() -> None:
    user: ContextVar[str] = ContextVar("user")
    threads: list[int] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        threads.append(threading.get_ident())
        start_response("200 OK", [])
        yield user.get().encode()
        threads.append(threading.get_ident())
        yield str(request.url).encode()

    def middleware(endpoint: Callable[[], Any]) -> Callable[[], Any]:
        async def named() -> Any:
            user.set("ann")
            return await endpoint()

        return named

    mounted = Kui(routes=[Mount("/old", WSGI(app))], http_middlewares=[middleware])
    async with AsyncTestClient(mounted) as client:
        response = await client.get("/old/x")
    assert response.text == "annhttp://testserver/old/x"
    assert len(set(threads)) == 1 and threads[0] != threading.get_ident()


@pytest.mark.parametrize("chunked", [False, True])
async def test_the_body_is_read_in_every_way_that_files_are(chunked: bool) -> None:
    text = b"first line\nsecond\n\nlast without end"

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        body = environ["wsgi.input"]
        assert ("CONTENT_LENGTH" in environ) is not chunked
        assert body.read(0) == b"" and body.read(5) == b"first"
        assert body.readline() == b" line\n"
        assert body.readline(3) == b"sec"
        assert body.readlines() == [b"ond\n", b"\n", b"last without end"]
        assert body.read() == body.read(10) == body.readline() == b""
        start_response("204 No Content", [])
        return []

    async def chunks() -> AsyncIterator[bytes]:
        for start in range(0, len(text), 7):
            yield text[start : start + 7]

    for asgi, prefix in everywhere(app):
        async with AsyncTestClient(asgi) as client:
            response = await client.post(f"{prefix}/", content=chunks() if chunked else text)
            assert response.status_code == 204


async def test_lines_are_iterated_and_a_large_body_arrives_whole() -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        size = sum(len(line) for line in environ["wsgi.input"])
        start_response("200 OK", [])
        return [str(size).encode()]

    async def chunks() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%050d\n" % number * 1000

    for asgi, prefix in everywhere(app):
        async with AsyncTestClient(asgi) as client:
            assert (await client.post(f"{prefix}/", content=chunks())).text == "5100000"


async def test_what_comes_in_goes_out_while_more_is_still_coming() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        while line := environ["wsgi.input"].readline():
            yield line.upper()

    for asgi, prefix in everywhere(app):
        came_back = anyio.Event()

        async def chunks(came_back: anyio.Event = came_back) -> AsyncIterator[bytes]:
            yield b"one\n"
            await came_back.wait()
            yield b"two\n"

        async with (
            AsyncTestClient(asgi) as client,
            client.stream("POST", f"{prefix}/", content=chunks()) as response,
        ):
            assert await client.read(response, 4) == b"ONE\n"
            came_back.set()
            assert await response.aread() == b"TWO\n"


async def test_each_block_is_sent_before_the_next_is_asked_for() -> None:
    made: list[int] = []

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        for number in range(1000):
            made.append(number)
            yield b"x" * 10_000

    for asgi, prefix in everywhere(app):
        made.clear()
        async with AsyncTestClient(asgi) as client:
            async with client.stream("GET", f"{prefix}/") as response:
                assert len(await client.read(response, 10_000)) == 10_000
                assert len(made) < 12  # the transport holds 64 KiB
                await response.aread()
        assert len(made) == 1000


async def test_close_is_called_when_all_has_been_given() -> None:
    for blocks in ([], [b"one"], [b"one", b"two"]):
        closing = Closing(blocks)

        def app(
            environ: Environ, start_response: StartResponse, closing: Closing = closing
        ) -> Closing:
            start_response("200 OK", [])
            return closing

        async with AsyncTestClient(WSGI(app)) as client:
            assert (await client.get("/")).content == b"".join(blocks)
        assert closing.closed.is_set()


async def test_the_headers_wait_for_the_first_block_and_may_be_replaced_until_then() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [("x-a", "1")])
        yield b""
        try:
            raise LookupError("too late for 200")
        except LookupError:
            start_response("500 Oops", [("x-b", "2")], sys.exc_info())
        yield b"sorry"

    for asgi, prefix in everywhere(app):
        async with AsyncTestClient(asgi) as client:
            response = await client.get(f"{prefix}/")
            assert (response.status_code, response.text) == (500, "sorry")
            assert response.headers["x-b"] == "2" and "x-a" not in response.headers


async def test_an_error_after_the_first_block_is_raised_on_and_the_connection_cut() -> None:
    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        start_response("200 OK", [])
        yield b"half"
        try:
            raise LookupError("it broke")
        except LookupError:
            start_response("500 Oops", [], sys.exc_info())

    for asgi, prefix in everywhere(app):
        with pytest.raises(LookupError, match="it broke"):
            async with AsyncTestClient(asgi) as client:
                await client.get(f"{prefix}/")


async def test_what_is_raised_before_goes_to_the_exception_handlers_and_close_is_called() -> None:
    closing = Closing([])

    def app(environ: Environ, start_response: StartResponse) -> Iterable[bytes]:
        def fail() -> Iterator[bytes]:
            raise LookupError("it is gone")
            yield b""

        closing.blocks = fail()
        start_response("200 OK", [])
        return closing

    asgi = Kui(
        routes=[Mount("/old", WSGI(app))],
        exception_handlers={LookupError: lambda exc: (str(exc), 410)},
    )
    async with AsyncTestClient(asgi) as client:
        response = await client.get("/old")
    assert (response.status_code, response.text) == (410, "it is gone")
    assert closing.closed.is_set()


async def test_the_write_function_sends_at_once() -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [("content-type", "text/plain")])
        write(b"written ")
        write(b"")
        return [b"and returned"]

    for asgi, prefix in everywhere(app):
        async with AsyncTestClient(asgi) as client:
            assert (await client.get(f"{prefix}/")).text == "written and returned"


@pytest.mark.parametrize(
    ("blocks", "headers", "length"),
    [
        ([b"abc"], [], "3"),
        ([], [], "0"),
        ([b"", b""], [], "0"),
        ([b"a", b"b"], [], None),
        ([b"a", b"b"], [("Content-Length", "2")], "2"),
        ([b"abc"], [("Content-Length", "3")], "3"),
        ([b"abc", b""], [("Content-Length", "3")], "3"),
    ],
)
async def test_the_length_is_said_where_it_is_known(
    blocks: list[bytes], headers: list[tuple[str, str]], length: str | None
) -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response("200 OK", headers)
        return blocks

    async with AsyncTestClient(WSGI(app)) as client:
        response = await client.get("/")
    assert response.content == b"".join(blocks)
    assert response.headers.get("content-length") == length


async def test_head_and_statuses_without_content_have_none() -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        start_response(f"{environ['QUERY_STRING']} ?", [("content-length", "4"), ("etag", '"a"')])
        return [b"body"] if environ["PATH_INFO"] == "/body" else []

    for asgi, prefix in everywhere(app):
        async with AsyncTestClient(asgi) as client:
            for path in ("/", "/body"):
                head = await client.head(f"{prefix}{path}?200")
                assert head.headers["content-length"] == "4"
                for status in (204, 304):
                    response = await client.get(f"{prefix}{path}?{status}")
                    assert (response.status_code, response.content) == (status, b"")
                    assert "content-length" not in response.headers


async def test_headers_of_the_connection_are_left_to_the_server_and_lines_stay_lines() -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        headers = [
            ("Connection", "close"),
            ("Transfer-Encoding", "chunked"),
            ("Keep-Alive", "timeout=5"),
            ("Set-Cookie", "a=1"),
            ("Set-Cookie", "b=2"),
            ("X-Name", "\xe9"),
        ]
        start_response("200 OK", headers)
        return [b"ok"]

    async with AsyncTestClient(WSGI(app)) as client:
        response = await client.get("/")
    assert response.headers.get_list("set-cookie") == ["a=1", "b=2"]
    assert dict(response.headers.raw)[b"x-name"] == b"\xe9"
    assert not {"connection", "transfer-encoding", "keep-alive"} & set(response.headers)


def _twice(environ: Environ, start_response: StartResponse) -> list[bytes]:
    start_response("200 OK", [])
    start_response("200 OK", [])
    return []


def _answer(*blocks: Any, status: Any = "200 OK", headers: Any = ()) -> Any:
    def app(environ: Environ, start_response: StartResponse) -> list[Any]:
        start_response(status, list(headers))
        return list(blocks)

    return app


BROKEN: list[tuple[Any, type[Exception], str]] = [
    (_twice, RuntimeError, "start_response was called twice"),
    (lambda environ, start_response: [], RuntimeError, "without calling start_response"),
    (lambda environ, start_response: [b"x"], RuntimeError, "before it called start_response"),
    (_answer("text"), TypeError, "blocks of bytes, not str"),
    (_answer(status="OK"), ValueError, "a WSGI status is text such as '200 OK'"),
    (_answer(status=200), ValueError, "a WSGI status is text"),
    (_answer(status="100 Continue"), ValueError, "from 200 to 599"),
    (_answer(headers=[("x-a", "b\r\nx-c: d")]), ValueError, "control character"),
    (_answer(headers=[("x a", "b")]), ValueError, "is no header name"),
    (_answer(headers=[(b"x-a", b"b")]), TypeError, "a header name is a str"),
    (_answer(b"abcd", headers=[("content-length", "3")]), RuntimeError, "more than the 3 bytes"),
    (_answer(b"ab", headers=[("content-length", "3")]), RuntimeError, "gave 2 of the 3 bytes"),
    (_answer(headers=[("content-length", "3")]), RuntimeError, "gave none of its 3 bytes"),
]


@pytest.mark.parametrize(("app", "kind", "message"), BROKEN, ids=[each[2] for each in BROKEN])
async def test_what_breaks_the_rules_is_an_error(
    app: Any, kind: type[Exception], message: str
) -> None:
    for asgi, prefix in everywhere(app):
        with pytest.raises(kind, match=message):
            async with AsyncTestClient(asgi) as client:
                await client.get(f"{prefix}/")


async def test_an_app_that_reads_nothing_does_not_hold_the_answer_up() -> None:
    for asgi, prefix in everywhere(_answer(b"I did not look")):
        async with AsyncTestClient(asgi) as client:
            response = await client.post(f"{prefix}/", content=b"x" * 1_000_000)
            assert response.text == "I did not look"


async def test_websockets_are_refused() -> None:
    for asgi, prefix in everywhere(_answer(b"ok")):
        async with AsyncTestClient(asgi) as client:
            with pytest.raises(WebSocketDenied) as denied:
                async with client.websocket(f"{prefix}/"):
                    pass
            assert denied.value.response.status_code == 404


# ---- the client leaves


async def test_a_client_that_leaves_ends_the_iteration_and_close_is_called() -> None:
    for make in (lambda app: WSGI(app), lambda app: Kui(routes=[Mount("/", WSGI(app))])):
        made = 0
        generator_closed = threading.Event()

        def app(
            environ: Environ,
            start_response: StartResponse,
            closed: threading.Event = generator_closed,
        ) -> Iterator[bytes]:
            nonlocal made
            start_response("200 OK", [])
            try:
                while True:
                    made += 1
                    yield b"x" * 1000
            finally:
                closed.set()

        async with AsyncTestClient(make(app)) as client:
            async with client.stream("GET", "/") as response:
                await client.read(response, 1000)
                client.disconnect(response)
            await until_set(generator_closed)
            await client.wait_idle()


async def test_the_write_function_and_the_body_raise_an_oserror_when_the_client_has_left() -> None:
    seen: list[BaseException] = []

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [])
        write(b"begin")
        for act in (lambda: write(b"more"), lambda: environ["wsgi.input"].read(1)):
            try:
                while True:
                    act()
            except OSError as error:
                seen.append(error)
        return []

    async with AsyncTestClient(Kui(routes=[Mount("/old", WSGI(app))])) as client:
        async with client.stream("POST", "/old", content=_half()) as response:
            assert await client.read(response, 5) == b"begin"
            client.disconnect(response)
        await client.wait_idle()
    assert [str(error) for error in seen] == ["the client has left"] * 2


async def _half() -> AsyncIterator[bytes]:
    yield b""
    await anyio.sleep_forever()


async def test_a_client_that_leaves_in_the_middle_of_its_body_is_an_oserror_where_it_is_read() -> (
    None
):
    seen: list[BaseException] = []
    reading, done = threading.Event(), threading.Event()

    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        assert environ["wsgi.input"].read(3) == b"abc"
        reading.set()
        try:
            environ["wsgi.input"].read(3)
        except OSError as error:
            seen.append(error)
            raise
        finally:
            done.set()
        return []

    async def body() -> AsyncIterator[bytes]:
        yield b"abc"
        await until_set(reading)
        raise ConnectionResetError("the train went into a tunnel")

    for asgi, prefix in everywhere(app):
        reading.clear()
        done.clear()
        async with AsyncTestClient(asgi) as client:
            with pytest.raises(ConnectionResetError):
                await client.post(f"{prefix}/", content=body())
            await until_set(done)
            await client.wait_idle()  # and nothing is heard of it as of a failure
    assert len(seen) == 2


async def test_code_that_neither_reads_nor_sends_is_waited_for_when_the_client_leaves() -> None:
    go_on = threading.Event()
    closing = Closing([])

    def app(environ: Environ, start_response: StartResponse) -> Closing:
        def blocks() -> Iterator[bytes]:
            yield b"begin"
            go_on.wait(10)
            yield b"never sent"

        closing.blocks = blocks()
        start_response("200 OK", [])
        return closing

    asgi = Kui(routes=[Mount("/old", WSGI(app))])
    async with AsyncTestClient(asgi) as client:
        async with client.stream("GET", "/old") as response:
            assert await client.read(response, 5) == b"begin"
            client.disconnect(response)
            await anyio.wait_all_tasks_blocked()
            assert asgi.in_flight == 1 and not closing.closed.is_set()
            go_on.set()
        await client.wait_idle()
        assert asgi.in_flight == 0 and closing.closed.is_set()


# ---- the server cancels


def bare_scope() -> Scope:
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": "GET",
        "path": "/",
        "root_path": "",
        "query_string": b"",
        "headers": [(b"host", b"h")],
    }


async def test_a_cancelled_request_leaves_its_thread_which_closes_when_it_comes_back() -> None:
    go_on, at_work = threading.Event(), threading.Event()
    closing = Closing([])

    def app(environ: Environ, start_response: StartResponse) -> Closing:
        def blocks() -> Iterator[bytes]:
            yield b"begin"
            at_work.set()
            go_on.wait(10)
            yield b"never sent"

        closing.blocks = blocks()
        start_response("200 OK", [])
        return closing

    sent: list[Message] = []

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        sent.append(message)

    async with anyio.create_task_group() as group:
        group.start_soon(WSGI(app), bare_scope(), receive, send)
        await until_set(at_work)
        group.cancel_scope.cancel()
    assert not closing.closed.is_set()  # the thread was not waited for
    go_on.set()
    await until_set(closing.closed)
    assert [message.get("body") for message in sent] == [None, b"begin"]


async def test_a_request_that_is_cancelled_while_it_sends_frees_its_thread() -> None:
    closing = Closing([b"one", b"two"])

    def app(environ: Environ, start_response: StartResponse) -> Closing:
        start_response("200 OK", [])
        return closing

    blocked = anyio.Event()

    async def receive() -> Message:
        await anyio.sleep_forever()
        raise AssertionError

    async def send(message: Message) -> None:
        if message.get("body"):
            blocked.set()
            await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(WSGI(app), bare_scope(), receive, send)
        await blocked.wait()
        group.cancel_scope.cancel()
    await until_set(closing.closed)


# ---- threads


async def test_requests_wait_for_a_thread_while_all_are_taken() -> None:
    at_once = most = 0
    lock = threading.Lock()

    def app(environ: Environ, start_response: StartResponse) -> Iterator[bytes]:
        nonlocal at_once, most
        with lock:
            at_once += 1
            most = max(most, at_once)
        start_response("200 OK", [])
        try:
            for _ in range(5):
                yield b"x"
        finally:
            with lock:
                at_once -= 1

    async with AsyncTestClient(WSGI(app, threads=2)) as client:

        async def get() -> None:
            assert (await client.get("/")).text == "xxxxx"

        async with anyio.create_task_group() as group:
            for _ in range(12):
                group.start_soon(get)
    assert most <= 2


async def test_a_thread_of_the_app_s_own_may_read_and_write_too() -> None:
    def app(environ: Environ, start_response: StartResponse) -> list[bytes]:
        write = start_response("200 OK", [])
        threads = [
            threading.Thread(target=lambda: [write(b"x") for _ in range(50)]) for _ in range(4)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return []

    async with AsyncTestClient(WSGI(app)) as client:
        assert (await client.get("/")).content == b"x" * 200


def test_what_cannot_be_served_is_refused() -> None:
    async def asgi(scope: Any, receive: Any, send: Any) -> None:
        return

    not_apps: list[Any] = ["app", asgi]
    for no_app in not_apps:
        with pytest.raises(TypeError, match="is no WSGI app"):
            WSGI(no_app)
    for threads in (0, -1, 1.5):
        with pytest.raises(ValueError, match="threads is how many there may be"):
            WSGI(_answer(), threads=threads)  # type: ignore[arg-type]  # that is the point
