"""Mistakes that type checkers must find: each line that ends with `# wrong`, and no other."""

from __future__ import annotations

from collections.abc import AsyncIterator

from kui.asgi import (
    HttpRoute,
    JSONResponse,
    Kui,
    Routes,
    SendEventResponse,
    ServerSentEvent,
    TemplateResponse,
    request,
    websocket,
)


async def hello() -> str:
    return "hello"


async def events() -> AsyncIterator[ServerSentEvent]:
    yield {"data": "a", "name": "news"}  # wrong
    yield {"retry": "soon"}  # wrong


async def handler() -> None:
    TemplateResponse("page.html", contxt={})  # wrong
    TemplateResponse("page.html", {}, "200")  # wrong
    SendEventResponse(events(), ping=3)  # wrong
    JSONResponse({}, "200")  # wrong
    request.methd  # wrong  # noqa: B018
    request.headers.get(1)  # wrong
    request.url_for(1)  # wrong
    await request.body()  # wrong
    await websocket.send_text(b"bytes")  # wrong
    await websocket.recieve_text()  # wrong


app = Kui(route=[])  # wrong
app.include_router(Routes())  # wrong
app.get(hello)  # wrong
app.router.http.get("/", status_code=201)(hello)  # wrong
HttpRoute("/", hello, "name", ["GET"], prefix="/a")  # wrong
Routes(prefix="/a")  # wrong
app.router.url_for("name", "id")  # wrong
