"""How many modules of Kui a request enters, and how often it passes from one to another.

`python -m benchmarks.passages` prints a table, for asyncio and trio. Counted is each call of a function, and each
return to one, that is defined in another file than the one before: what a reader who follows a request has to open.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

import anyio

import kui
from kui.asgi import FileResponse, HTTPException, Kui, StreamResponse, request, websocket

from .report import table

__all__ = ["Passages", "count", "main"]

ROOT = str(Path(kui.__file__).parent)
FILE = Path(tempfile.gettempdir()) / "kui-passages.txt"
app = Kui()


@app.router.http.get("/plain")
async def plain() -> str:
    return "Hello"


@app.router.http.post("/json")
async def json() -> Any:
    return await request.json


@app.router.http.get("/stream")
async def stream() -> StreamResponse:
    async def chunks() -> AsyncIterator[bytes]:
        for chunk in (b"one", b"two", b"three"):
            yield chunk

    return StreamResponse(chunks())


@app.router.http.get("/file")
async def file() -> FileResponse:
    return FileResponse(FILE)


@app.router.http.get("/refused")
async def refused() -> None:
    raise HTTPException(403)


@app.router.websocket("/echo")
async def echo() -> None:
    await websocket.accept()
    await websocket.send_text(await websocket.receive_text())


REQUESTS: dict[str, tuple[str, str, bytes]] = {
    "a plain request": ("GET", "/plain", b""),
    "a JSON body": ("POST", "/json", b'{"a": 1}'),
    "a stream of 3 chunks": ("GET", "/stream", b""),
    "a file": ("GET", "/file", b""),
    "an exception": ("GET", "/refused", b""),
    "a WebSocket with one echo": ("", "/echo", b"hello"),
}


@dataclass
class Passages:
    """The modules that were entered, and how often the one that ran was another than before."""

    modules: set[str]
    count: int = 0
    _last: str = ""

    def note(self, frame: FrameType, event: str, argument: object) -> None:
        """A function for `sys.setprofile`."""
        if event == "return":
            if frame.f_back is None:
                return
            frame = frame.f_back
        elif event != "call":
            return
        name = frame.f_code.co_filename
        if name.startswith(ROOT) and name != self._last:
            self.modules.add(name)
            self.count += 1
            self._last = name


def _scope(method: str, path: str, body: bytes) -> dict[str, Any]:
    headers = [(b"host", b"localhost")]
    if method == "POST":
        length = str(len(body)).encode()
        headers += [(b"content-type", b"application/json"), (b"content-length", length)]
    scope = {
        "type": "http" if method else "websocket",
        "http_version": "1.1",
        "path": path,
        "root_path": "",
        "query_string": b"",
        "headers": headers,
    }
    return {**scope, "method": method} if method else scope


async def count(method: str, path: str, body: bytes) -> Passages:
    """Count the passages of one request. The request before it has loaded and kept what is loaded once."""
    passages = Passages(set())
    for counted in (False, True):
        messages = [{"type": "http.request", "body": body}]
        if not method:
            text = {"type": "websocket.receive", "text": body.decode()}
            messages = [{"type": "websocket.connect"}, text]

        async def receive(messages: list[dict[str, Any]] = messages) -> dict[str, Any]:
            if not messages:
                await anyio.sleep_forever()
            return messages.pop(0)

        async def send(message: object) -> None:
            pass

        scope = _scope(method, path, body)
        sys.setprofile(passages.note if counted else None)
        try:
            await app(scope, receive, send)
        finally:
            sys.setprofile(None)
    return passages


async def counted() -> dict[str, Passages]:
    """The passages of each of REQUESTS."""
    FILE.write_text("a short file")
    try:
        return {title: await count(*each) for title, each in REQUESTS.items()}
    finally:
        FILE.unlink()


def main() -> None:
    loops = {name: anyio.run(counted, backend=name) for name in ("asyncio", "trio")}
    rows = [
        [title, *(f"{len(each[title].modules)} / {each[title].count}" for each in loops.values())]
        for title in REQUESTS
    ]
    print(table(["modules entered / passages between them", *loops], rows))


if __name__ == "__main__":
    main()
