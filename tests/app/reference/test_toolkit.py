"""The reference of the ASGI toolkit, statement by statement, in its order; nothing here needs an application."""

from __future__ import annotations

import abc
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from baize.datastructures import URL
from baize.routing import CONVERTOR_TYPES, Convertor
from baize.typing import Message, Receive, Scope, Send

from kui.asgi import (
    FileResponse,
    Hosts,
    HTMLResponse,
    HTTPConnection,
    HTTPException,
    HttpRequest,
    HttpResponse,
    JSONResponse,
    PlainTextResponse,
    RedirectResponse,
    Router,
    SendEventResponse,
    ServerSentEvent,
    SmallResponse,
    StreamResponse,
    Subpaths,
    WebSocket,
    WebSocketDisconnect,
    request_response,
    websocket_session,
)
from kui.testing import AsyncTestClient, WebSocketClosed, virtual_clock

pytestmark = pytest.mark.anyio


def connection(*headers: tuple[bytes, bytes], **more: Any) -> HTTPConnection:
    scope: Scope = {
        "type": "http",
        "method": "GET",
        "scheme": "https",
        "path": "/a b",
        "raw_path": b"/a%20b",
        "root_path": "",
        "query_string": b"a=1&a=2&b=%20",
        "headers": [(b"host", b"example.com"), *headers],
        "client": ("192.0.2.1", 5000),
        **more,
    }
    return HTTPConnection(scope)


async def asked(view: Callable[[HttpRequest], Any], method: str = "POST", **more: Any) -> Any:
    """The response of a function of the request."""
    async with AsyncTestClient(request_response(view)) as client:
        return await client.request(method, "/", **more)


async def sent(response: Any, method: str = "GET", **more: Any) -> Any:
    """What a client gets of a response, which is an ASGI app itself."""

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            raise RuntimeError("HTTP only")
        await response(scope, receive, send)

    async with AsyncTestClient(app) as client:
        return await client.request(method, "/", **more)


# ---- HTTPConnection


def test_a_connection_is_a_mapping_over_the_scope() -> None:
    made = connection()
    assert isinstance(made, Mapping)
    assert made["path"] == "/a b"
    assert made.get("path") == "/a b" and made.get("nothing") is None
    assert made.get("nothing", 7) == 7
    assert dict(made.items())["scheme"] == "https"
    assert "path" in made.keys() and "https" in list(made.values())  # keys() is what is tested


def test_client_is_ip_and_port_as_the_server_gives_them() -> None:
    assert connection().client == ("192.0.2.1", 5000)
    assert connection(client=None).client == (None, None)


def test_url_is_the_full_url() -> None:
    assert str(connection().url) == "https://example.com/a%20b?a=1&a=2&b=%20"


def test_path_params_are_those_of_the_framework() -> None:
    assert connection(path_params={"id": 7}).path_params == {"id": 7}
    assert connection().path_params == {}


def test_query_params_are_a_multi_value_mapping() -> None:
    params = connection().query_params
    assert (params["a"], params.getlist("a"), params["b"]) == ("2", ["1", "2"], " ")


def test_headers_are_read_only_case_independent_and_in_lower_case() -> None:
    headers = connection((b"x-a", b"1")).headers
    assert headers["X-A"] == headers["x-a"] == "1"
    assert list(headers) == ["host", "x-a"]
    with pytest.raises(TypeError):
        headers["x-a"] = "2"  # type: ignore[index]  # that is the point


def test_accepted_types_and_accepts() -> None:
    made = connection((b"accept", b"application/json, text/*;q=0.5"))
    assert [(t.main_type, t.sub_type) for t in made.accepted_types] == [
        ("application", "json"),
        ("text", "*"),
    ]
    assert made.accepts("application/json") and made.accepts("text/html")
    assert not made.accepts("image/png")


def test_content_length_and_content_type() -> None:
    made = connection((b"content-length", b"12"), (b"content-type", b"text/plain; charset=latin-1"))
    assert made.content_length == 12
    assert made.content_type == "text/plain"
    assert made.content_type.options == {"charset": "latin-1"}
    assert connection().content_length is None


def test_cookies_are_a_dict() -> None:
    assert connection((b"cookie", b"a=1; b=2")).cookies == {"a": "1", "b": "2"}


def test_date_is_aware_of_its_time_zone() -> None:
    sent_at = connection((b"date", b"Sun, 06 Nov 1994 08:49:37 GMT")).date
    assert sent_at == datetime(1994, 11, 6, 8, 49, 37, tzinfo=UTC)
    assert sent_at.utcoffset() == timedelta(0)


def test_referrer_is_an_absolute_or_partial_address() -> None:
    made = connection((b"referer", b"https://example.org/a"))
    assert made.referrer == URL("https://example.org/a")
    assert str(connection((b"referer", b"/a?b")).referrer) == "/a?b"


# ---- Request


async def test_method_is_an_uppercase_string() -> None:
    async def view(request: HttpRequest) -> str:
        return request.method

    assert (await asked(view, "PATCH")).text == "PATCH"


async def test_stream_gives_chunks_and_body_form_and_json_raise_afterwards() -> None:
    async def view(request: HttpRequest) -> str:
        chunks = [chunk async for chunk in request.stream()]
        readings: list[Callable[[], Awaitable[Any]]] = [
            lambda: request.body,
            lambda: request.json,
        ]
        for reading in readings:
            with pytest.raises(RuntimeError):
                await reading()
        return f"{len(chunks)} {b''.join(chunks).decode()}"

    async def body() -> AsyncIterator[bytes]:
        yield b"ab"
        yield b"cd"

    headers = {"content-type": "application/json"}
    assert (await asked(view, content=body(), headers=headers)).text == "2 abcd"


async def test_body_is_all_of_it() -> None:
    async def view(request: HttpRequest) -> bytes:
        assert await request.body == await request.body
        return await request.body

    assert (await asked(view, content=b"x" * 100_000)).content == b"x" * 100_000


async def test_json_is_parsed_and_another_content_type_is_an_http_exception() -> None:
    async def view(request: HttpRequest) -> Any:
        return await request.json

    assert (await asked(view, json={"a": [1]})).json() == {"a": [1]}
    assert (
        await asked(view, content=b"{}", headers={"content-type": "text/plain"})
    ).status_code == 415


async def test_form_is_a_multi_value_mapping_and_another_content_type_an_http_exception() -> None:
    async def view(request: HttpRequest) -> Any:
        form = await request.form
        return form.getlist("a")

    assert (await asked(view, data={"a": ["1", "2"]})).json() == ["1", "2"]
    assert (
        await asked(view, content=b"{}", headers={"content-type": "text/plain"})
    ).status_code == 415


async def test_a_multipart_form_streams_so_that_body_and_json_raise_afterwards() -> None:
    async def view(request: HttpRequest) -> Any:
        file: Any = (await request.form)["file"]
        with pytest.raises(RuntimeError):
            await request.body
        with pytest.raises((RuntimeError, HTTPException)):
            await request.json
        return await file.aread()

    assert (await asked(view, files={"file": b"content"})).content == b"content"


async def test_close_closes_the_files_of_the_form_and_may_always_be_called() -> None:
    async def view(request: HttpRequest) -> str:
        await request.close()
        if "content-type" in request.headers:
            file: Any = (await request.form)["file"]
            await request.close()
            await request.close()
            assert file.file.closed
        return "closed"

    assert (await asked(view, "GET")).text == "closed"
    assert (await asked(view, files={"file": b"content"})).text == "closed"


async def test_is_disconnected_tells_whether_the_connection_is_interrupted() -> None:
    seen: list[bool] = []
    left = anyio.Event()

    async def view(request: HttpRequest) -> str:
        seen.append(await request.is_disconnected())
        left.set()
        while not await request.is_disconnected():  # noqa: ASYNC110  # to poll is what is tested
            await anyio.sleep(0.001)
        seen.append(True)
        return "nobody reads this"

    async with (
        AsyncTestClient(request_response(view)) as client,
        anyio.create_task_group() as group,
    ):

        async def leave() -> None:
            await left.wait()
            client.disconnect()

        group.start_soon(leave)
        with pytest.raises(Exception, match=r"left|disconnect"):
            await client.get("/")
    assert seen == [False, True]


# ---- responses


async def test_a_response_is_an_asgi_application() -> None:
    response = await sent(HttpResponse(202, {"x-a": "b"}))
    assert (response.status_code, response.headers["x-a"], response.content) == (202, "b", b"")


async def test_small_response_is_an_abstract_generic_class() -> None:
    assert issubclass(SmallResponse, HttpResponse) and issubclass(SmallResponse, abc.ABC)
    with pytest.raises(TypeError):
        SmallResponse[str]("x")  # type: ignore[abstract]  # that is the point

    class Shout(SmallResponse[str]):
        media_type = "text/plain"

        def render(self, content: str) -> bytes:
            return content.upper().encode(self.charset)

    response = await sent(
        Shout("é", 201, {"x-a": "b"}, media_type="text/x-loud", charset="latin-1")
    )
    assert (response.status_code, response.content) == (201, "É".encode("latin-1"))
    assert response.headers["content-type"] == "text/x-loud; charset=latin-1"


async def test_plain_text_and_html_take_bytes_and_str() -> None:
    for made, kind in ((PlainTextResponse, "text/plain"), (HTMLResponse, "text/html")):
        for content in ("é", "é".encode()):
            response = await sent(made(content, 201))
            assert (response.status_code, response.text) == (201, "é")
            assert response.headers["content-type"] == f"{kind}; charset=utf-8"


async def test_json_takes_what_json_takes() -> None:
    response = await sent(JSONResponse({"b": Decimal("1.5"), "a": 1}, sort_keys=True, default=str))
    assert response.text == '{"a":1,"b":"1.5"}'


async def test_a_redirect_takes_a_str_or_a_url_and_is_307() -> None:
    for url in ("/a", URL("/a")):
        response = await sent(RedirectResponse(url))
        assert (response.status_code, response.headers["location"]) == (307, "/a")


async def test_a_stream_takes_an_async_iterable_of_bytes_and_is_octets() -> None:
    async def chunks() -> AsyncIterator[bytes]:
        yield b"a"
        yield b"b"

    response = await sent(StreamResponse(chunks()))
    assert response.content == b"ab"
    assert response.headers["content-type"] == "application/octet-stream"


async def test_a_file_decides_between_headers_a_range_and_all_of_it(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"0123456789")
    made = {"content_type": "text/x-a", "download_name": "b.txt", "chunk_size": 3}
    head = await sent(FileResponse(str(path), **made), "HEAD")
    assert (head.headers["content-length"], head.content) == ("10", b"")
    part = await sent(FileResponse(str(path), **made), headers={"range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    whole = await sent(FileResponse(str(path), stat_result=path.stat(), **made))
    assert whole.content == b"0123456789"
    assert whole.headers["content-type"] == "text/x-a"
    assert whole.headers["content-disposition"] == 'attachment; filename="b.txt"'


@pytest.mark.parametrize(
    "anyio_backend", [virtual_clock("asyncio"), virtual_clock("trio")], ids=["asyncio", "trio"]
)
async def test_events_are_sent_with_pings_in_between() -> None:
    async def events() -> AsyncIterator[ServerSentEvent]:
        yield {"event": "tick", "data": "one", "id": 1}
        await anyio.sleep(10)
        yield {"data": "two"}

    response = await sent(SendEventResponse(events(), ping_interval=3))
    assert response.headers["content-type"].startswith("text/event-stream")
    assert response.text.startswith("event: tick\ndata: one\nid: 1\n\n: ping\n\n")
    assert response.text.endswith("data: two\n\n")


# ---- WebSocket


async def test_receive_and_send_are_asgi_messages_in_their_order() -> None:
    seen: list[Message] = []

    @websocket_session
    async def session(websocket: WebSocket) -> None:
        with pytest.raises(RuntimeError):
            await websocket.send({"type": "websocket.send", "text": "too early"})
        seen.append(await websocket.receive())
        await websocket.send({"type": "websocket.accept"})
        with pytest.raises(RuntimeError):
            await websocket.send({"type": "websocket.accept"})
        seen.append(await websocket.receive())
        await websocket.send({"type": "websocket.close", "code": 4000})
        with pytest.raises((RuntimeError, WebSocketDisconnect)):
            await websocket.send({"type": "websocket.send", "text": "too late"})

    async with AsyncTestClient(session) as client, client.websocket("/") as ws:
        await ws.send("a")
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 4000
    assert [message["type"] for message in seen] == ["websocket.connect", "websocket.receive"]
    assert seen[1]["text"] == "a"


async def test_accept_takes_a_subprotocol() -> None:
    @websocket_session
    async def session(websocket: WebSocket) -> None:
        await websocket.accept("chat")

    async with AsyncTestClient(session) as client:
        async with client.websocket("/", subprotocols=["x", "chat"]) as ws:
            assert ws.subprotocol == "chat"


async def test_text_and_bytes_are_received_and_sent() -> None:
    @websocket_session
    async def session(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.send_text((await websocket.receive_text()) * 2)
        await websocket.send_bytes((await websocket.receive_bytes()) * 2)

    async with AsyncTestClient(session) as client, client.websocket("/") as ws:
        await ws.send("a")
        assert await ws.receive() == "aa"
        await ws.send(b"b")
        assert await ws.receive() == b"bb"


async def test_frames_are_received_until_the_connection_is_disconnected() -> None:
    seen: list[str | bytes] = []

    @websocket_session
    async def session(websocket: WebSocket) -> None:
        await websocket.accept()
        if websocket["path"] == "/text":
            seen.extend([text async for text in websocket.iter_text()])
        else:
            seen.extend([data async for data in websocket.iter_bytes()])
        seen.append("end")

    async with AsyncTestClient(session) as client:
        async with client.websocket("/text") as ws:
            await ws.send("a")
            await ws.send("b")
        await client.wait_idle()
        async with client.websocket("/bytes") as ws:
            await ws.send(b"c")
        await client.wait_idle()
    assert seen == ["a", "b", "end", b"c", "end"]


async def test_close_may_be_called_multiple_times() -> None:
    @websocket_session
    async def session(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.close()
        await websocket.close(4000)

    async with AsyncTestClient(session) as client, client.websocket("/") as ws:
        with pytest.raises(WebSocketClosed) as closed:
            await ws.receive()
    assert closed.value.code == 1000


# ---- Router, Subpaths, Hosts


@request_response
async def static_files(request: HttpRequest) -> Any:
    return ["static_files", request["path"], request["root_path"], request.path_params]


@request_response
async def api_app(request: HttpRequest) -> Any:
    return ["api_app", request["path"], request["root_path"], request.path_params]


@request_response
async def about_page(request: HttpRequest) -> Any:
    return ["about_page", request.path_params]


@request_response
async def homepage(request: HttpRequest) -> Any:
    return ["homepage"]


async def test_a_router_assigns_paths_to_applications_and_builds_urls() -> None:
    applications = Router(
        ("/static/{filepath:any}", static_files),
        ("/api/{_:any}", api_app),
        ("/about/{name}", about_page, "about"),
        ("/", homepage, "homepage"),
    )
    async with AsyncTestClient(applications) as client:
        assert (await client.get("/")).json() == ["homepage"]
        assert (await client.get("/about/kui")).json() == ["about_page", {"name": "kui"}]
        assert (await client.get("/static/a/b")).json()[3] == {"filepath": "a/b"}
        assert (await client.get("/api/x")).json()[0] == "api_app"
        assert (await client.get("/nowhere")).status_code == 404
    assert applications.build_url("about", {"name": "kui"}) == "/about/kui"
    assert applications.build_url("homepage", {}) == "/"
    with pytest.raises(LookupError):  # no name, no URL
        applications.build_url("static_files", {"filepath": "x"})


@pytest.mark.parametrize(
    ("converter", "text", "value"),
    [
        ("", "a", "a"),
        (":str", "a-b", "a-b"),
        (":int", "12", 12),
        (":decimal", "1.5", Decimal("1.5")),
        (
            ":uuid",
            "12345678-1234-1234-1234-123456789abc",
            UUID("12345678-1234-1234-1234-123456789abc"),
        ),
        (":date", "2026-11-20", date(2026, 11, 20)),
        (":any", "a/b", "a/b"),
    ],
)
async def test_parameters_have_types(converter: str, text: str, value: object) -> None:
    seen: list[object] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope["path_params"]["x"])
        await PlainTextResponse("ok")(scope, receive, send)

    applications = Router((f"/p/{{x{converter}}}", app, "p"))
    async with AsyncTestClient(applications, lifespan=False) as client:
        assert (await client.get(f"/p/{text}")).text == "ok"
    assert seen == [value]
    assert applications.build_url("p", {"x": value}) == f"/p/{text}"


async def test_str_matches_all_but_a_slash_and_any_all() -> None:
    applications = Router(("/s/{x:str}", homepage), ("/a/{x:any}", homepage))
    async with AsyncTestClient(applications) as client:
        assert (await client.get("/s/a b")).status_code == 200
        assert (await client.get("/s/a/b")).status_code == 404
        assert (await client.get("/a/a/b")).status_code == 200


async def test_a_converter_of_one_s_own_is_registered() -> None:
    class Even(Convertor[int]):
        regex = "[0-9]+"

        def to_python(self, value: str) -> int:
            if int(value) % 2:
                raise ValueError(value)
            return int(value)

        def to_string(self, value: int) -> str:
            return str(value)

    CONVERTOR_TYPES["even"] = Even()
    try:
        applications = Router(("/{x:even}", about_page, "even"))
    finally:
        del CONVERTOR_TYPES["even"]
    async with AsyncTestClient(applications) as client:
        assert (await client.get("/8")).json() == ["about_page", {"x": 8}]
        assert (await client.get("/7")).status_code == 404
    assert applications.build_url("even", {"x": 6}) == "/6"


async def test_subpaths_allocate_prefixes_and_change_root_path_and_path() -> None:
    applications = Subpaths(("/static", static_files), ("/api", api_app), ("", homepage))
    async with AsyncTestClient(applications) as client:
        assert (await client.get("/static/a.css")).json() == [
            "static_files",
            "/a.css",
            "/static",
            {},
        ]
        assert (await client.get("/api/x/y")).json() == ["api_app", "/x/y", "/api", {}]
        assert (await client.get("/other")).json() == ["homepage"]


async def test_hosts_distribute_by_host() -> None:
    applications = Hosts(
        (r"static\.example\.com", static_files),
        (r"api\.example\.com", api_app),
        (r"(www\.)?example\.com", homepage),
    )
    async with AsyncTestClient(applications) as client:
        for host, name in {
            "static.example.com": "static_files",
            "api.example.com": "api_app",
            "example.com": "homepage",
            "www.example.com": "homepage",
        }.items():
            assert (await client.get("/", headers={"host": host})).json()[0] == name
        assert (await client.get("/", headers={"host": "example.org"})).status_code == 404
