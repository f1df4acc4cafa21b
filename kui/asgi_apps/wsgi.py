"""WSGI apps (PEP 3333) as ASGI apps, so that a Flask or Django app can be migrated piece by piece.

This module makes the environ of a request, and messages of what the app returns. `concurrency/wsgi.py` runs the app in
a thread.
"""

from __future__ import annotations

import io
import sys
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, Final, TypeAlias

from baize.typing import Message, Receive, Scope, Send

from kui.argument_checks import describe, takes
from kui.concurrency import Exchange, Gone, Limiter, exchange_of
from kui.concurrency.http.watched_send import watched_send
from kui.concurrency.wsgi import Dialogue, dialogue
from kui.http.headers import RawHeaders, ResponseHeaders
from kui.http.urls import full_paths, percent_decode
from kui.responses.base import WITHOUT_CONTENT, HttpResponse

from .endpoint import EndpointApp

__all__ = ["WSGI", "environ_of"]

WSGIApp: TypeAlias = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
ExcInfo: TypeAlias = tuple[Any, Any, Any]

# Headers of the connection belong to the server (PEP 3333, "Other HTTP Features").
_HOP_BY_HOP: Final = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade", b"te")
)
_NOT_PASSED: Final = frozenset((b"content-type", b"content-length", b"proxy"))  # httpoxy


class WSGI(EndpointApp):
    """A WSGI app as an ASGI app, on asyncio and on trio.


    The request body streams into `wsgi.input` as the app reads, and each block that the app yields is
    sent before the next is asked for. When the client leaves, the app's next read or write raises an
    OSError, the iteration ends, and `close()` is called; code that neither reads nor writes is not interrupted.
    The context of the request is that of the thread: `kui.asgi.request` works there, and
    `environ["asgi.scope"]` has the scope. SCRIPT_NAME is the root_path, so that URLs are right
    behind a prefix. WebSockets are refused with 404.

    Exceptions of the app, and violations of PEP 3333, are handled as in a Kui app: before the response
    has begun they are answered, later the connection is cut.

    :param app: the WSGI app.
    :param threads: how many requests it handles at once; others wait. Each request has one thread from the call to the
        `close()` of the returned iterable, as under any WSGI server.
    :raises TypeError: the app is not callable.
    :raises ValueError: `threads` is less than 1.

    Example::

        from old_shop import flask_app

        app = Kui(routes=[Mount("/old", WSGI(flask_app)), HttpRoute("/new", new_page)])
    """

    def __init__(self, app: WSGIApp, *, threads: int = 40) -> None:
        super().__init__(self._answer)
        if not callable(app) or not takes(app, 2):
            raise TypeError(
                f"{describe(app)} is no WSGI app: give a function of environ and start_response"
            )
        self.app = app
        self._limiter = Limiter(threads)

    def __repr__(self) -> str:
        return f"<WSGI {self.app!r}>"

    async def _answer(self) -> HttpResponse:
        return _FromWSGI(self)

    async def converse(self, exchange: Exchange, scope: Scope) -> None:
        """Call the app for one request."""
        answer = _Answer(self.app, exchange, scope)
        async with dialogue(answer.run, self._limiter) as thread:
            await thread.serve(lambda: exchange.started)
            if exchange.started and not exchange.finished and not thread.ended:
                await watched_send(exchange, partial(thread.serve, lambda: answer.complete))
                if exchange.gone is not None and exchange.gone is not Gone.DRAIN:
                    thread.leave()
                elif answer.complete and not exchange.finished:
                    await exchange.send({"type": "http.response.body", "body": b""})
            await thread.end()


class _FromWSGI(HttpResponse):
    """The response of a WSGI app."""

    __slots__ = ("_wsgi",)

    def __init__(self, wsgi: WSGI) -> None:
        super().__init__()
        self.body = None
        self._wsgi = wsgi

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with exchange_of(scope, receive, send) as exchange:
            await self._wsgi.converse(exchange, scope)


class _Answer:
    """One call of a WSGI app; everything but the sending of messages runs in its thread."""

    def __init__(self, app: WSGIApp, exchange: Exchange, scope: Scope) -> None:
        self.sent = 0
        """How many bytes of the body were sent."""
        self.complete = False
        """True once the app has given the whole body."""
        self._app = app
        self._exchange = exchange
        self._scope = scope
        self._head = scope["method"] == "HEAD"
        self._status: int | None = None
        self._headers: RawHeaders = []
        self._length: int | None = None  # the Content-Length, if the app sets it
        self._begun = False

    def run(self, thread: Dialogue) -> None:
        self._thread = thread
        body = _Input(thread, self._exchange)
        environ = environ_of(self._scope, io.BufferedReader(body, 65_536))
        blocks = self._app(environ, self.start_response)
        try:
            only = isinstance(blocks, (list, tuple)) and len(blocks) == 1
            for block in blocks:
                if block:
                    self.write(block, last=only)
            self._end()
        finally:
            close = getattr(blocks, "close", None)
            if close is not None:
                close()

    def start_response(
        self, status: str, headers: list[tuple[str, str]], exc_info: ExcInfo | None = None
    ) -> Callable[[bytes], None]:
        if exc_info is not None:
            if self._begun:
                try:
                    raise exc_info[1].with_traceback(exc_info[2])
                finally:
                    exc_info = None  # it holds this frame
        elif self._status is not None:
            raise RuntimeError("start_response was called twice, the second time without exc_info")
        if not (isinstance(status, str) and status[:3].isdecimal() and status[3:4] in ("", " ")):
            raise ValueError(f"a WSGI status is text such as '200 OK', not {status!r}")
        code = int(status[:3])
        if not 200 <= code <= 599:
            raise ValueError(f"a WSGI app answers with a status from 200 to 599, not {status!r}")
        self._status = code
        self._headers = [line for line in _checked(headers) if line[0] not in _HOP_BY_HOP]
        lengths = [value for name, value in self._headers if name == b"content-length"]
        self._length = int(lengths[0]) if lengths else None
        if code in WITHOUT_CONTENT:
            self._headers = [line for line in self._headers if line[0] != b"content-length"]
            self._length = 0
        return self.write

    def write(self, block: bytes, last: bool = False) -> None:
        """Send a block of the body; before the first block, the headers."""
        if not isinstance(block, bytes):
            raise TypeError(f"a WSGI app gives blocks of bytes, not {type(block).__qualname__}")
        if self._status is None:
            raise RuntimeError("the WSGI app gave a body before it called start_response")
        if not block:
            return
        if last and self._length is None and not self._begun:
            self._length = len(block)
            self._headers.append((b"content-length", b"%d" % len(block)))
        if self._head or self._status in WITHOUT_CONTENT:
            return
        after = self.sent + len(block)
        if self._length is not None and after > self._length:
            raise RuntimeError(
                f"the WSGI app gives more than the {self._length} bytes of its Content-Length"
            )
        self._thread.ask(partial(self._send, block, after != self._length))
        self.sent = after

    def _end(self) -> None:
        if self._status is None:
            raise RuntimeError("the WSGI app returned without calling start_response")
        bare = self._head or self._status in WITHOUT_CONTENT
        if not self._begun:
            if self._length is None and not bare:
                self._headers.append((b"content-length", b"0"))
                self._length = 0
            elif self._length and not bare:
                raise RuntimeError(f"the WSGI app gave none of its {self._length} bytes")
            self._thread.ask(partial(self._send, b"", False))
        elif self._length is not None and self.sent < self._length:
            raise RuntimeError(
                f"the WSGI app gave {self.sent} of the {self._length} bytes of its Content-Length"
            )
        elif not self._exchange.finished:
            self._thread.ask(self._complete)

    # In the loop.

    async def _send(self, block: bytes, more: bool) -> None:
        exchange = self._exchange
        if self._begun:
            more = True  # a watcher must detect that the client leaves: see `watched_send`
        else:
            self._begun = True
            start: Message = {
                "type": "http.response.start",
                "status": self._status,
                "headers": self._headers,
            }
            await exchange.send(start)
        await exchange.send({"type": "http.response.body", "body": block, "more_body": more})

    async def _complete(self) -> None:
        self.complete = True


def _checked(headers: Iterable[tuple[str, str]]) -> RawHeaders:
    raw: RawHeaders = []
    for name, value in headers:
        # Repeated headers are kept as separate lines, as the app has set them.
        raw += ResponseHeaders([(name, value)]).encode()
    return raw


class _Input(io.RawIOBase):
    """`wsgi.input`: the body of the request, as it arrives."""

    def __init__(self, thread: Dialogue, exchange: Exchange) -> None:
        self._thread = thread
        self._next_chunk = exchange.next_chunk_of_app
        self._rest = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._rest:
            self._rest = memoryview(self._thread.ask(self._next_chunk))
        count = min(len(buffer), len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


def environ_of(scope: Scope, body: Any) -> dict[str, Any]:
    """Return the environ of a request (PEP 3333); its texts are bytes decoded as latin-1.

    Headers with an underscore in their names are left out, as they could not be distinguished from those
    with a hyphen; so is Proxy, whose variable HTTP clients obey (httpoxy).
    """
    root, path, raw = full_paths(scope)
    script = root.encode("utf-8", "replace").decode("latin-1")
    whole = (path.encode("utf-8", "replace") if raw is None else percent_decode(raw)).decode(
        "latin-1"
    )
    query: bytes = scope.get("query_string") or b""
    host, port = scope.get("server") or ("localhost", None)
    client = scope.get("client") or ("", "")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": scope["method"],
        "SCRIPT_NAME": script,
        "PATH_INFO": whole[len(script) :] if whole.startswith(script) else whole,
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_NAME": host or "localhost",
        "SERVER_PORT": str(port or (443 if scope.get("scheme") == "https" else 80)),
        "SERVER_PROTOCOL": f"HTTP/{scope.get('http_version', '1.1')}",
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scope.get("scheme", "http"),
        "wsgi.input": body,
        "wsgi.input_terminated": True,  # reading ends at the end of the body, also without a length
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
        "asgi.scope": scope,
    }
    if raw is not None:
        environ["REQUEST_URI"] = raw.decode("latin-1") + (
            f"?{environ['QUERY_STRING']}" if query else ""
        )
    for name, value in scope["headers"]:
        text = value.decode("latin-1")
        if name == b"content-type":
            environ["CONTENT_TYPE"] = text
        elif name == b"content-length":
            environ["CONTENT_LENGTH"] = text
        elif b"_" not in name and name not in _NOT_PASSED:
            key = "HTTP_" + name.decode("latin-1").upper().replace("-", "_")
            if key in environ:
                text = f"{environ[key]}{'; ' if name == b'cookie' else ', '}{text}"
            environ[key] = text
    return environ
