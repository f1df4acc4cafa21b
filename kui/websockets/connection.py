"""A WebSocket as a handler sees it: messages as text, bytes and JSON, and what each call may do when.

Who reads, what is kept and how a connection ends is defined in `concurrency/websocket/`; how a handler is
run, and what becomes of what it raises, in `session`.
"""

from __future__ import annotations

from collections.abc import (
    AsyncIterator,
    Coroutine,
    Iterable,
    Mapping,
    Sequence,
)
from typing import Any, Literal, TypeAlias

from baize.typing import Message, Receive, Scope, Send

from kui.concurrency import shielded
from kui.concurrency.websocket.heartbeat import Heartbeat, keep_alive
from kui.concurrency.websocket.socket import Socket
from kui.concurrency.websocket.states import (
    CONNECTING,
    OPEN,
    Incoming,
    SocketState,
    WebSocketDisconnect,
)
from kui.connections import HTTPConnection
from kui.http.headers import ResponseHeaders
from kui.http.text import whole_text
from kui.responses.encode import to_json

from .endings import LONGEST_REASON
from .messages import Messages, Values, decode_message

__all__ = ["DENIAL", "Heartbeat", "SocketState", "WebSocket", "WebSocketDisconnect"]

Mode: TypeAlias = Literal["text", "binary"]

DENIAL = "websocket.http.response"


class WebSocket(HTTPConnection):
    """A WebSocket connection (RFC 6455); in handlers, the proxy `kui.asgi.websocket`.

    Once the client has gone, everything that sends and, when what came before has been received, everything
    that receives raises WebSocketDisconnect; the iterators end. What is called out of order raises a
    RuntimeError that says what to do. Cancelled, nothing that receives loses a message.

    One task may receive while others send::

        @app.router.websocket("/ticker")
        async def ticker():
            await websocket.accept()
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(push_prices)
                async for command in websocket.iter_json():
                    await obey(command)
                tasks.cancel_scope.cancel()
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.socket = Socket(receive, send)
        self._send_message = self.socket.sending.send

    @property
    def connection_state(self) -> SocketState:
        """Where the connection is: connecting, denying, open, closing or closed."""
        return self.socket.state.outgoing

    @property
    def close_code(self) -> int | None:
        """The code that the connection was closed with, by whichever side; None while it is not."""
        ending = self.socket.state.ending
        return None if ending is None else ending[0]

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers, the preferred first (RFC 6455, 1.9)."""
        offered: Sequence[str] = self.scope.get("subprotocols") or ()
        return offered

    def release(self) -> None:
        """Start no more tasks for this connection. May be called any number of times."""
        self.socket.state.release()

    # ---- the handshake

    async def accept(
        self,
        subprotocol: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        heartbeat: float | Heartbeat | None = None,
    ) -> None:
        """Accept the connection; from here on messages go both ways.

        :param subprotocol: one of `subprotocols`; None for none.
        :param headers: headers of the handshake's response, such as `set-cookie`.
        :param heartbeat: drop a client that does not answer: seconds of silence after which it is sent the text
            "ping", and in which it must then send "pong", which the handler never sees, or anything else; or a
            `Heartbeat` with other texts. The connection ends with 1011.
        :raises ValueError: the subprotocol was not offered, a header is malformed or the server's own, or the
            heartbeat is no positive number.
        :raises RuntimeError: the connection was accepted or refused before.
        :raises WebSocketDisconnect: the client has gone already.
        """
        if heartbeat is not None and not isinstance(heartbeat, Heartbeat):
            heartbeat = Heartbeat(heartbeat)
        if subprotocol is not None and subprotocol not in self.subprotocols:
            offered = ", ".join(map(repr, self.subprotocols)) or "none"
            raise ValueError(
                f"the client did not offer the subprotocol {subprotocol!r}, but: {offered}"
            )
        raw = [] if headers is None else ResponseHeaders(headers).encode()
        for name, _ in raw:
            if name.startswith(b"sec-websocket-") or name in (b"upgrade", b"connection"):
                raise ValueError(f"the header {name.decode()} is the server's own")
        await self.socket.accept(
            {"type": "websocket.accept", "subprotocol": subprotocol, "headers": raw}
        )
        if heartbeat is not None:
            keep_alive(self.socket, heartbeat)

    # ---- messages as ASGI has them

    async def receive(self) -> Message:
        """Return the next ASGI message: `websocket.connect`, then those of type `websocket.receive`.

        The latter have both keys, `text` and `bytes`, one of which is None, on every server.

        :raises WebSocketDisconnect: the connection is over.
        :raises RuntimeError: the next step is `accept`; or the socket was closed by this task; or another
            task is receiving already.
        """
        receiving = self.socket.receiving
        if self.socket.state.incoming is Incoming.HANDSHAKE:
            return await receiving.connect()
        message: Message = await receiving.receive()
        message.setdefault("text", None)
        message.setdefault("bytes", None)
        return message

    async def send(self, message: Message) -> None:
        """Send an ASGI message: `websocket.accept`, `.send`, `.close`, or `.http.response.*` to refuse.

        Raises as `accept`, `send_text` and `close` do; RuntimeError for a response where the server has no
        `websocket.http.response` extension; ValueError for another type.
        """
        kind = message["type"]
        if kind == "websocket.send":
            data = message.get("text")
            if data is not None:
                await self.send_text(data)
            else:
                await self.send_bytes(message.get("bytes"))  # type: ignore[arg-type]  # checked there
        elif kind == "websocket.accept":
            headers = message.get("headers") or ()
            pairs = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
            await self.accept(message.get("subprotocol"), pairs)
        elif kind == "websocket.close":
            await self.close(message.get("code", 1000), message.get("reason"))
        elif not kind.startswith(DENIAL + "."):
            raise ValueError(f"{kind!r} is no message that an application sends to a WebSocket")
        elif DENIAL not in (self.scope.get("extensions") or {}):
            raise RuntimeError("this server sends no response to a WebSocket: close it instead")
        else:
            await self.socket.sending.deny(message)

    # ---- text and bytes

    def receive_text(self) -> Coroutine[Any, Any, str]:
        """Return the next message, which must be a text: `await websocket.receive_text()`.

        :raises WebSocketDisconnect: the connection is over; also when the message was binary, for which it is
            closed with 1003.
        :raises RuntimeError: as `receive` does.
        """
        return self.socket.receiving.receive("text")

    def receive_bytes(self) -> Coroutine[Any, Any, bytes]:
        """Return the next message, which must be binary. Raises as `receive_text` does."""
        return self.socket.receiving.receive("bytes")

    def iter_text(self) -> AsyncIterator[str]:
        """Iterate over the texts, until the connection ends. A binary message ends it, as for `receive_text`."""
        return Messages(self.socket.receiving, "text")

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over the binary messages, until the connection ends. A text ends it, as for `receive_bytes`."""
        return Messages(self.socket.receiving, "bytes")

    def send_text(self, data: str) -> Coroutine[Any, Any, None]:
        """Send a text message: `await websocket.send_text("hello")`.

        Several tasks may send at once; each message stays whole. A lone surrogate becomes U+FFFD.

        :raises TypeError: `data` is no str.
        :raises WebSocketDisconnect: the connection is over.
        :raises RuntimeError: it was not accepted yet, or was closed by this task.
        """
        if not isinstance(data, str):
            raise TypeError(f"send_text sends a str, not {type(data).__name__}")
        return self._send_message("text", data if data.isascii() else whole_text(data))

    def send_bytes(self, data: bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Send a binary message: bytes, or something like them. Raises as `send_text` does."""
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):
                raise TypeError(f"send_bytes sends bytes, not {type(data).__name__}")
            data = bytes(data)
        return self._send_message("bytes", data)

    # ---- JSON

    async def receive_json(self, mode: Mode = "text") -> Any:
        """Return the next message, decoded as JSON (RFC 8259).

        :param mode: whether the JSON comes in a text or in a binary message, in UTF-8.
        :raises InvalidMessage: it is not JSON; the handler may go on, or let the socket be closed with 1007.
        :raises WebSocketDisconnect: the connection is over; also when the message was of the other type.
        :raises RuntimeError: as `receive` does.
        """
        return decode_message(await self.socket.receiving.receive(_kind(mode)))

    def iter_json(self, mode: Mode = "text") -> AsyncIterator[Any]:
        """Iterate over the values, until the connection ends. Raises InvalidMessage as `receive_json` does."""
        return Values(self.socket.receiving, _kind(mode))

    async def send_json(self, data: Any, mode: Mode = "text") -> None:
        """Send a value as JSON, with the app's `json_encoder`.

        :param mode: whether it goes in a text or in a binary message, in UTF-8.
        :raises ValueError: it has NaN or an infinity in it, or contains itself.
        :raises TypeError: it is not JSON.

        Raises, besides, as `send_text` does.
        """
        encoded = to_json(data)
        if _kind(mode) == "bytes":
            await self.send_bytes(encoded)
        else:
            await self.send_text(encoded.decode())

    # ---- the end

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection; before `accept`, refuse it with 403. May be called any number of times.

        Only the first call counts, and none after the client has closed. It is not cancelled from outside,
        but ends after 5 s.

        :param code: 1000 to 1003, 1007 to 1014, or one of the application's own from 3000 to 4999.
        :param reason: at most 123 bytes in UTF-8, for the client's eyes.
        :raises ValueError: the code may not be sent (RFC 6455, 7.4), or the reason is too long.
        """
        reason = whole_text(reason or "")
        if code not in _CODES:
            raise ValueError(
                f"{code!r} cannot be sent as a close code: take 1000 to 1003, 1007 to 1014, or 3000 to 4999"
            )
        if (size := len(reason.encode())) > LONGEST_REASON:
            raise ValueError(
                f"the reason of a close has at most {LONGEST_REASON} bytes, not {size}"
            )
        if self.socket.state.outgoing in (CONNECTING, OPEN):
            with shielded():
                await self.socket.sending.close(code, reason, by_handler=True)


_CODES = frozenset((*range(1000, 1004), *range(1007, 1015), *range(3000, 5000)))


def _kind(mode: Mode) -> Literal["text", "bytes"]:
    if mode == "text":
        return "text"
    if mode == "binary":
        return "bytes"
    raise ValueError(f"JSON goes in 'text' or in 'binary' messages, not in {mode!r} ones")
