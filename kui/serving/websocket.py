"""Serve one WebSocket (RFC 6455): the handshake, as the app decides it, frames, pings and the end.

The library `websockets` makes and parses frames, a `Pipe` reads and writes bytes, and a `Handshake` writes the answer
in the request's version of HTTP. The app's `receive` reads the socket; if an app only sends, a task reads.
"""

from __future__ import annotations

import enum
import logging
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final

import anyio
import anyio.abc
from baize.typing import Message, Scope
from websockets.exceptions import ProtocolError
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as Frames
from websockets.protocol import Side

from .handshake import Handshake
from .pipes import CHUNK, Pipe
from .responses import Misuse, checked_headers
from .state import ClientGone, ServerState
from .timing import NEVER

__all__ = ["ServerWebSocket"]

LARGEST_MESSAGE: Final = 16 * 1024 * 1024
"""Limit of a message in bytes. A larger one closes the socket with 1009."""
FED_AT_ONCE: Final = 2 * 1024
"""How many bytes are parsed at once, at most: they may become many messages."""
QUEUED: Final = 16
"""How many messages are kept for the app; those of the last bytes parsed may be more."""

_frames_log = logging.getLogger("kui.server.frames")
_frames_log.setLevel(logging.WARNING)  # below it, the library logs each connection that was closed
logger = logging.getLogger("kui.server")


class _State(enum.StrEnum):  # a StrEnum, because its hash is that of a str, which is faster
    CONNECTING = "not accepted yet"
    DENYING = "being denied"
    OPEN = "open"
    CLOSING = "closed by the app"
    CLOSED = "over"


# Their names as globals: up to CPython 3.11 a member of an Enum is slow to look up.
_CONNECTING, _DENYING, _OPEN, _CLOSING, _CLOSED = _State
_CONT, _TEXT = Opcode.CONT, Opcode.TEXT
_DATA: Final = frozenset((Opcode.CONT, Opcode.TEXT, Opcode.BINARY))


class ServerWebSocket:
    """One WebSocket.

    :param early: the bytes that have arrived after the handshake.
    :param ping_interval: seconds between pings, rounded up to the next tick; None for no pings.
    """

    __slots__ = (
        "_beside",
        "_broken",
        "_changed",
        "_code",
        "_deadline",
        "_frames",
        "_group",
        "_hand_over",
        "_handshake",
        "_is_text",
        "_messages",
        "_over",
        "_part",
        "_ping_interval",
        "_pings_at",
        "_pipe",
        "_quiet",
        "_raw",
        "_reading",
        "_reason",
        "_scope",
        "_server",
        "_size",
        "_state",
    )
    _group: anyio.abc.TaskGroup

    def __init__(
        self,
        server: ServerState,
        pipe: Pipe,
        scope: Scope,
        handshake: Handshake,
        early: bytes,
        ping_interval: float | None,
    ) -> None:
        self._server = server
        self._pipe = pipe
        self._scope = scope
        self._handshake = handshake
        self._state = _CONNECTING
        self._frames = Frames(Side.SERVER, max_size=LARGEST_MESSAGE, logger=_frames_log)
        self._raw = early  # bytes that are not parsed yet
        self._messages: deque[Message] = deque([{"type": "websocket.connect"}])
        self._size = 0  # the size of the queued messages, in bytes
        self._part = bytearray()  # the fragments of an incomplete message
        self._is_text = False
        self._code, self._reason = 1006, ""
        self._over = False
        self._broken = False  # True once a cancellation has cut a message in the middle
        self._reading = False
        self._beside = False  # True while a task reads because the app does not
        self._hand_over = False  # True if that task must end because the app reads
        self._quiet = False  # True if the app has not read since the last tick
        self._changed: anyio.Event | None = None
        self._deadline = NEVER
        self._ping_interval = ping_interval or NEVER
        self._pings_at = NEVER

    async def run(self) -> None:
        """Call the app, and end the WebSocket. Raises only the server's cancellation."""
        try:
            async with anyio.create_task_group() as self._group:
                returned = await self._server.run_app(self._scope, self.receive, self.send)
                self._over = True
                try:
                    await self._conclude(returned)
                except OSError:
                    pass
                self._group.cancel_scope.cancel()
        finally:
            self._over = True
            if self._broken or self._state is _DENYING:
                self._pipe.abort()
            elif self._state is _OPEN:
                self._close(1001, "")
                self._pipe.finish()
            self._wake()

    async def _conclude(self, returned: bool) -> None:
        if self._state is _CONNECTING:
            if returned:
                logger.error("The app returned without an answer to a WebSocket's handshake")
            await self._deny(500)
        elif self._state is _OPEN:
            await self._say_close(1000 if returned else 1011, "")
        if self._state is _CLOSING:
            await self._until_confirmed()

    # ---- what the server asks

    def tick(self, now: float) -> None:
        """See `Timed`."""
        if now >= self._deadline:
            self._deadline = NEVER
            if self._state is _OPEN:
                self._close(1001, "")
                self._ended(1001, "")
            elif self._state is _CLOSING:
                self._ended()
        if self._state is _OPEN:
            if now >= self._pings_at:
                self._pings_at = now + self._ping_interval
                self._frames.send_ping(b"")
                self._flush()
            if self._quiet and not self._reading and not self._full:
                self._reading = self._beside = True
                self._group.start_soon(self._read_beside)
        self._quiet = not self._reading
        if self._changed is not None and self._full and self._pipe.hung_up():
            self._ended()

    def shut_down(self) -> None:
        """See `Served`. The app may close the socket itself until the next tick."""
        self._deadline = self._server.ticker.now

    # ---- the app's receive

    async def receive(self) -> Message:
        """ASGI's `receive`. If cancelled, no message is lost. After the end it returns a disconnect each time."""
        while not self._over:
            if self._messages:
                message = self._messages.popleft()
                self._size -= len(message.get("text") or message.get("bytes") or b"")
                return message
            if self._state is _CLOSED:
                break
            if self._raw and self._state is not _CONNECTING:
                self._look()
            elif self._reading:
                await self._until_read()
            elif self._full:
                await self._until_changed()
            else:
                self._reading = True
                await self._read()
        return {"type": "websocket.disconnect", "code": self._code, "reason": self._reason}

    @property
    def _full(self) -> bool:
        return self._size >= CHUNK or len(self._messages) >= QUEUED or len(self._raw) >= CHUNK

    async def _until_read(self) -> None:
        """Wait until another task has read."""
        if self._beside:
            self._hand_over = True
            self._pipe.wake()
        await self._until_changed()

    async def _read(self) -> None:
        """Read once. If cancelled, nothing was read."""
        pipe = self._pipe
        try:
            if pipe.credit <= 0:
                await pipe.yield_()
            while not (self._hand_over or self._state is _CLOSED):
                data = pipe.take()
                if data is not None:
                    self._arrived(data)
                    return
                await pipe.wait()
        except OSError:
            self._ended()
        finally:
            self._quiet = False
            self._reading = self._beside and not self._hand_over
            self._wake()

    async def _read_beside(self) -> None:
        """Read for an app that does not receive, until it does, or until the queue is full."""
        try:
            while not (self._hand_over or self._full or self._state is not _OPEN):
                if self._raw:  # it arrived with the handshake, or the queue had no room
                    self._look()
                await self._read()
        finally:
            self._reading = self._beside = self._hand_over = False
            self._wake()

    def _arrived(self, data: bytes) -> None:
        if not data:
            if self._state is _OPEN or self._state is _CLOSING:
                self._look()
                self._frames.receive_eof()
                self._take_frames()
            self._ended()
        else:
            self._raw = self._raw + data if self._raw else data
            if self._state is not _CONNECTING and self._state is not _DENYING:
                self._look()

    def _look(self) -> None:
        """Parse messages until the queue is full."""
        raw, position = self._raw, 0
        while position < len(raw) and self._state is not _CLOSED:
            if position and (self._size >= CHUNK or len(self._messages) >= QUEUED):
                break
            piece = raw if len(raw) <= FED_AT_ONCE else raw[position : position + FED_AT_ONCE]
            position += len(piece)
            self._frames.receive_data(piece)
            self._take_frames()
        self._raw = raw[position:] if self._state is not _CLOSED else b""

    def _take_frames(self) -> None:
        frames = self._frames
        for frame in frames.events_received():
            if isinstance(frame, Frame) and frame.opcode in _DATA and self._state is _OPEN:
                try:
                    self._take_data(frame)
                except UnicodeDecodeError:
                    frames.fail(1007, "the text is not UTF-8")
                    break
        self._flush()
        if frames.eof_sent or frames.close_rcvd is not None:
            self._take_close()

    def _take_close(self) -> None:
        received, sent = self._frames.close_rcvd, self._frames.close_sent
        if received is not None and self._frames.parser_exc is None:
            self._ended(received.code, received.reason)
        elif sent is not None and self._state is _OPEN:
            self._ended(sent.code, sent.reason)
        else:
            self._ended()

    def _take_data(self, frame: Frame) -> None:
        if frame.opcode is not _CONT:
            self._is_text = frame.opcode is _TEXT
        body = frame.data
        if not frame.fin or self._part:
            self._part += body
            if not frame.fin:
                return
            body = bytes(self._part)
            self._part = bytearray()
        if self._is_text:
            text = str(body, "utf-8")
            self._messages.append({"type": "websocket.receive", "text": text})
            self._size += len(text)
        else:
            self._messages.append({"type": "websocket.receive", "bytes": bytes(body)})
            self._size += len(body)

    def _ended(self, code: int = 1006, reason: str = "") -> None:
        """Record the end of the connection. The code is 1006 if there was no close frame."""
        if self._state is not _CLOSED:
            self._state = _CLOSED
            self._code, self._reason = code, reason
            if self._reading:
                self._pipe.wake()
            self._wake()

    async def _until_changed(self) -> None:
        if self._changed is None:
            self._changed = anyio.Event()
        await self._changed.wait()

    def _wake(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None

    # ---- the app's send

    async def send(self, message: Message) -> None:
        """ASGI's `send`. It waits while the client does not read, and can then be cancelled.

        :raises ClientGone: the client has gone, or the socket is over.
        :raises Misuse: the message must not be sent now, or is wrong.
        """
        kind = message["type"]
        if self._state is _CLOSED or self._over:
            raise ClientGone("the client has gone, or the WebSocket is over")
        act = self._ACTS.get((self._state, kind))
        if act is None:
            raise Misuse(f"{kind} was sent while the WebSocket was {self._state.value}")
        try:
            await act(self, message)
        except OSError as error:
            self._ended()
            raise ClientGone("the client has gone") from error
        except Misuse:
            raise
        except BaseException:
            self._broken = True
            raise

    async def _send_data(self, message: Message) -> None:
        text = message.get("text")
        if text is not None:
            self._frames.send_text(text.encode())
        else:
            data = message.get("bytes")
            if data is None:
                raise Misuse("websocket.send has neither text nor bytes")
            self._frames.send_binary(data)
        await self._pipe.write(*self._frames.data_to_send())

    async def _accept(self, message: Message) -> None:
        headers = checked_headers(message.get("headers", ()))
        subprotocol = message.get("subprotocol")
        if subprotocol is not None:
            headers += checked_headers([(b"sec-websocket-protocol", subprotocol.encode())])
        self._state = _OPEN
        self._pings_at = self._server.ticker.now + self._ping_interval
        try:
            await self._handshake.accept(headers)
        except OSError:
            self._ended()  # the next `receive` or `send` reports it
        self._wake()

    async def _reject(self, message: Message) -> None:
        await self._deny(403)

    async def _deny(self, status: int) -> None:
        headers = [(b"content-length", b"0")]
        await self._respond({"type": "http.response.start", "status": status, "headers": headers})
        await self._respond({"type": "http.response.body", "body": b""})

    async def _deny_with(self, message: Message) -> None:
        kind = message["type"].removeprefix("websocket.")
        await self._respond({**message, "type": kind})

    async def _respond(self, message: Message) -> None:
        over = await self._handshake.respond(message)
        self._state = _DENYING
        if over:
            self._ended()

    async def _close_with(self, message: Message) -> None:
        await self._say_close(message.get("code", 1000), message.get("reason") or "")

    async def _say_close(self, code: int, reason: str) -> None:
        try:
            self._frames.send_close(code, reason)
        except ProtocolError as error:
            raise Misuse(f"{code} is no code to close with, or {reason!r} too long") from error
        self._state = _CLOSING
        await self._write()

    async def _until_confirmed(self) -> None:
        """Wait for the client's close frame for a short time (RFC 6455, section 7.1.1); discard all other frames."""
        self._deadline = self._server.ticker.now + self._server.limits.linger
        left = LARGEST_MESSAGE
        while self._state is _CLOSING and left > 0:
            left -= len(self._raw)
            self._messages.clear()
            self._size = 0
            if self._raw:
                self._look()
            elif self._reading:
                await self._until_read()
            else:
                self._reading = True
                await self._read()

    async def _write(self) -> None:
        await self._pipe.write(b"".join(self._frames.data_to_send()))

    def _close(self, code: int, reason: str) -> None:
        self._frames.send_close(code, reason)
        self._flush()

    def _flush(self) -> None:
        """Send protocol frames, such as a pong, without waiting."""
        data = self._frames.data_to_send()
        if data:
            self._pipe.push(b"".join(data))

    _ACTS: ClassVar[dict[tuple[_State, str], Callable[[ServerWebSocket, Any], Awaitable[None]]]] = {
        (_CONNECTING, "websocket.accept"): _accept,
        (_CONNECTING, "websocket.close"): _reject,
        (_CONNECTING, "websocket.http.response.start"): _deny_with,
        (_DENYING, "websocket.http.response.body"): _deny_with,
        (_OPEN, "websocket.send"): _send_data,
        (_OPEN, "websocket.close"): _close_with,
    }
