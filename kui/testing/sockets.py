"""A WebSocket between a client and an app, in process, as ASGI messages without frames.

`SocketConversation` has the state and the app's side; `WebSocketSession` is the object that a test uses.
"""

from __future__ import annotations

import json
from collections import deque
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

import anyio
import anyio.lowlevel
import httpx2
from baize.typing import Message, Scope

from .contract import WebSocketContract, sendable_code
from .conversations import Conversation
from .errors import DeadlineExceeded, WebSocketClosed, WebSocketDenied
from .signals import UNSET, Unset

if TYPE_CHECKING:
    from .transport import ASGITransport

__all__ = ["SocketConversation", "WebSocketSession"]

_UNREAD = 10  # how many messages of the client may wait for the app


class SocketConversation(Conversation):
    """The state of one WebSocket."""

    def __init__(
        self,
        scope: Scope,
        timeout: float | None,
        *,
        buffer_size: int = 65536,
        raise_after_leaving: bool = False,
    ) -> None:
        super().__init__(scope, timeout, raise_after_leaving)
        self.contract = WebSocketContract(scope["subprotocols"], scope["extensions"])
        self.accept: Message | None = None
        self.denial: Message | None = None
        self.denial_body = b""
        self.closed: tuple[int, str] | None = None
        self._buffer_size = buffer_size
        self._to_app: deque[Message] = deque([{"type": "websocket.connect"}])
        self._to_client: deque[str | bytes] = deque()
        self._to_client_size = 0

    @property
    def complete(self) -> bool:
        """True if the app has closed the WebSocket, or sent its whole denial response."""
        return self.contract.closed

    def check_sent(self, message: Message) -> None:
        self.contract.check(message)

    def check_returned(self) -> None:
        self.contract.returned()

    # ---- the app's side

    async def receive(self) -> Message:
        """ASGI's `receive`. A call that is cancelled loses nothing."""
        await anyio.lowlevel.checkpoint()
        await self.signal.until(lambda: self._to_app or self.closed or self.returned)
        if self._to_app:
            message = self._to_app.popleft()
            self.signal.notify()
            return message
        code, reason = self.closed or (1006, "")
        return {"type": "websocket.disconnect", "code": code, "reason": reason}

    async def _deliver(self, message: Message) -> None:
        kind = message["type"]
        if kind == "websocket.accept":
            self.accept = message
        elif kind == "websocket.send":
            text = message.get("text")
            data: str | bytes = message["bytes"] if text is None else text
            self._to_client.append(data)
            self._to_client_size += len(data)
        elif kind == "websocket.close":
            self.closed = (message.get("code", 1000), message.get("reason") or "")
        elif kind == "websocket.http.response.start":
            self.denial = message
        else:
            self.denial_body += message.get("body", b"")
            if self.complete:
                self.closed = (1006, "")
        self.signal.notify()
        await self.signal.until(lambda: self._to_client_size <= self._buffer_size or self.left)

    # ---- the client's side

    def leave(self) -> None:
        """Cut the connection, without a close frame."""
        self.close(1006, "")

    def close(self, code: int, reason: str) -> None:
        """Close the client's side; messages that it has not received are lost."""
        if not self.left:
            self.left = True
            if self.closed is None:
                self.closed = (code, reason)
            self._to_client.clear()
            self._to_client_size = 0
            self.signal.notify()

    async def answered(self) -> None:
        """Wait until the app has accepted or denied the handshake, or has returned."""
        await self.wait(
            lambda: self.accept or self.closed or self.returned,
            "no answer to the handshake",
            self.timeout,
        )

    async def put(self, message: Message, timeout: float | None) -> None:
        """Pass a message to the app.

        :raises WebSocketClosed: it is closed.
        :raises DeadlineExceeded: the buffer was full for too long.
        """
        await anyio.lowlevel.checkpoint()
        await self.wait(
            lambda: len(self._to_app) < _UNREAD or self.closed or self.returned,
            "the app did not receive what was sent",
            timeout,
        )
        if self.closed is not None or self.returned:
            raise WebSocketClosed(*(self.closed or (1006, "")))
        self._to_app.append(message)
        self.signal.notify()

    async def take(self, timeout: float | None) -> str | bytes:
        """Return the next message of the app.

        :raises WebSocketClosed: it is closed, and there is no message left.
        :raises DeadlineExceeded: none was received within `timeout` seconds.
        """
        await anyio.lowlevel.checkpoint()
        await self.wait(
            lambda: self._to_client or self.closed or self.returned, "no message came", timeout
        )
        if self._to_client:
            data = self._to_client.popleft()
            self._to_client_size -= len(data)
            self.signal.notify()
            return data
        raise WebSocketClosed(*(self.closed or (1006, "")))


class WebSocketSession:
    """The client's end of a WebSocket: `async with client.websocket(...)`.

    Entering the block raises `WebSocketDenied` if the app does not accept. Leaving it closes the
    WebSocket with 1000, if it is open, and waits until the app has returned. An exception of the app is
    raised there, or by an earlier call that notices it.

    `timeout`, in seconds of the loop's clock, is the default for all methods; None means no limit.
    """

    def __init__(
        self,
        transport: ASGITransport,
        request: httpx2.Request,
        subprotocols: tuple[str, ...] = (),
        timeout: float | None = 5,
    ) -> None:
        scope = transport.scope("websocket", request)
        scope["scheme"] = {"http": "ws", "https": "wss"}.get(scope["scheme"], scope["scheme"])
        scope["subprotocols"] = list(subprotocols)
        scope["extensions"] = {"websocket.http.response": {}} if transport.denial_response else {}
        self._transport = transport
        self._request = request
        self._timeout = timeout
        self._conversation = SocketConversation(
            scope,
            timeout,
            buffer_size=transport.buffer_size,
            raise_after_leaving=transport.raise_after_leaving,
        )
        self.subprotocol: str | None = None
        self.headers = httpx2.Headers()

    async def __aenter__(self) -> Self:
        """Open the WebSocket.

        :raises WebSocketDenied: the app did not accept; with its response.
        :raises DeadlineExceeded: it did not answer in time.
        :raises Exception: the app's own exception.
        """
        talk = self._conversation
        self._transport.start(talk)
        try:
            await talk.answered()
            if talk.accept is None:
                raise WebSocketDenied(await self._denial())
        except BaseException as error:
            talk.given_up = isinstance(error, DeadlineExceeded)
            talk.leave()
            raise
        self.subprotocol = talk.accept.get("subprotocol")
        self.headers = httpx2.Headers(list(talk.accept.get("headers", ())))
        return self

    async def _denial(self) -> httpx2.Response:
        talk = self._conversation
        status, headers = 403, []
        if talk.denial is not None:
            status, headers = talk.denial["status"], list(talk.denial.get("headers", ()))
        await self._transport.finish(talk)
        if talk.denial is None and talk.closed is None:
            status = 500
        return httpx2.Response(
            status, headers=headers, content=talk.denial_body, request=self._request
        )

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close it, and wait until the app has returned.

        :raises DeadlineExceeded: it did not return in time.
        :raises Exception: the app's own exception, unless it was raised before.
        """
        self._conversation.close(1000, "")
        if exc_value is None or isinstance(exc_value, WebSocketClosed):
            await self._transport.finish(self._conversation)

    @property
    def close_code(self) -> int | None:
        """The close code, of either side; 1006 if the connection was cut, None if it is open."""
        closed = self._conversation.closed
        if closed is None and self._conversation.returned:
            return 1006
        return None if closed is None else closed[0]

    @property
    def close_reason(self) -> str | None:
        """The reason with the close code; None if it is open."""
        closed = self._conversation.closed
        if closed is None and self._conversation.returned:
            return ""
        return None if closed is None else closed[1]

    async def send(self, data: str | bytes, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a text or a binary message. Ten messages may wait for the app; then it waits.

        :raises UnicodeEncodeError: the text has a lone surrogate, which no client can send.
        :raises WebSocketClosed: it is closed.
        :raises DeadlineExceeded: the app received nothing for `timeout` seconds.
        :raises Exception: the app's own exception.

        If this is cancelled, the message was not sent.
        """
        key = "bytes"
        if isinstance(data, str):
            key = "text"
            data.encode()
        message: dict[str, Any] = {"type": "websocket.receive", key: data}
        if self._transport.both_keys:
            message = {"text": None, "bytes": None, **message}
        try:
            await self._conversation.put(message, self._seconds(timeout))
        except WebSocketClosed:
            self._raise_untold()
            raise

    async def send_text(self, data: str, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a text message; see `send`."""
        await self.send(data, timeout=timeout)

    async def send_bytes(self, data: bytes, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a binary message; see `send`."""
        await self.send(data, timeout=timeout)

    async def send_json(self, data: Any, *, timeout: float | Unset | None = UNSET) -> None:
        """Send `data` as JSON in a text message; see `send`."""
        await self.send(json.dumps(data), timeout=timeout)

    async def receive(self, *, timeout: float | Unset | None = UNSET) -> str | bytes:
        """Return the next message of the app.

        :raises WebSocketClosed: it is closed, and every message has been received.
        :raises DeadlineExceeded: none was received within `timeout` seconds; a later call may succeed.
        :raises Exception: the app's own exception.

        If this is cancelled, no message is lost.
        """
        try:
            return await self._conversation.take(self._seconds(timeout))
        except WebSocketClosed:
            self._raise_untold()
            raise

    async def receive_text(self, *, timeout: float | Unset | None = UNSET) -> str:
        """Return the next message, which must be text; see `receive`.

        :raises TypeError: it is a binary message.
        """
        data = await self.receive(timeout=timeout)
        if not isinstance(data, str):
            raise TypeError(f"expected a text message, got {data!r}")
        return data

    async def receive_bytes(self, *, timeout: float | Unset | None = UNSET) -> bytes:
        """Return the next message, which must be binary; see `receive`.

        :raises TypeError: it is a text message.
        """
        data = await self.receive(timeout=timeout)
        if not isinstance(data, bytes):
            raise TypeError(f"expected a binary message, got {data!r}")
        return data

    async def receive_json(self, *, timeout: float | Unset | None = UNSET) -> Any:
        """Return the next message, of either kind, parsed as JSON; see `receive`.

        :raises ValueError: it is not JSON.
        """
        return json.loads(await self.receive(timeout=timeout))

    def __aiter__(self) -> Self:
        """Iterate over the messages until the WebSocket is closed; see `receive`."""
        return self

    async def __anext__(self) -> str | bytes:
        try:
            return await self.receive()
        except WebSocketClosed:
            raise StopAsyncIteration from None

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket. The app still receives earlier messages; what it sends is dropped.

        Does nothing if the WebSocket is closed.

        :raises ValueError: `code` may not be sent (RFC 6455 section 7.4), or the reason has more
            than 123 bytes.
        """
        if not sendable_code(code):
            raise ValueError(f"{code} is no code that may be sent")
        if len(reason.encode()) > 123:
            raise ValueError("a reason has 123 bytes at most")
        await anyio.lowlevel.checkpoint()
        self._conversation.close(code, reason)

    def abort(self) -> None:
        """Cut the connection, without a close frame: the app sees code 1006."""
        self._conversation.leave()

    def _seconds(self, timeout: float | Unset | None) -> float | None:
        return self._timeout if isinstance(timeout, Unset) else timeout

    def _raise_untold(self) -> None:
        for error in self._transport.untold(self._conversation):
            raise error
