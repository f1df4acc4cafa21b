"""The client for tests that are not async: the same kit, over a loop in a thread of its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import anyio
import httpx2
import pytest
from baize.typing import Message, Receive, Scope, Send

from kui.testing import (
    ASGITransport,
    ContractError,
    DeadlineExceeded,
    Disconnected,
    NotAnEventStream,
    TestClient,
    WebSocketClosed,
    WebSocketDenied,
    virtual_clock,
)

START: Message = {"type": "http.response.start", "status": 200, "headers": []}
EVENTS: Message = {**START, "headers": [(b"content-type", b"text/event-stream")]}


def chunk(body: bytes) -> Message:
    return {"type": "http.response.body", "body": body, "more_body": True}


class App:
    """Does something for each path, and keeps a log."""

    def __init__(self) -> None:
        self.log: list[object] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            self.log.append(await receive())
            await send({"type": "lifespan.startup.complete"})
            self.log.append(await receive())
            await send({"type": "lifespan.shutdown.complete"})
        elif scope["type"] == "websocket":
            await self.websocket(scope, receive, send)
        else:
            await getattr(self, scope["path"].strip("/"))(receive, send)

    async def hello(self, receive: Receive, send: Send) -> None:
        await send({**START, "headers": [(b"set-cookie", b"a=b"), (b"x-y", b"z")]})
        await send({"type": "http.response.body", "body": b"hello"})

    async def echo(self, receive: Receive, send: Send) -> None:
        await send(START)
        while (message := await receive())["type"] == "http.request":
            await send({**message, "type": "http.response.body"})
            if not message["more_body"]:
                return
        self.log.append("left")

    async def endless(self, receive: Receive, send: Send) -> None:
        await send(EVENTS)
        await send(chunk(b"id: 1\nretry: 5\ndata: a\n\ndata: b\n\n"))
        while (await receive())["type"] != "http.disconnect":
            pass
        self.log.append("left")

    async def ends(self, receive: Receive, send: Send) -> None:
        await send(EVENTS)
        await send({"type": "http.response.body", "body": b"data: a\n\ndata: b\n\n"})

    async def fails(self, receive: Receive, send: Send) -> None:
        raise KeyError("a")

    async def twice(self, receive: Receive, send: Send) -> None:
        await send(START)
        await send(START)

    async def hour(self, receive: Receive, send: Send) -> None:
        await anyio.sleep(3600)
        await self.hello(receive, send)

    async def websocket(self, scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        if scope["path"] == "/denied":
            await send({"type": "websocket.close"})
            return
        await send(
            {"type": "websocket.accept", "subprotocol": next(iter(scope["subprotocols"]), None)}
        )
        while (message := await receive())["type"] == "websocket.receive":
            if message.get("text") == "close":
                await send({"type": "websocket.close", "code": 4000, "reason": "bye"})
                return
            await send({**message, "type": "websocket.send"})
        self.log.append(message["code"])


@pytest.fixture(params=["asyncio", "trio"])
def backend(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def app() -> App:
    return App()


@pytest.fixture
def client(app: App, backend: str) -> Iterator[TestClient]:
    with TestClient(app, backend=backend) as client:
        yield client


def test_the_lifespan_is_around_the_block(app: App, backend: str) -> None:
    with TestClient(app, backend=backend) as client:
        assert client.get("/hello").text == "hello"
        assert app.log == [{"type": "lifespan.startup"}]
    assert app.log[1:] == [{"type": "lifespan.shutdown"}]


def test_a_start_up_that_fails_raises_its_own_exception(backend: str) -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        raise ConnectionRefusedError("no database")

    with pytest.raises(ConnectionRefusedError):
        with TestClient(fails, backend=backend):
            pytest.fail("the block is not entered")


def test_it_is_an_httpx2_client(client: TestClient) -> None:
    assert isinstance(client, httpx2.Client)
    response = client.get("/hello")
    assert response.headers["x-y"] == "z"
    assert client.cookies["a"] == "b"
    assert client.post("/echo", json={"a": 1}).json() == {"a": 1}
    assert "content" in client.post("/echo", files={"file": ("a.txt", b"content")}).text


def test_an_exception_of_the_app_is_raised_in_the_test(client: TestClient) -> None:
    with pytest.raises(KeyError, match="a"):
        client.get("/fails")
    with pytest.raises(ContractError, match="sent twice"):
        client.get("/twice")


def test_or_it_is_a_500(app: App, backend: str) -> None:
    with TestClient(app, backend=backend, raise_app_exceptions=False) as client:
        assert client.get("/fails").status_code == 500


def test_a_body_goes_out_piece_by_piece_while_the_response_is_read(client: TestClient) -> None:
    read = threading.Event()

    def pieces() -> Iterator[bytes]:
        yield b"one"
        assert read.wait(5)
        yield b"two"

    with client.stream("POST", "/echo", content=pieces()) as response:
        assert client.read(response, 3) == b"one"
        read.set()
        assert response.read() == b"two"


def test_closing_a_streamed_response_is_leaving(client: TestClient, app: App) -> None:
    with client.stream("GET", "/endless") as response:
        for body in response.iter_bytes():
            assert b"data: a" in body
            break
    assert app.log[-1] == "left"


def test_the_client_leaves_at_any_moment(client: TestClient, app: App) -> None:
    with client.stream("GET", "/endless") as response:
        client.disconnect(response)
        client.wait_idle()
        assert app.log[-1] == "left"
        with pytest.raises(Disconnected):
            response.read()


def test_a_wait_has_a_deadline(client: TestClient) -> None:
    with client.stream("GET", "/endless") as response:
        with pytest.raises(DeadlineExceeded):
            client.read(response, 1000, timeout=0.01)
        with pytest.raises(DeadlineExceeded):
            client.wait_idle(timeout=0.01)


def test_events_come_one_by_one(client: TestClient) -> None:
    with client.events("/endless") as events:
        assert events.receive().data == "a"
        assert (events.last_event_id, events.retry) == ("1", 5)
        assert next(events).data == "b"
        with pytest.raises(DeadlineExceeded):
            events.receive(timeout=0.01)
        assert events.response.status_code == 200
    with client.events("/ends") as events:
        assert [event.data for event in events] == ["a", "b"]
    with pytest.raises(NotAnEventStream), client.events("/hello"):
        pytest.fail("the block is not entered")


def test_a_websocket(client: TestClient, app: App) -> None:
    with client.websocket("/", subprotocols=["chat"]) as ws:
        assert ws.subprotocol == "chat"
        assert ws.headers == httpx2.Headers()
        ws.send("a")
        ws.send_text("b")
        ws.send_bytes(b"c")
        ws.send_json([1])
        assert ws.receive() == "a"
        assert ws.receive_text() == "b"
        assert ws.receive_bytes() == b"c"
        assert ws.receive_json() == [1]
        with pytest.raises(DeadlineExceeded):
            ws.receive(timeout=0.01)
        ws.send("a")
        ws.send("close")
        assert list(ws) == ["a"]
        assert (ws.close_code, ws.close_reason) == (4000, "bye")
        with pytest.raises(WebSocketClosed):
            ws.send("a")
    with client.websocket("/") as ws:
        ws.close(4001)
    with client.websocket("/") as ws:
        ws.abort()
    assert app.log[1:] == [4001, 1006]
    with pytest.raises(WebSocketDenied), client.websocket("/denied"):
        pytest.fail("the block is not entered")


def test_the_app_is_shut_down_in_the_block(client: TestClient, app: App) -> None:
    client.begin_shutdown()
    client.shutdown()
    assert app.log[-1] == {"type": "lifespan.shutdown"}


def test_time_is_virtual_if_it_is_asked_for(app: App, backend: str) -> None:
    with TestClient(app, backend=virtual_clock(backend)) as client:
        assert client.get("/hour").text == "hello"


def test_it_takes_a_transport(app: App, backend: str) -> None:
    transport = ASGITransport(app, http_version="2")
    with TestClient(app, backend=backend, transport=transport) as client:
        assert client.get("/hello").http_version == "HTTP/2"


def test_it_says_that_it_is_not_open(app: App) -> None:
    client = TestClient(app)
    with pytest.raises(RuntimeError, match="open it first"):
        client.get("/hello")
    with pytest.raises(RuntimeError, match="open it first"):
        client.disconnect()
