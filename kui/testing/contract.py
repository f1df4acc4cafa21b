"""The ASGI contract as three state machines, one per scope type (ASGI 3.0).

`check(message)` must be called with each message that an app sends, in order; it raises `ContractError` if the
message may not be sent. `returned()` raises it if the app may not return now. Nothing here waits.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

from baize.typing import Message

from kui.http.text import whole_text

from .errors import ContractError

__all__ = [
    "HttpContract",
    "LifespanContract",
    "WebSocketContract",
    "check_headers",
    "sendable_code",
]

_TOKEN = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_FORBIDDEN_IN_VALUE = re.compile(rb"[\r\n\0]")
# RFC 9113 section 8.2.2
_CONNECTION_HEADERS = frozenset(
    (b"connection", b"keep-alive", b"proxy-connection", b"transfer-encoding", b"upgrade")
)


def _kind(message: Any, where: str) -> str:
    if not isinstance(message, dict):
        raise ContractError(f"{where}: a message is a dict, not {type(message).__name__}")
    kind = message.get("type")
    if not isinstance(kind, str):
        raise ContractError(f"{where}: the message has no type (a str): {message!r}")
    return kind


def _flag(message: Message, key: str) -> bool:
    value = message.get(key, False)
    if not isinstance(value, bool):
        raise ContractError(f"{message['type']}: {key!r} is a bool, not {value!r}")
    return value


def check_headers(headers: Any, where: str, *, http2: bool = False) -> list[tuple[bytes, bytes]]:
    """Return `headers` as a list of pairs.

    :raises ContractError: they are not an iterable of pairs of bytes; a name is not a token in lower
        case; a value contains CR, LF or NUL, or begins or ends with a blank (RFC 9110 section 5.5);
        with `http2`, a name belongs to the connection (RFC 9113 section 8.2.2).
    """
    if isinstance(headers, str | bytes | dict) or not isinstance(headers, Iterable):
        raise ContractError(f"{where}: headers are an iterable of pairs, not {headers!r}")
    pairs: list[tuple[bytes, bytes]] = []
    for pair in headers:
        if isinstance(pair, str | bytes) or not isinstance(pair, Iterable):
            raise ContractError(f"{where}: a header is a pair (name, value), not {pair!r}")
        parts = tuple(pair)
        if len(parts) != 2:
            raise ContractError(f"{where}: a header is a pair (name, value), not {pair!r}")
        name, value = parts
        if not isinstance(name, bytes) or not isinstance(value, bytes):
            raise ContractError(f"{where}: header names and values are bytes, not {pair!r}")
        if not _TOKEN.fullmatch(name):
            raise ContractError(f"{where}: {name!r} is no header name")
        if name != name.lower():
            raise ContractError(f"{where}: header names are lower case, not {name!r}")
        if _FORBIDDEN_IN_VALUE.search(value):
            raise ContractError(
                f"{where}: the value of {name!r} has CR, LF or NUL in it: {value!r}"
            )
        if value != value.strip(b" \t"):
            raise ContractError(f"{where}: the value of {name!r} has blanks around it: {value!r}")
        if http2 and name in _CONNECTION_HEADERS:
            raise ContractError(f"{where}: HTTP/2 knows no header {name!r}")
        pairs.append((name, value))
    return pairs


def sendable_code(code: Any) -> bool:
    """True if a close frame may have this code (RFC 6455, 7.4)."""
    if not isinstance(code, int) or code in (1004, 1005, 1006):
        return False
    return 1000 <= code <= 1014 or 3000 <= code <= 4999


class HttpContract:
    """The messages that may be sent for one HTTP request.

    Public state: `started`, `complete`, and `headers` (of the response, once started).
    """

    def __init__(self, method: str, extensions: Iterable[str] = (), *, http2: bool = False) -> None:
        self.started = False
        self.complete = False
        self.headers: list[tuple[bytes, bytes]] = []
        self._head = method == "HEAD"
        self._extensions = frozenset(extensions)
        self._http2 = http2
        self._bodyless = False
        self._declared: int | None = None
        self._sent = 0
        self._trailers = False
        self._body_complete = False

    def check(self, message: Any) -> None:
        """Check the next message that the app sends.

        :raises ContractError: it may not be sent now, or is malformed.
        """
        kind = _kind(message, "http")
        if self.complete:
            raise ContractError(f"{kind} was sent after the end of the response")
        if kind == "http.response.start":
            self._check_start(message)
        elif kind == "http.response.body":
            body = message.get("body", b"")
            if not isinstance(body, bytes):
                raise ContractError(f"{kind}: the body is bytes, not {type(body).__name__}")
            self._check_body(kind, len(body), last=not _flag(message, "more_body"))
        elif kind not in self._extensions:
            raise ContractError(f"{kind} is not a message that this server takes")
        elif kind == "http.response.zerocopysend":
            self._check_zero_copy(message)
        elif kind == "http.response.pathsend":
            self._check_path(message)
        elif kind == "http.response.trailers":
            self._check_trailers(message)
        elif kind == "http.response.early_hint":
            self._check_hint(message)

    def returned(self) -> None:
        """Check that the app may return now.

        :raises ContractError: there is no response, or it has no end.
        """
        if not self.started:
            raise ContractError("the app returned without a response")
        if not self._body_complete:
            raise ContractError("the app returned in the middle of its response")
        if not self.complete:
            raise ContractError("the app returned without the trailers that it announced")

    def _check_start(self, message: Message) -> None:
        kind = message["type"]
        if self.started:
            raise ContractError(f"{kind} was sent twice")
        status = message.get("status")
        if not isinstance(status, int) or isinstance(status, bool) or not 200 <= status <= 599:
            raise ContractError(f"{kind}: the status is an int from 200 to 599, not {status!r}")
        self.headers = check_headers(message.get("headers", ()), kind, http2=self._http2)
        self._bodyless = status in (204, 304)
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if len(lengths) > 1:
            raise ContractError(f"{kind}: there are {len(lengths)} content-length headers")
        if lengths:
            if not re.fullmatch(rb"[0-9]+", lengths[0]):
                raise ContractError(f"{kind}: content-length is not a number: {lengths[0]!r}")
            if status == 204:  # RFC 9110 section 8.6
                raise ContractError(f"{kind}: a 204 has no content-length")
            if not self._bodyless:
                self._declared = int(lengths[0])
        self._trailers = _flag(message, "trailers")
        if self._trailers and "http.response.trailers" not in self._extensions:
            raise ContractError(f"{kind}: this server knows no trailers")
        self.started = True

    def _check_body(self, kind: str, size: int, *, last: bool) -> None:
        if not self.started:
            raise ContractError(f"{kind} was sent before http.response.start")
        if self._body_complete:
            raise ContractError(f"{kind} was sent after the end of the body")
        if size and self._bodyless:
            raise ContractError(f"{kind}: a response with this status has no body")
        self._sent += size
        if self._declared is not None and not (self._head and not self._sent):
            if self._sent > self._declared:
                raise ContractError(
                    f"content-length is {self._declared}, the body has {self._sent} bytes and more"
                )
            if last and self._sent < self._declared:
                raise ContractError(
                    f"content-length is {self._declared}, the body ended after {self._sent} bytes"
                )
        self._body_complete = last
        self.complete = last and not self._trailers

    def _check_zero_copy(self, message: Message) -> None:
        kind = message["type"]
        file = message.get("file")
        fileno = getattr(file, "fileno", None)
        if isinstance(file, int) and not isinstance(file, bool):
            descriptor = file
        elif callable(fileno):
            descriptor = fileno()
        else:
            raise ContractError(f"{kind}: 'file' is a file descriptor or has one, not {file!r}")
        for key in ("offset", "count"):
            value = message.get(key)
            if value is not None and (not isinstance(value, int) or value < 0):
                raise ContractError(f"{kind}: {key!r} is an int, 0 or more, not {value!r}")
        count = message.get("count")
        if count is None:
            offset = message.get("offset")
            if offset is None:
                offset = os.lseek(descriptor, 0, os.SEEK_CUR)
            count = max(os.fstat(descriptor).st_size - offset, 0)
        self._check_body(kind, count, last=not _flag(message, "more_body"))

    def _check_path(self, message: Message) -> None:
        kind = message["type"]
        path = message.get("path")
        if not isinstance(path, str) or not os.path.isabs(path):
            raise ContractError(f"{kind}: 'path' is an absolute path (a str), not {path!r}")
        self._check_body(kind, os.stat(path).st_size, last=True)

    def _check_trailers(self, message: Message) -> None:
        kind = message["type"]
        if not self._trailers:
            raise ContractError(f"{kind}: http.response.start did not announce trailers")
        if not self._body_complete:
            raise ContractError(f"{kind} was sent before the end of the body")
        check_headers(message.get("headers", ()), kind, http2=self._http2)
        self.complete = not _flag(message, "more_trailers")

    def _check_hint(self, message: Message) -> None:
        kind = message["type"]
        if self.started:
            raise ContractError(f"{kind} was sent after http.response.start")
        links = message.get("links", ())
        if isinstance(links, str | bytes) or not all(isinstance(link, bytes) for link in links):
            raise ContractError(f"{kind}: 'links' are bytes, not {links!r}")


class WebSocketContract:
    """The messages that may be sent for one WebSocket."""

    def __init__(self, subprotocols: Iterable[str] = (), extensions: Iterable[str] = ()) -> None:
        self.accepted = False
        self.closed = False
        self._subprotocols = tuple(subprotocols)
        self._denial = (
            HttpContract("GET") if "websocket.http.response" in frozenset(extensions) else None
        )

    @property
    def denying(self) -> bool:
        """True if a denial response has been started."""
        return self._denial is not None and self._denial.started

    def check(self, message: Any) -> None:
        """Check the next message that the app sends.

        :raises ContractError: it may not be sent now, or is malformed.
        """
        kind = _kind(message, "websocket")
        if self.closed:
            raise ContractError(f"{kind} was sent after the end of the WebSocket")
        if kind.startswith("websocket.http.response.") and self._denial is not None:
            self._check_denial(self._denial, message)
        elif self.denying:
            raise ContractError(f"{kind} was sent in the middle of a denial response")
        elif kind == "websocket.accept":
            self._check_accept(message)
        elif kind == "websocket.send":
            self._check_send(message)
        elif kind == "websocket.close":
            self._check_close(message)
        else:
            raise ContractError(f"{kind} is not a message that this server takes")

    def returned(self) -> None:
        """Check that the app may return now.

        :raises ContractError: the handshake is not answered, or its denial has no end.
        """
        if self.denying and not self.closed:
            raise ContractError("the app returned in the middle of its denial response")
        if not self.accepted and not self.closed:
            raise ContractError("the app returned without an answer to the handshake")

    def _check_denial(self, denial: HttpContract, message: Message) -> None:
        if self.accepted:
            raise ContractError(f"{message['type']} was sent after websocket.accept")
        denial.check({**message, "type": message["type"].removeprefix("websocket.")})
        self.closed = denial.complete

    def _check_accept(self, message: Message) -> None:
        kind = message["type"]
        if self.accepted:
            raise ContractError(f"{kind} was sent twice")
        subprotocol = message.get("subprotocol")
        if subprotocol is not None and subprotocol not in self._subprotocols:
            raise ContractError(f"{kind}: the client did not offer the subprotocol {subprotocol!r}")
        headers = check_headers(message.get("headers", ()), kind)
        if any(name == b"sec-websocket-protocol" for name, _ in headers):
            raise ContractError(f"{kind}: name the subprotocol by 'subprotocol', not by a header")
        self.accepted = True

    def _check_send(self, message: Message) -> None:
        kind = message["type"]
        if not self.accepted:
            raise ContractError(f"{kind} was sent before websocket.accept")
        text, data = message.get("text"), message.get("bytes")
        if (text is None) == (data is None):
            raise ContractError(f"{kind}: exactly one of 'text' and 'bytes' is given: {message!r}")
        if text is not None and not isinstance(text, str):
            raise ContractError(f"{kind}: 'text' is a str, not {type(text).__name__}")
        if text is not None and whole_text(text) != text:
            raise ContractError(f"{kind}: 'text' has a lone surrogate, which no server can encode")
        if data is not None and not isinstance(data, bytes):
            raise ContractError(f"{kind}: 'bytes' is bytes, not {type(data).__name__}")

    def _check_close(self, message: Message) -> None:
        kind = message["type"]
        code = message.get("code", 1000)
        if not sendable_code(code):
            raise ContractError(f"{kind}: {code!r} is no code that may be sent")
        reason = message.get("reason")
        if reason is not None and not isinstance(reason, str):
            raise ContractError(f"{kind}: 'reason' is a str, not {type(reason).__name__}")
        if reason is not None and whole_text(reason) != reason:
            raise ContractError(
                f"{kind}: 'reason' has a lone surrogate, which no server can encode"
            )
        if reason is not None and len(reason.encode()) > 123:  # RFC 6455 section 5.5
            raise ContractError(f"{kind}: the reason has more than 123 bytes")
        self.closed = True


class LifespanContract:
    """The messages that may be sent in a lifespan: one answer to `startup`, then one to `shutdown`.

    Before the start-up is answered, a message of another scope type passes: an app that sends it has no lifespan.
    """

    def __init__(self) -> None:
        self._open: str | None = None
        self._answered = False

    def asked(self, phase: str) -> None:
        """Record that `lifespan.startup` or `lifespan.shutdown` was received, so that its answer may be sent."""
        self._open = phase

    def check(self, message: Any) -> None:
        """Check the next message that the app sends.

        :raises ContractError: it may not be sent now, or is malformed.
        """
        kind = _kind(message, "lifespan")
        if not kind.startswith("lifespan.") and not self._answered:
            return
        phase, _, outcome = kind.removeprefix("lifespan.").partition(".")
        if not kind.startswith("lifespan.") or outcome not in ("complete", "failed"):
            raise ContractError(f"{kind} is not a message that a lifespan takes")
        if phase != self._open:
            raise ContractError(
                f"{kind} was sent, but lifespan.{phase} is not what was received last"
            )
        text = message.get("message", "")
        if not isinstance(text, str):
            raise ContractError(f"{kind}: 'message' is a str, not {type(text).__name__}")
        self._open = None
        self._answered = True
