"""Half of a surrogate pair, which JSON lets through, is U+FFFD on every way out."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

from kui.asgi import (
    BaseTemplates,
    HTMLResponse,
    HTTPException,
    HttpResponse,
    Jinja2Templates,
    JSONResponse,
    Kui,
    PlainTextResponse,
    RedirectResponse,
    SendEventResponse,
    StreamResponse,
    TemplateResponse,
    request,
    websocket,
)
from kui.http.text import encode_text, whole_text
from kui.testing import AsyncTestClient, ContractError

pytestmark = pytest.mark.anyio

SENT = b'{"text": "a\\ud83d"}'  # what a client sends; the page for it reads "a\ufffd"


class Plain(BaseTemplates):
    def render(self, name: str, context: dict[str, Any]) -> str:
        return f"{name}: {context['text']}"


class LaterPlain(BaseTemplates):
    async def render(self, name: str, context: dict[str, Any]) -> str:
        return f"{name}: {context['text']}"


def one_by_one(text: str) -> Iterator[str]:
    yield text


async def one_by_one_later(text: str) -> AsyncIterator[str]:
    yield text


def streamed(text: str) -> HttpResponse:
    async def feed(send: Any) -> None:
        await send(text)

    return StreamResponse(feed, content_type="text/plain")


def failed(text: str) -> HttpResponse:
    raise HTTPException(418, content=text)


WAYS: dict[str, Any] = {
    "text": lambda text: text,
    "html": HTMLResponse,
    "utf-16": lambda text: PlainTextResponse(text, charset="utf-16"),
    "json": lambda text: {"text": text},
    "json in ascii": lambda text: JSONResponse({"text": text}, ensure_ascii=True),
    "an async generator": lambda text: StreamResponse(
        one_by_one_later(text), 200, None, "text/plain"
    ),
    "a generator": lambda text: StreamResponse(one_by_one(text), 200, None, "text/plain"),
    "a function that feeds": streamed,
    "an event": lambda text: SendEventResponse(one_by_one_later(text)),
    "each field of an event": lambda text: SendEventResponse(
        {"id": text, "event": text, "data": each, "comment": text} for each in (text, [text])
    ),
    "a template": lambda text: TemplateResponse("page.html", {"text": text}),
    "an exception": failed,
}


@pytest.fixture(params=["jinja", "jinja at once", "plain", "plain later"])
def templates(request: pytest.FixtureRequest, tmp_path: Path) -> BaseTemplates:
    (tmp_path / "page.html").write_text("page: {{ text }}")
    return {
        "jinja": lambda: Jinja2Templates(tmp_path),
        "jinja at once": lambda: Jinja2Templates(tmp_path, enable_async=False),
        "plain": Plain,
        "plain later": LaterPlain,
    }[request.param]()


def an_app(way: Any, templates: BaseTemplates | None = None) -> Kui:
    app = Kui(templates=templates)

    @app.router.http.post("/")
    async def echo() -> Any:
        return way((await request.json)["text"])

    @app.router.websocket("/")
    async def echo_socket() -> None:
        await websocket.accept()
        text = (await websocket.receive_json())["text"]
        await way(text)

    return app


async def answer(app: Kui) -> Any:
    async with AsyncTestClient(app) as client:
        return await client.post("/", content=SENT, headers={"content-type": "application/json"})


@pytest.mark.parametrize("way", WAYS)
async def test_it_is_a_replacement_character_in_every_response(
    way: str, templates: BaseTemplates
) -> None:
    response = await answer(an_app(WAYS[way], templates))
    text = response.text
    if "json" in way:
        text = json.loads(text)["text"]
    assert "a\ufffd" in text
    assert "?" not in text


async def test_so_it_is_in_headers_that_carry_text() -> None:
    response = await answer(an_app(lambda text: RedirectResponse(f"/?q={text}")))
    assert response.headers["location"] == "/?q=a%EF%BF%BD"

    def with_cookie(text: str) -> HttpResponse:
        response = PlainTextResponse("")
        response.set_cookie("name", text)
        return response

    response = await answer(an_app(with_cookie))
    assert response.headers["set-cookie"].startswith('name="a%EF%BF%BD"')


@pytest.mark.parametrize(
    ("way", "received"),
    [
        (lambda text: websocket.send_text(text), "a\ufffd"),
        (lambda text: websocket.send_json(text), '"a\ufffd"'),
        (lambda text: websocket.send_json(text, mode="binary"), '"a\ufffd"'.encode()),
        (lambda text: websocket.send({"type": "websocket.send", "text": text}), "a\ufffd"),
    ],
)
async def test_so_it_is_in_every_message(way: Any, received: Any) -> None:
    async with AsyncTestClient(an_app(way)) as client, client.websocket("/") as ws:
        await ws.send_text(SENT.decode())
        assert await ws.receive() == received


async def test_and_in_the_reason_of_a_close() -> None:
    app = an_app(lambda text: websocket.close(1000, text))
    async with AsyncTestClient(app) as client, client.websocket("/") as ws:
        await ws.send_text(SENT.decode())
        with pytest.raises(Exception, match="1000"):
            await ws.receive()
        assert ws.close_reason == "a\ufffd"


@pytest.mark.parametrize(
    "message",
    [
        {"type": "websocket.send", "text": "\ud83d"},
        {"type": "websocket.close", "code": 1000, "reason": "\ud83d"},
    ],
)
async def test_the_test_client_takes_no_message_that_a_server_could_not_send(message: Any) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await receive()
        await send({"type": "websocket.accept"})
        await send(message)

    with pytest.raises(ContractError, match="lone surrogate"):
        async with AsyncTestClient(app) as client, client.websocket("/") as ws:
            await ws.receive()


async def test_and_sends_none_that_a_client_could_not() -> None:
    app = an_app(lambda text: websocket.send_text(text))
    async with AsyncTestClient(app) as client, client.websocket("/") as ws:
        with pytest.raises(UnicodeEncodeError):
            await ws.send_text("\ud83d")
        await ws.send_text(SENT.decode())
        assert await ws.receive_text() == "a\ufffd"


def test_halves_that_make_a_pair_become_their_character() -> None:
    assert whole_text("\ud83d\ude00") == "\U0001f600"
    assert whole_text("\ude00\ud83d") == "\ufffd\ufffd"
    assert whole_text("\ufeffa\ud83d") == "\ufeffa\ufffd"
    assert encode_text("a\ud83d", "utf-16-le") == "a\ufffd".encode("utf-16-le")
    with pytest.raises(UnicodeEncodeError):
        encode_text("\u20ac", "latin-1")
