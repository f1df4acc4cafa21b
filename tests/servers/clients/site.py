"""What the clients ask: an app of Kui that answers, streams, takes uploads and speaks on WebSockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio

from kui.asgi import (
    HTMLResponse,
    Kui,
    PlainTextResponse,
    SendEventResponse,
    StreamResponse,
    request,
    websocket,
)

app = Kui()
BIG = bytes(range(256)) * 4096


@app.router.http.get("/plain")
async def plain() -> Any:
    return f"hello over {request.scope['http_version']}"


@app.router.http.get("/big")
async def big() -> Any:
    return PlainTextResponse(BIG)


@app.router.http.post("/count")
@app.router.http.put("/count")
async def count() -> Any:
    """How much has come, counted while it comes."""
    total = 0
    async for chunk in request.stream():
        total += len(chunk)
    return str(total)


@app.router.http.post("/early")
async def early() -> Any:
    return "too large", 413


@app.router.http.get("/numbers")
async def numbers() -> Any:
    async def chunks() -> AsyncIterator[bytes]:
        for number in range(100):
            yield b"%d\n" % number

    return StreamResponse(chunks())


@app.router.http.get("/events")
async def events() -> Any:
    """Five events, then one in an hour; `left` is printed when the client has gone."""

    async def source() -> AsyncIterator[dict[str, Any]]:
        try:
            for number in range(5):
                yield {"data": str(number)}
            await anyio.sleep(3600)
        finally:
            print("left", flush=True)

    return SendEventResponse(source())


PAGE = """<!doctype html><script>
const seen = [];
function note(text) {
    seen.push(text);
    if (seen.length == 3) fetch('/seen', { method: 'POST', body: seen.sort().join(' | ') });
}
fetch('/plain').then(response => response.text()).then(note);
const events = new EventSource('/events');
events.onmessage = event => { if (event.data == '4') { events.close(); note('five events'); } };
const socket = new WebSocket(location.href.replace(/^http/, 'ws').replace('page', 'echo'));
socket.onopen = () => socket.send('echo');
socket.onmessage = event => { note('a socket says ' + event.data); socket.close(); };
</script>"""


@app.router.http.get("/page")
async def page() -> Any:
    """A page that uses the site, and tells what came of it."""
    return HTMLResponse(PAGE)


@app.router.http.post("/seen")
async def seen() -> Any:
    print("a page saw", (await request.body).decode(), flush=True)
    return "thanks"


@app.router.websocket("/echo")
async def echo() -> None:
    await websocket.accept()
    print("socket over", websocket.scope["http_version"], flush=True)
    async for message in websocket.iter_text():
        await websocket.send_text(message)
