"""The WebSocket class that handlers use: messages as text, bytes and JSON.

`concurrency/websocket/` defines which task reads, what is queued and how a connection ends; `session` runs a handler
and handles its exceptions.
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
from kui.concurrency.http.send_limit import server_gives_up
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

    Once the client has gone, methods that send raise WebSocketDisconnect. Methods that receive do so too, after all
    messages that came before; the iterators end. A method that is called out of order raises a RuntimeError that says
    what to do. If a method that receives is cancelled, no message is lost.

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
        self.socket = Socket(receive, send, server_gives_up=server_gives_up(scope))
        self._send_message = self.socket.sending.send

    @property
    def connection_state(self) -> SocketState:
        """The state of the connection: connecting, denying, open, closing or closed."""
        return self.socket.state.outgoing

    @property
    def close_code(self) -> int | None:
        """The code with which either side has closed the connection; None while it is not closed."""
        ending = self.socket.state.ending
        return None if ending is None else ending[0]

    @property
    def subprotocols(self) -> Sequence[str]:
        """The subprotocols that the client offers, the preferred one first (RFC 6455, section 1.9)."""
        offered: Sequence[str] = self.scope.get("subprotocols") or ()
        return offered

    def release(self) -> None:
        """Start no more tasks for this connection. May be called again."""
        self.socket.state.release()

    # ---- the handshake

    async def accept(
        self,
        subprotocol: str | None = None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
        heartbeat: float | Heartbeat | None = None,
    ) -> None:
        """Accept the connection. From then on messages may be sent and received.

        :param subprotocol: one of `subprotocols`, or None for none.
        :param headers: headers of the handshake's response, such as `set-cookie`.
        :param heartbeat: drops a client that does not answer: a number of seconds, or a `Heartbeat`. After so many
            seconds without a message the client gets the text "ping". If it sends neither "pong" (which the handler
            does not get) nor anything else for as long again, the connection is closed with 1011.
        :raises ValueError: the subprotocol was not offered, a header is malformed or reserved for the server, or the
            heartbeat is not a positive number.
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
        """Return the next ASGI message: first `websocket.connect`, then messages of type `websocket.receive`.

        The latter have both keys, `text` and `bytes`, one of which is None, on every server.

        :raises WebSocketDisconnect: the connection is over.
        :raises RuntimeError: `accept` must be called first, the socket was closed by this task, or another task is
            receiving already.
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

        Raises what `accept`, `send_text` and `close` raise.

        :raises RuntimeError: the message belongs to a response, and the server does not support the extension
            `websocket.http.response`.
        :raises ValueError: the message is of another type.
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

        :raises WebSocketDisconnect: the connection is over, or the message was binary; then the connection is closed
            with 1003.
        :raises RuntimeError: as for `receive`.
        """
        return self.socket.receiving.receive("text")

    def receive_bytes(self) -> Coroutine[Any, Any, bytes]:
        """Return the next message, which must be binary. Raises as `receive_text` does."""
        return self.socket.receiving.receive("bytes")

    def iter_text(self) -> AsyncIterator[str]:
        """Iterate over text messages until the connection ends. A binary message closes it, as in `receive_text`."""
        return Messages(self.socket.receiving, "text")

    def iter_bytes(self) -> AsyncIterator[bytes]:
        """Iterate over binary messages until the connection ends. A text closes it, as in `receive_bytes`."""
        return Messages(self.socket.receiving, "bytes")

    def send_text(self, data: str) -> Coroutine[Any, Any, None]:
        """Send a text message: `await websocket.send_text("hello")`.

        Several tasks may send at the same time; messages are never mixed. A lone surrogate is sent as U+FFFD.

        :raises TypeError: `data` is not a str.
        :raises WebSocketDisconnect: the connection is over, or the client has not read for 30 s.
        :raises RuntimeError: the connection was not accepted yet, or was closed by this task.
        """
        if not isinstance(data, str):
            raise TypeError(f"send_text sends a str, not {type(data).__name__}")
        return self._send_message("text", data if data.isascii() else whole_text(data))

    def send_bytes(self, data: bytes | bytearray | memoryview) -> Coroutine[Any, Any, None]:
        """Send a binary message: bytes, a bytearray or a memoryview. Raises what `send_text` raises."""
        if not isinstance(data, bytes):
            if not isinstance(data, bytearray | memoryview):
                raise TypeError(f"send_bytes sends bytes, not {type(data).__name__}")
            data = bytes(data)
        return self._send_message("bytes", data)

    # ---- JSON

    async def receive_json(self, mode: Mode = "text") -> Any:
        """Return the next message, decoded as JSON (RFC 8259).

        :param mode: whether the JSON must be in a text message or in a binary one, in UTF-8.
        :raises InvalidMessage: the message is not JSON. The handler may catch this and go on; if it does not, the
            socket is closed with 1007.
        :raises WebSocketDisconnect: the connection is over, or the message was of the other type.
        :raises RuntimeError: as for `receive`.
        """
        return decode_message(await self.socket.receiving.receive(_kind(mode)))

    def iter_json(self, mode: Mode = "text") -> AsyncIterator[Any]:
        """Iterate over the values of JSON messages until the connection ends.

        :param mode: as for `receive_json`.
        :raises InvalidMessage: as for `receive_json`.
        """
        return Values(self.socket.receiving, _kind(mode))

    async def send_json(self, data: Any, mode: Mode = "text") -> None:
        """Send a value as JSON, encoded by the app's `json_encoder`. Raises what `send_text` raises, and:

        :param mode: whether to send a text message or a binary one, in UTF-8.
        :raises ValueError: the value holds NaN or an infinity, or contains itself.
        :raises TypeError: the value holds something that JSON does not have.
        """
        encoded = to_json(data)
        if _kind(mode) == "bytes":
            await self.send_bytes(encoded)
        else:
            await self.send_text(encoded.decode())

    # ---- the end

    async def close(self, code: int = 1000, reason: str | None = None) -> None:
        """Close the connection; before `accept`, refuse it with 403. May be called again.

        Only the first call counts; a call after the client has closed does nothing. The call is shielded from
        cancellation, for at most 5 s.

        :param code: 1000 to 1003, 1007 to 1014, or a code of the application's own from 3000 to 4999.
        :param reason: a text for the client, of at most 123 bytes in UTF-8.
        :raises ValueError: the code must not be sent (RFC 6455, section 7.4), or the reason is too long.
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
