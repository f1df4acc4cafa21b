"""No framework: what each case costs in a hand-written ASGI function, with the standard library.

It does what the case asks for and nothing else: no checks, no errors, no watching of the client.
"""

from __future__ import annotations

import json
import os
from tempfile import SpooledTemporaryFile
from typing import Any
from urllib.parse import parse_qsl

from benchmarks.cases import CHUNK, EVENTS, LARGE, MESSAGE, ORIGIN, ROUTES, ROWS, SMALL
from benchmarks.files import file_of, templates

Message = dict[str, Any]
TEXT = (b"content-type", b"text/plain; charset=utf-8")
JSON = (b"content-type", b"application/json")
HTML = (b"content-type", b"text/html; charset=utf-8")


async def answer(
    send: Any, body: bytes, kind: tuple[bytes, bytes] = TEXT, status: int = 200, *more: Any
) -> None:
    await send(
        {
            "type": "http.response.start",
            "status": status,
            "headers": [kind, (b"content-length", b"%d" % len(body)), *more],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def read(receive: Any) -> bytes:
    chunks = []
    more = True
    while more:
        message = await receive()
        chunks.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(chunks)


async def plain(scope: Any, receive: Any, send: Any) -> None:
    body = MESSAGE.encode()
    await send(
        {
            "type": "http.response.start",
            "status": 200,
            "headers": [TEXT, (b"content-length", b"%d" % len(body))],
        }
    )
    await send({"type": "http.response.body", "body": body})


async def json_small(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, json.dumps(SMALL).encode(), JSON)


async def json_large(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, json.dumps(LARGE).encode(), JSON)


async def parameters(scope: Any, receive: Any, send: Any) -> None:
    number = int(scope["path"].rpartition("/")[2])
    query = dict(parse_qsl(scope["query_string"].decode()))
    token = dict(scope["headers"])[b"x-token"].decode()
    await answer(send, f"{number} {query['color']} {token}".encode())


async def json_in(scope: Any, receive: Any, send: Any) -> None:
    data = json.loads(await read(receive))
    await answer(send, str(data["id"]).encode())


async def form(scope: Any, receive: Any, send: Any) -> None:
    fields = dict(parse_qsl((await read(receive)).decode()))
    await answer(send, f"{fields['name']} {fields['year']}".encode())


async def upload(scope: Any, receive: Any, send: Any) -> None:
    from multipart import MultipartSegment, PushMultipartParser

    names: dict[str, str] = {}
    segment: Any = None
    title = b""
    size = 0
    with PushMultipartParser(b"frontier") as parser, SpooledTemporaryFile(1 << 20) as file:
        more = True
        while more:
            message = await receive()
            more = message.get("more_body", False)
            for event in parser.parse(message.get("body", b"")):
                if isinstance(event, MultipartSegment):
                    segment = event
                elif event and segment.filename:
                    names["file"] = segment.filename
                    size += len(event)
                    file.write(event)
                elif event:
                    title += event
    await answer(send, f"{title.decode()} {names['file']} {size}".encode())


async def error(scope: Any, receive: Any, send: Any) -> None:
    try:
        raise RuntimeError("no more tea")
    except RuntimeError as exc:
        await answer(send, str(exc).encode(), TEXT, 418)


async def missing(scope: Any, receive: Any, send: Any) -> None:
    await answer(send, b"Not Found", TEXT, 404)


class Template:
    """A template that is loaded when it is first asked for."""

    def __init__(self) -> None:
        self.rows: Any = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if self.rows is None:
            from jinja2 import Environment, FileSystemLoader

            environment = Environment(loader=FileSystemLoader(templates()), autoescape=True)
            self.rows = environment.get_template("rows.html")
        await answer(send, self.rows.render(title="Rows", rows=ROWS).encode(), HTML)


async def stream(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": [TEXT]})
    for _ in range(int(scope["path"].rpartition("/")[2])):
        await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def events(scope: Any, receive: Any, send: Any) -> None:
    kind = (b"content-type", b"text/event-stream; charset=utf-8")
    await send({"type": "http.response.start", "status": 200, "headers": [kind]})
    for number in range(EVENTS):
        body = f"id: {number}\ndata: event {number}\n\n".encode()
        await send({"type": "http.response.body", "body": body, "more_body": True})
    await send({"type": "http.response.body", "body": b""})


async def file(scope: Any, receive: Any, send: Any) -> None:
    first = 0
    status = 200
    descriptor = os.open(file_of(scope["path"].rpartition("/")[2]), os.O_RDONLY)
    try:
        left = size = os.fstat(descriptor).st_size
        more: list[tuple[bytes, bytes]] = []
        asked = dict(scope["headers"]).get(b"range")
        if asked is not None:
            begin, _, end = asked.removeprefix(b"bytes=").partition(b"-")
            first, last = int(begin), int(end)
            left = last + 1 - first
            status = 206
            more.append((b"content-range", b"bytes %d-%d/%d" % (first, last, size)))
        kind = (b"content-type", b"application/octet-stream")
        headers = [kind, (b"content-length", b"%d" % left), *more]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        while left:
            chunk = os.pread(descriptor, min(left, 256 * 1024), first)
            first += len(chunk)
            left -= len(chunk)
            await send({"type": "http.response.body", "body": chunk, "more_body": left > 0})
    finally:
        os.close(descriptor)


async def echo(scope: Any, receive: Any, send: Any) -> None:
    await receive()
    await send({"type": "websocket.accept"})
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            break
        await send({"type": "websocket.send", "text": message["text"]})


async def cookies(scope: Any, receive: Any, send: Any) -> None:
    pairs = dict(scope["headers"])[b"cookie"].decode().split("; ")
    session = dict(pair.split("=", 1) for pair in pairs)["session"]
    await answer(
        send, session.encode(), TEXT, 200, (b"set-cookie", b"seen=yes; Path=/; SameSite=lax")
    )


async def cors(scope: Any, receive: Any, send: Any) -> None:
    more = []
    if dict(scope["headers"]).get(b"origin") == ORIGIN:
        more = [(b"access-control-allow-origin", ORIGIN), (b"vary", b"Origin")]
    await answer(send, MESSAGE.encode(), TEXT, 200, *more)


def adding(name: bytes, app: Any) -> Any:
    async def around(scope: Any, receive: Any, send: Any) -> None:
        async def sending(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"].append((name, b"1"))
            await send(message)

        await app(scope, receive, sending)

    return around


async def numbered(scope: Any, receive: Any, send: Any) -> None:
    _, number, _, thing = scope["path"].split("/")
    assert int(number[1:]) < ROUTES
    await answer(send, f"{number[1:]} {int(thing)}".encode())


APPS: dict[str, Any] = {
    "plain": plain,
    "json": json_small,
    "json-10k": json_large,
    "parameters": parameters,
    "json-in-1k": json_in,
    "json-in-1m": json_in,
    "form": form,
    "multipart-1k": upload,
    "multipart-64m": upload,
    "middlewares": adding(b"x-one", adding(b"x-two", adding(b"x-three", plain))),
    "missing": missing,
    "error": error,
    "template": Template(),
    "stream-100": stream,
    "stream-1": stream,
    "events": events,
    "file-1k": file,
    "file-100k": file,
    "file-10m": file,
    "range": file,
    "websocket": echo,
    "routes": numbered,
    "cors": cors,
    "cookies": cookies,
}
"""A function for each case: without a framework there is no routing."""
