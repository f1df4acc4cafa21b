"""One HTTP request between a client and an app, in process: the buffers of both directions.

The app's side is `receive` and `send`, the client's side is everything else. Both buffers are bounded: the writer
waits until the other side reads. The transport starts the app's task, and makes the response.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import AsyncIterable
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
from baize.typing import Message, Scope

from .contract import HttpContract
from .conversations import Conversation
from .errors import Disconnected

__all__ = ["HttpExchange"]

_CHUNK = 65536


class HttpExchange(Conversation):
    """The state of one request and its response."""

    def __init__(
        self,
        scope: Scope,
        timeout: float | None = None,
        *,
        buffer_size: int = 65536,
        raise_after_leaving: bool = False,
    ) -> None:
        super().__init__(scope, timeout, raise_after_leaving)
        self.contract = HttpContract(
            scope["method"], scope["extensions"], http2=scope["http_version"].startswith("2")
        )
        self.start: Message | None = None
        self.hints: list[bytes] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.left_by: Exception | None = None
        self._head = scope["method"] == "HEAD"
        self._sending_file = False
        self._buffer_size = buffer_size
        self._feeding = anyio.CancelScope()
        self._body: deque[bytes] = deque()
        self._body_size = 0
        self._body_ended = False
        self._body_taken = False  # True once the app has received the last message of the body
        self._chunks: deque[bytes] = deque()
        self._chunks_size = 0

    @property
    def complete(self) -> bool:
        """True if the app has sent its last message."""
        return self.contract.complete and not self._sending_file

    def check_sent(self, message: Message) -> None:
        self.contract.check(message)

    def check_returned(self) -> None:
        self.contract.returned()

    # ---- the app's side

    async def receive(self) -> Message:
        """ASGI's `receive`. A call that is cancelled loses nothing."""
        await anyio.lowlevel.checkpoint()
        await self.signal.until(self._receivable)
        if self.complete or self.returned:
            return {"type": "http.disconnect"}
        if self._body:
            body = self._body.popleft()
            self._body_size -= len(body)
            self._body_taken = self._body_ended and not self._body
            self.signal.notify()
            return {"type": "http.request", "body": body, "more_body": not self._body_taken}
        if self._body_ended and not self._body_taken:
            self._body_taken = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    def _receivable(self) -> object:
        return self._body or (self._body_ended and not self._body_taken) or self._over()

    def _over(self) -> bool:
        return self.left or self.complete or self.returned

    async def _deliver(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            self.start = message
        elif kind == "http.response.body":
            self._put(message.get("body", b""))
        elif kind == "http.response.zerocopysend":
            await self._send_file(message["file"], message.get("offset"), message.get("count"))
        elif kind == "http.response.pathsend":
            await self._send_path(message["path"])
        elif kind == "http.response.early_hint":
            self.hints.extend(message.get("links", ()))
        elif kind == "http.response.trailers":
            self.trailers.extend((name, value) for name, value in message.get("headers", ()))
        self.signal.notify()
        await self.signal.until(self._sendable)

    def _put(self, body: bytes) -> None:
        if body and not self._head:
            self._chunks.append(body)
            self._chunks_size += len(body)
            self.signal.notify()

    def _sendable(self) -> bool:
        return self._chunks_size <= self._buffer_size or self.left

    async def _send_file(self, file: Any, offset: int | None, count: int | None) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        position = os.lseek(descriptor, 0, os.SEEK_CUR) if offset is None else offset
        left = max(os.fstat(descriptor).st_size - position, 0) if count is None else count
        self._sending_file = True  # stays True if this fails, because the response then has no end
        while left and not self.left:
            chunk = os.pread(descriptor, min(left, _CHUNK), position)
            if not chunk:
                raise OSError("the file ended before the bytes that were promised")
            position += len(chunk)
            left -= len(chunk)
            self._put(chunk)
            await self.signal.until(self._sendable)
        if offset is None:
            os.lseek(descriptor, position, os.SEEK_SET)
        self._sending_file = False

    async def _send_path(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            await self._send_file(descriptor, 0, None)
        finally:
            os.close(descriptor)

    # ---- the client's side

    async def feed(self, stream: AsyncIterable[bytes], source: Any = None) -> None:
        """Pass the chunks of the request body to the app; wait while the buffer is full.

        If the body raises, or is shorter than its Content-Length, the client leaves. `source`, if it is a
        generator, is closed at the end.
        """
        try:
            with self._feeding:
                await self._feed(stream)
        except Exception as error:
            self.leave(error)
        finally:
            await _close(source)

    async def _feed(self, stream: AsyncIterable[bytes]) -> None:
        declared = None
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                declared = int(value)
        sent = 0
        chunks = stream.__aiter__()
        try:
            async for chunk in chunks:
                sent += len(chunk)
                if declared is not None and sent > declared:
                    raise httpx2.LocalProtocolError(
                        f"the request body is longer than its Content-Length, {declared}"
                    )
                for position in range(0, len(chunk), _CHUNK):
                    piece = bytes(chunk[position : position + _CHUNK])
                    self._body.append(piece)
                    self._body_size += len(piece)
                    self.signal.notify()
                    await self.signal.until(self._feedable)
                if self._over():
                    return
        finally:
            await _close(chunks)
        if declared is not None and sent < declared:
            raise httpx2.LocalProtocolError(
                f"the request body ended after {sent} of the {declared} bytes of its Content-Length"
            )
        self._body_ended = True
        self.signal.notify()

    def _feedable(self) -> bool:
        return self._body_size <= self._buffer_size or self._over()

    def leave(self, reason: Exception | None = None) -> None:
        """Close the client's side; its waiting calls raise `reason`, or `Disconnected`."""
        if not self.left:
            self.left = True
            self.left_by = reason or Disconnected(f"{self.name}: the client has left")
            self._chunks.clear()
            self._chunks_size = 0
            self.signal.notify()
        self.end_body()

    def end_body(self) -> None:
        """Stop reading the request body, which the app will not receive."""
        self._feeding.cancel()

    async def started(self, timeout: float | None) -> Message | None:
        """Wait for the response to start; return None if the app raised `error` before.

        :raises DeadlineExceeded: neither happened within `timeout` seconds.
        :raises ContractError: the app broke a rule before.
        :raises Exception: why the client left, if it has.
        """
        await self.wait(lambda: self.start or self._over(), "no response", timeout)
        if self.start is None and self.left_by is not None:
            raise self.left_by
        return self.start

    async def next_chunk(self, timeout: float | None) -> bytes:
        """Return the next chunk of the response, as the app sent it; b"" at the end.

        :raises DeadlineExceeded: nothing was received within `timeout` seconds; a later call may succeed.
        :raises ContractError: the app broke a rule.
        :raises Exception: why the client left, if it has.
        :raises httpx2.RemoteProtocolError: the app ended in the middle of the body.
        """
        await self.wait(lambda: self._chunks or self._over(), "nothing more came", timeout)
        if self._chunks:
            chunk = self._chunks.popleft()
            self._chunks_size -= len(chunk)
            self.signal.notify()
            return chunk
        if self.left_by is not None:
            raise self.left_by
        if self.complete or self.start is None:
            return b""
        raise httpx2.RemoteProtocolError(
            f"{self.name}: the connection was closed in the middle of the response"
        )

    def put_back(self, chunk: bytes) -> None:
        """Put `chunk` back, so that it is the next one; does nothing if it is empty."""
        if chunk:
            self._chunks.appendleft(chunk)
            self._chunks_size += len(chunk)


async def _close(iterator: object) -> None:
    """Close a source, if it can be closed. On trio a generator that the garbage collector closes causes a warning."""
    close = getattr(iterator, "aclose", None)
    if close is not None:
        await close()
