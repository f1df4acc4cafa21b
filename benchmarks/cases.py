"""What is measured: one request, or one WebSocket, each with the answer that every framework has to give.

The frameworks' side of each case is in `frameworks/`; who sends these requests and takes the time
is in `driver.py` and `worker.py`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlencode

__all__ = ["CASES", "Answer", "Case", "Headers"]

Headers = tuple[tuple[bytes, bytes], ...]

SMALL: Final = {"id": 7, "name": "Ada Lovelace", "tags": ["mathematics", "poetry"], "active": True}
"""The small JSON that goes out."""
LARGE: Final = [
    {"id": number, "name": f"name {number}", "price": number / 4, "tags": ["a", "b"], "next": None}
    for number in range(140)
]
"""About 10 KB of JSON that goes out."""
MESSAGE: Final = "Hello, world!"
ROWS: Final = [{"name": f"row {number}", "value": number} for number in range(20)]
"""What the template shows."""

EVENTS: Final = 100
ECHOES: Final = 100
CHUNK: Final = b"x" * 100
ROUTES: Final = 1000
PIECE: Final = 64 * 1024
"""Bytes of a body that arrive at once."""

_CLIENT: Final[Headers] = (
    (b"host", b"127.0.0.1:8000"),
    (b"user-agent", b"benchmark/1.0"),
    (b"accept", b"*/*"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
)


@dataclass(frozen=True)
class Answer:
    """What came back: status, headers in lower case, body."""

    status: int
    headers: Headers
    body: bytes

    def header(self, name: bytes) -> bytes | None:
        return next((value for key, value in self.headers if key == name), None)


Check = Callable[[Answer], bool]


def text(expected: bytes) -> Check:
    return lambda answer: answer.body == expected


@dataclass(frozen=True)
class Case:
    """A request, and how to know that it was answered.

    `body` is what arrives, piece by piece. `site` names the app that a framework builds for it:
    `main`, or one of its own for what is set up for a whole app. A `heavy` case takes so long that it
    is measured in fewer rounds.
    """

    name: str
    title: str
    path: str
    check: Check
    method: str = "GET"
    query: bytes = b""
    headers: Headers = ()
    body: tuple[bytes, ...] = field(default=(), repr=False)
    status: int = 200
    site: str = "main"
    websocket: bool = False
    heavy: bool = False

    @property
    def all_headers(self) -> Headers:
        if not self.body:
            return (*_CLIENT, *self.headers)
        length = sum(map(len, self.body))
        return (*_CLIENT, *self.headers, (b"content-length", b"%d" % length))


def _json_out(expected: Any) -> Check:
    return lambda answer: json.loads(answer.body) == expected


def _events(answer: Answer) -> bool:
    data = [
        line for line in answer.body.replace(b"\r\n", b"\n").split(b"\n") if line[:5] == b"data:"
    ]
    ids = [line for line in answer.body.replace(b"\r\n", b"\n").split(b"\n") if line[:3] == b"id:"]
    return (
        (answer.header(b"content-type") or b"").startswith(b"text/event-stream")
        and [line[5:].strip() for line in data] == [b"event %d" % n for n in range(EVENTS)]
        and [line[3:].strip() for line in ids] == [b"%d" % n for n in range(EVENTS)]
    )


def _three_headers(answer: Answer) -> bool:
    added = all(answer.header(name) == b"1" for name in (b"x-one", b"x-two", b"x-three"))
    return added and answer.body == MESSAGE.encode()


def _template(answer: Answer) -> bool:
    return b"<h1>Rows</h1>" in answer.body and all(
        b"<td>row %d</td>" % number in answer.body for number in range(len(ROWS))
    )


def _cors(answer: Answer) -> bool:
    allowed = answer.header(b"access-control-allow-origin") in (b"*", ORIGIN)
    return allowed and answer.body == MESSAGE.encode()


def _cookie(answer: Answer) -> bool:
    set_cookie = answer.header(b"set-cookie") or b""
    return answer.body == b"abc123" and set_cookie.startswith(b"seen=yes;")


def file_bytes(size: int) -> bytes:
    """The content of the file of this size, in which no part is like another."""
    return b"".join(b"%015d\n" % number for number in range(size // 16 + 1))[:size]


def _file(size: int, start: int = 0, stop: int | None = None) -> Check:
    expected: list[bytes] = []

    def check(answer: Answer) -> bool:
        if not expected:
            expected.append(file_bytes(size)[start:stop])
        return answer.body == expected[0]

    return check


def _pieces(body: bytes) -> tuple[bytes, ...]:
    """A body as it arrives from a socket."""
    return tuple(body[at : at + PIECE] for at in range(0, len(body), PIECE))


def _multipart(size: int) -> tuple[bytes, ...]:
    """A form with a text and a file of this size; the pieces of a large one are one object, for memory's sake."""
    head = (
        b'--frontier\r\nContent-Disposition: form-data; name="title"\r\n\r\nA picture\r\n'
        b'--frontier\r\nContent-Disposition: form-data; name="file"; filename="a.bin"\r\n'
        b"Content-Type: application/octet-stream\r\n\r\n"
    )
    tail = b"\r\n--frontier--\r\n"
    if size < PIECE:
        return (head + file_bytes(size) + tail,)
    return (head, *[file_bytes(PIECE)] * (size // PIECE), file_bytes(size % PIECE) + tail)


def _json_in(size: int) -> bytes:
    rows: list[dict[str, Any]] = []
    document = {"id": 7, "rows": rows}
    while len(json.dumps(document)) < size:
        rows += [{"n": len(rows), "name": "a name", "price": 1.25, "ok": True, "none": None}] * max(
            1, size // 200
        )
    while len(json.dumps(document)) > size * 1.05:
        del rows[-max(1, len(rows) // 50) :]
    return json.dumps(document).encode()


ORIGIN: Final = b"https://www.example.com"
TOKEN: Final = b"a6f0"
_FORM: Final = urlencode({"name": "Ada Lovelace", "note": "a" * 900, "year": "1815"}).encode()
_JSON_TYPE: Final = ((b"content-type", b"application/json"),)
_FORM_TYPE: Final = ((b"content-type", b"application/x-www-form-urlencoded"),)
_MULTIPART_TYPE: Final = ((b"content-type", b"multipart/form-data; boundary=frontier"),)
_MIB: Final = 1024 * 1024
SIZES: Final = {"1k": 1024, "100k": 100 * 1024, "10m": 10 * _MIB}


def _cases() -> list[Case]:
    hello = text(MESSAGE.encode())
    return [
        Case("plain", "plain text", "/plain", hello),
        Case("json", "JSON, small", "/json", _json_out(SMALL)),
        Case("json-10k", "JSON, 10 KB", "/json/large", _json_out(LARGE)),
        Case(
            "parameters",
            "path, query, header",
            "/items/7",
            text(b"7 red a6f0"),
            query=b"color=red&size=4",
            headers=((b"x-token", TOKEN),),
        ),
        *(
            Case(
                f"json-in-{name}",
                f"JSON in, {title}",
                "/json",
                text(b"7"),
                method="POST",
                headers=_JSON_TYPE,
                body=_pieces(_json_in(size)),
                heavy=size == _MIB,
            )
            for name, title, size in (("1k", "1 KB", 1024), ("1m", "1 MB", _MIB))
        ),
        Case(
            "form",
            "form, 1 KB",
            "/form",
            text(b"Ada Lovelace 1815"),
            method="POST",
            headers=_FORM_TYPE,
            body=(_FORM,),
        ),
        *(
            Case(
                f"multipart-{name}",
                f"multipart, {title}",
                "/upload",
                text(b"A picture a.bin %d" % size),
                method="POST",
                headers=_MULTIPART_TYPE,
                body=_multipart(size),
                heavy=size > _MIB,
            )
            for name, title, size in (("1k", "1 KB", 700), ("64m", "64 MB file", 64 * _MIB))
        ),
        Case("middlewares", "three middlewares", "/plain", _three_headers, site="middlewares"),
        Case("missing", "404", "/missing", lambda answer: True, status=404),
        Case("error", "exception handler", "/error", text(b"no more tea"), status=418),
        Case("template", "template", "/template", _template),
        Case("stream-100", "stream, 100 chunks", "/stream/100", text(CHUNK * 100)),
        Case("stream-1", "stream, 1 chunk", "/stream/1", text(CHUNK)),
        Case("events", "event stream, 100", "/events", _events),
        *(
            Case(
                f"file-{name}",
                f"file, {title}",
                f"/files/{name}.bin",
                _file(SIZES[name]),
                heavy=name == "10m",
            )
            for name, title in (("1k", "1 KB"), ("100k", "100 KB"), ("10m", "10 MB"))
        ),
        Case(
            "range",
            "file, a range",
            "/files/100k.bin",
            _file(SIZES["100k"], 1000, 3000),
            status=206,
            headers=((b"range", b"bytes=1000-2999"),),
        ),
        Case("websocket", "WebSocket, 100 echoes", "/echo", lambda answer: True, websocket=True),
        Case("routes", "1,000 routes", "/r777/things/5", text(b"777 5"), site="routes"),
        Case("cors", "CORS", "/plain", _cors, site="cors", headers=((b"origin", ORIGIN),)),
        Case(
            "cookies",
            "cookies",
            "/cookies",
            _cookie,
            headers=((b"cookie", b"theme=dark; session=abc123; lang=en"),),
        ),
    ]


CASES: Final = {case.name: case for case in _cases()}
