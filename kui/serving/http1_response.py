"""Make the bytes of a response for HTTP/1.1 and 1.0 (RFC 9112) of ASGI messages, without a socket."""

from __future__ import annotations

import http
from collections.abc import Sequence
from operator import attrgetter
from typing import Final

from baize.typing import Message

from kui.http.event_streams import farewell
from kui.http.media import awaits_events

from .http1_request import Request
from .responses import Phase, Response, checked_headers

__all__ = ["CONTINUE", "STATUS_LINES", "Http1Response", "refusal", "unavailable"]

SLICE: Final = 64 * 1024
"""How many bytes of a response are given to the pipe at once, at most."""

CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

_NOTHING: Final = ()
_END: Final = b"\r\n"

# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_WAITING, _STARTED, _IN_BODY, _TRAILERS, _DONE = Phase


def _status_lines() -> dict[int, bytes]:
    """Return lines such as `HTTP/1.1 200 OK`. Without a known phrase the line ends with a blank (RFC 9112, 4)."""
    names = {status.value: status.phrase for status in http.HTTPStatus}
    return {
        status: b"HTTP/1.1 %d %b\r\n" % (status, names.get(status, "").encode("ascii"))
        for status in range(100, 600)
    }


STATUS_LINES: Final = _status_lines()
"""The first line of a response, by its status."""
_line_of = attrgetter("line")


class Http1Response(Response):
    """A response for a client of HTTP/1.1 or 1.0.

    Once the head is written, `keep_alive` is False if the connection must end with the response.

    :param request: the request that it answers.
    :param keep_alive: False if the connection must end with the response, regardless of app and client.
    """

    __slots__ = ("_chunked", "_version", "keep_alive")

    def __init__(self, request: Request, keep_alive: bool) -> None:
        super().__init__(request.method == "HEAD")
        self.keep_alive = keep_alive and request.keep_alive
        self._chunked = False
        self._version = request.version

    def send(self, message: Message, date: bytes) -> Sequence[bytes | memoryview]:
        """Return the bytes to write for a message of the app, in order. For the start there are none yet.

        :param date: the value of the Date header, if the response has none.
        :raises Misuse: as for `Response.advance`.
        """
        before = self.phase
        if before is _IN_BODY and self._chunked:
            body = message.get("body", b"")
            if message["type"] == "http.response.body" and message.get("more_body"):
                if 0 < len(body) < SLICE:  # the usual message of a stream
                    return (b"%x\r\n%b\r\n" % (len(body), body),)
        phase = self.advance(message)
        if phase is _STARTED:
            return _NOTHING
        if phase is _WAITING:
            return [self._hints(message)]
        if before is _TRAILERS:
            return [self._written_trailers(message)] if self._chunked else _NOTHING
        body = message.get("body", b"")
        last = phase is not _IN_BODY
        head = self._written_head(len(body) if last else None, date) if before is _STARTED else b""
        if self.bodiless:
            body = b""
        elif self._chunked:
            head, body, end = _chunk(head, body, phase)
            if len(body) < SLICE:
                return (b"".join((head, body, end)),)
            return [*_slices(head, body), end]
        if len(body) < SLICE:
            data = head + body
            return (data,) if data else _NOTHING
        return _slices(head, body)

    def _written_head(self, length: int | None, date: bytes) -> bytes:
        """Return the head. `length` is that of the body, if the whole body is known."""
        lines = [STATUS_LINES[self.status], *map(_line_of, self.fields)]
        if self.left is None and not self.bodiless:
            if length is not None and not self._trailers:
                lines.append(b"content-length: %d\r\n" % length)
            elif self._version == "1.1":
                self._chunked = True
                lines.append(b"transfer-encoding: chunked\r\n")
            else:
                self.close = True  # the end of the connection is the end of the body
        if not self.dated:
            lines += (b"date: ", date, _END)
        self.keep_alive = self.keep_alive and not self.close
        if not self.keep_alive:
            lines.append(b"connection: close\r\n")
        elif self._version == "1.0":
            lines.append(b"connection: keep-alive\r\n")
        lines.append(_END)
        return b"".join(lines)

    def _hints(self, message: Message) -> bytes:
        """Return 103 Early Hints (RFC 8297), or nothing for a client of HTTP/1.0, which would not understand them."""
        if self._version != "1.1":
            return b""
        links = checked_headers([(b"link", link) for link in message.get("links", ())])
        return b"".join([STATUS_LINES[103], *[b"%b: %b\r\n" % link for link in links], _END])

    def _written_trailers(self, message: Message) -> bytes:
        trailers = checked_headers(message.get("headers", ()))
        lines = b"".join([b"%b: %b\r\n" % header for header in trailers])
        return lines if self.phase is _TRAILERS else lines + b"\r\n"


def _chunk(head: bytes, body: bytes, phase: Phase) -> tuple[bytes, bytes, bytes]:
    """Return the bytes before a chunk, the chunk, and the bytes after it (RFC 9112, section 7.1)."""
    end = b"\r\n" if body else b""
    if body:
        head += b"%x\r\n" % len(body)
    if phase is _DONE:
        end += b"0\r\n\r\n"
    elif phase is _TRAILERS:
        end += b"0\r\n"
    return head, body, end


def _slices(head: bytes, body: bytes) -> list[bytes | memoryview]:
    view = memoryview(body)
    first = SLICE - len(head)
    if first <= 0:
        first = 0
    return [head + view[:first], *(view[at : at + SLICE] for at in range(first, len(body), SLICE))]


def refusal(
    status: int,
    reason: str,
    date: bytes,
    content_type: bytes = b"text/plain; charset=utf-8",
    *,
    method: str = "GET",
) -> bytes:
    """Return a whole response that ends the connection, for a request that no app answers. For HEAD it has no body."""
    body = reason.encode("utf-8")
    more = b"sec-websocket-version: 13\r\n" if status == 426 else b""  # RFC 6455, 4.4
    return (
        b"%bcontent-type: %b\r\ncontent-length: %d\r\ndate: %b\r\n%bconnection: close\r\n\r\n%b"
        % (
            STATUS_LINES[status],
            content_type,
            len(body),
            date,
            more,
            b"" if method == "HEAD" else body,
        )
    )


def unavailable(request: Request, reason: str, date: bytes) -> bytes:
    """Return the response to a request that the server cannot serve now.

    That is 503. A browser's `EventSource` would never retry after it, so it gets an empty event stream instead.
    """
    if awaits_events(request.method, request.headers):
        return refusal(200, farewell().decode(), date, b"text/event-stream")
    return refusal(503, reason, date, method=request.method)
