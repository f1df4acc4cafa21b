"""Run the calls, bodies, streams and WebSockets of a synchronous test in the event loop's thread."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator
from contextlib import AbstractContextManager
from functools import partial
from typing import Any, ParamSpec, Self, TypeVar

import anyio
import anyio.to_thread
import httpx2
from anyio.from_thread import BlockingPortal

from .errors import WebSocketClosed
from .events import Event, EventStream
from .signals import UNSET, Unset
from .sockets import WebSocketSession
from .transport import ASGITransport

__all__ = ["Bridge", "SyncEventStream", "SyncWebSocketSession"]

P = ParamSpec("P")
T = TypeVar("T")


class Bridge(httpx2.BaseTransport):
    """Calls functions in the event loop's thread. It is also an httpx2 transport that does so."""

    def __init__(self, transport: ASGITransport) -> None:
        self.transport = transport
        self.portal: BlockingPortal | None = None

    def _open(self) -> BlockingPortal:
        if self.portal is None:
            raise RuntimeError("open it first: `with` the client")
        return self.portal

    def call(
        self, func: Callable[P, Coroutine[Any, Any, T]], /, *args: P.args, **kwargs: P.kwargs
    ) -> T:
        result: T = self._open().call(partial(func, *args, **kwargs))
        return result

    def call_sync(self, func: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        return self._open().call(partial(func, *args, **kwargs))

    def open(self, session: WebSocketSession) -> AbstractContextManager[WebSocketSession]:
        return self._open().wrap_async_context_manager(session)

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        assert isinstance(request.stream, httpx2.SyncByteStream)
        response = self.call(
            self.transport.handle_async_request,
            httpx2.Request(
                request.method,
                request.url,
                headers=request.headers,
                stream=_RequestStream(request.stream),
                extensions=request.extensions,
            ),
        )
        assert isinstance(response.stream, httpx2.AsyncByteStream)
        return httpx2.Response(
            response.status_code,
            headers=response.headers,
            stream=_ResponseStream(self, response.stream),
            extensions=response.extensions,
        )


class _RequestStream(httpx2.AsyncByteStream):
    """A request body whose chunks are produced in a worker thread, so that it may wait for the test."""

    def __init__(self, stream: httpx2.SyncByteStream) -> None:
        self._pieces = iter(stream)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        piece = await anyio.to_thread.run_sync(next, self._pieces, None, abandon_on_cancel=True)
        if piece is None:
            raise StopAsyncIteration
        return piece


class _ResponseStream(httpx2.SyncByteStream):
    """A response body that is read in the event loop's thread."""

    def __init__(self, bridge: Bridge, stream: httpx2.AsyncByteStream) -> None:
        self._bridge = bridge
        self._stream = stream

    def __iter__(self) -> Iterator[bytes]:
        chunks = aiter(self._stream)
        while chunk := self._bridge.call(_next_or_empty, chunks):
            yield chunk

    def close(self) -> None:
        self._bridge.call(self._stream.aclose)


async def _next_or_empty(chunks: Any) -> bytes:
    chunk: bytes = await anext(chunks, b"")
    return chunk


class SyncEventStream:
    """`EventStream` for synchronous tests."""

    def __init__(self, bridge: Bridge, stream: EventStream) -> None:
        self._bridge = bridge
        self._stream = stream

    @property
    def response(self) -> httpx2.Response:
        """The response of this stream."""
        return self._stream.response

    @property
    def last_event_id(self) -> str:
        """The last id that was received."""
        return self._stream.last_event_id

    @property
    def retry(self) -> int | None:
        """The reconnection time in milliseconds, if it was set."""
        return self._stream.retry

    def receive(self, *, timeout: float | Unset | None = UNSET) -> Event:
        """Return the next event; see `EventStream.receive`."""
        return self._bridge.call(self._stream.receive, timeout=timeout)

    def __iter__(self) -> Self:
        """Iterate over the events until the response ends."""
        return self

    def __next__(self) -> Event:
        try:
            return self.receive()
        except anyio.EndOfStream:
            raise StopIteration from None


class SyncWebSocketSession:
    """`WebSocketSession` for synchronous tests."""

    def __init__(self, bridge: Bridge, session: WebSocketSession) -> None:
        self._bridge = bridge
        self._session = session

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol that the app has chosen, or None."""
        return self._session.subprotocol

    @property
    def headers(self) -> httpx2.Headers:
        """The headers that the app sent with `accept`."""
        return self._session.headers

    @property
    def close_code(self) -> int | None:
        """The code of the close frame; see `WebSocketSession.close_code`."""
        return self._session.close_code

    @property
    def close_reason(self) -> str | None:
        """The reason of the close frame."""
        return self._session.close_reason

    def send(self, data: str | bytes, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a text message, or a binary one; see `WebSocketSession.send`."""
        self._bridge.call(self._session.send, data, timeout=timeout)

    def send_text(self, data: str, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a text message."""
        self._bridge.call(self._session.send_text, data, timeout=timeout)

    def send_bytes(self, data: bytes, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a binary message."""
        self._bridge.call(self._session.send_bytes, data, timeout=timeout)

    def send_json(self, data: Any, *, timeout: float | Unset | None = UNSET) -> None:
        """Send `data` as JSON in a text message."""
        self._bridge.call(self._session.send_json, data, timeout=timeout)

    def receive(self, *, timeout: float | Unset | None = UNSET) -> str | bytes:
        """Return the next message; see `WebSocketSession.receive`."""
        return self._bridge.call(self._session.receive, timeout=timeout)

    def receive_text(self, *, timeout: float | Unset | None = UNSET) -> str:
        """Return the next message, which must be text."""
        return self._bridge.call(self._session.receive_text, timeout=timeout)

    def receive_bytes(self, *, timeout: float | Unset | None = UNSET) -> bytes:
        """Return the next message, which must be binary."""
        return self._bridge.call(self._session.receive_bytes, timeout=timeout)

    def receive_json(self, *, timeout: float | Unset | None = UNSET) -> Any:
        """Return the next message, parsed as JSON."""
        return self._bridge.call(self._session.receive_json, timeout=timeout)

    def __iter__(self) -> Iterator[str | bytes]:
        """Iterate over the messages until the WebSocket is closed."""
        while True:
            try:
                yield self.receive()
            except WebSocketClosed:
                return

    def close(self, code: int = 1000, reason: str = "") -> None:
        """Close the WebSocket; see `WebSocketSession.close`."""
        self._bridge.call(self._session.close, code, reason)

    def abort(self) -> None:
        """Cut the connection, without a close frame."""
        self._bridge.call_sync(self._session.abort)
