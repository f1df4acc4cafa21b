"""One HTTP request between a client and an app, in process: what each has sent, and what is left.

The app's side is `receive` and `send`, the client's side is everything else. Both are bounded: whoever
writes waits until the other reads. Who starts the app's task, and what a response looks like, is the transport's.
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
from .errors import ContractError, Disconnected
from .signals import Signal, within

__all__ = ["HttpExchange"]

_CHUNK = 65536


class HttpExchange:
    """The state of one request and its response."""

    def __init__(
        self,
        scope: Scope,
        *,
        buffer_size: int = 65536,
        raise_after_leaving: bool = False,
        timeout: float | None = None,
    ) -> None:
        method = scope["method"]
        self.scope = scope
        self.name = f"{method} {scope['path']}"
        self.timeout = timeout
        self.contract = HttpContract(
            method, scope["extensions"], http2=scope["http_version"].startswith("2")
        )
        self.start: Message | None = None
        self.hints: list[bytes] = []
        self.trailers: list[tuple[bytes, bytes]] = []
        self.left = False
        self.left_by: Exception | None = None
        self.returned = False
        self.error: Exception | None = None
        self.told = False
        self._head = method == "HEAD"
        self._buffer_size = buffer_size
        self._raise_after_leaving = raise_after_leaving
        self._signal = Signal()
        self._body: deque[bytes] = deque()
        self._body_size = 0
        self._body_ended = False
        self._body_taken = False  # the app has had the message that ends the body
        self._chunks: deque[bytes] = deque()
        self._chunks_size = 0

    # ---- the app's side

    async def receive(self) -> Message:
        """ASGI's `receive`. A call that is cancelled loses nothing."""
        await anyio.lowlevel.checkpoint()
        await self._signal.until(self._receivable)
        if self.contract.complete or self.returned:
            return {"type": "http.disconnect"}
        if self._body:
            body = self._body.popleft()
            self._body_size -= len(body)
            self._body_taken = self._body_ended and not self._body
            self._signal.notify()
            return {"type": "http.request", "body": body, "more_body": not self._body_taken}
        if self._body_ended and not self._body_taken:
            self._body_taken = True
            return {"type": "http.request", "body": b"", "more_body": False}
        return {"type": "http.disconnect"}

    def _receivable(self) -> bool:
        return bool(
            self._body
            or (self._body_ended and not self._body_taken)
            or self.left
            or self.contract.complete
            or self.returned
        )

    async def send(self, message: Message) -> None:
        """ASGI's `send`: waits while more than `buffer_size` bytes have not been read.

        :raises ContractError: the message may not be sent now, or not like this.
        :raises OSError: the client has left, if the transport was told to raise then.
        """
        await anyio.lowlevel.checkpoint()
        try:
            if self.returned:
                raise ContractError(f"{message.get('type')} was sent after the app had returned")
            self.contract.check(message)
        except ContractError as error:
            self.violated(error)
            raise
        if self.left:
            if self._raise_after_leaving:
                raise OSError("the client has left")
            return
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
        self._signal.notify()
        await self._signal.until(self._sendable)

    def _put(self, body: bytes) -> None:
        if body and not self._head:
            self._chunks.append(body)
            self._chunks_size += len(body)
            self._signal.notify()

    def _sendable(self) -> bool:
        return self._chunks_size <= self._buffer_size or self.left

    async def _send_file(self, file: Any, offset: int | None, count: int | None) -> None:
        descriptor = file if isinstance(file, int) else file.fileno()
        position = os.lseek(descriptor, 0, os.SEEK_CUR) if offset is None else offset
        left = max(os.fstat(descriptor).st_size - position, 0) if count is None else count
        while left and not self.left:
            chunk = os.pread(descriptor, min(left, _CHUNK), position)
            if not chunk:
                raise OSError("the file ended before the bytes that were promised")
            position += len(chunk)
            left -= len(chunk)
            self._put(chunk)
            await self._signal.until(self._sendable)
        if offset is None:
            os.lseek(descriptor, position, os.SEEK_SET)

    async def _send_path(self, path: str) -> None:
        descriptor = os.open(path, os.O_RDONLY)
        try:
            await self._send_file(descriptor, 0, None)
        finally:
            os.close(descriptor)

    def violated(self, error: ContractError) -> None:
        """The contract was broken: the test is told, whatever the app does with the exception."""
        if not isinstance(self.error, ContractError):
            self.error = error
            self.told = False
        self._signal.notify()

    def app_ended(self, error: Exception | None = None) -> None:
        """The app has returned, or raised `error`."""
        self.returned = True
        if self.error is None:
            self.error = error
        if self.error is None and not self.left:
            try:
                self.contract.returned()
            except ContractError as violation:
                self.error = violation
        self._signal.notify()

    # ---- the client's side

    async def feed(self, stream: AsyncIterable[bytes]) -> None:
        """Give the request body to the app as it comes, and wait while it is not read.

        Where the body breaks off, by an exception of its own or before the Content-Length that was
        promised, the client has left.
        """
        declared = None
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                declared = int(value)
        sent = 0
        try:
            async for chunk in stream:
                sent += len(chunk)
                if declared is not None and sent > declared:
                    raise httpx2.LocalProtocolError(
                        f"the request body is longer than its Content-Length, {declared}"
                    )
                for position in range(0, len(chunk), _CHUNK):
                    piece = bytes(chunk[position : position + _CHUNK])
                    self._body.append(piece)
                    self._body_size += len(piece)
                    self._signal.notify()
                    await self._signal.until(self._feedable)
                if self.left:
                    return
            if declared is not None and sent < declared:
                raise httpx2.LocalProtocolError(
                    f"the request body ended after {sent} of the {declared} bytes of its Content-Length"
                )
        except Exception as error:
            self.leave(error)
        else:
            self._body_ended = True
            self._signal.notify()

    def _feedable(self) -> bool:
        return self._body_size <= self._buffer_size or self.over

    @property
    def over(self) -> bool:
        """Is there nothing more to come, for either side?"""
        return self.left or self.contract.complete or self.returned

    def leave(self, reason: Exception | None = None) -> None:
        """Close the client's side; what it waits for raises `reason`. Calling it again does nothing."""
        if not self.left:
            self.left = True
            self.left_by = reason or Disconnected(f"{self.name}: the client left")
            self._chunks.clear()
            self._chunks_size = 0
            self._signal.notify()

    async def started(self) -> Message:
        """Wait for the response to start.

        :raises httpx2.ReadTimeout: it did not within `timeout`.
        :raises Exception: what the app raised before it, or why the client left.
        """
        if not await within(
            self.timeout, self._signal, lambda: self.start or self.error or self.over
        ):
            raise httpx2.ReadTimeout(f"{self.name}: no response within {self.timeout} s")
        self._raise_violation()
        if self.start is not None:
            return self.start
        if self.error is not None:
            self.told = True
            raise self.error
        assert self.left_by is not None
        raise self.left_by

    async def next_chunk(self) -> bytes:
        """The next chunk of the response, as the app sent it; b"" at the end.

        :raises httpx2.ReadTimeout: nothing came within `timeout`.
        :raises Exception: why the client left, if it has.
        :raises httpx2.RemoteProtocolError: the app ended in the middle of the body.
        """
        if not await within(
            self.timeout, self._signal, lambda: self._chunks or self.error or self.over
        ):
            raise httpx2.ReadTimeout(f"{self.name}: nothing more came within {self.timeout} s")
        self._raise_violation()
        if self._chunks:
            chunk = self._chunks.popleft()
            self._chunks_size -= len(chunk)
            self._signal.notify()
            return chunk
        if self.contract.complete:
            return b""
        if self.left_by is not None:
            raise self.left_by
        raise httpx2.RemoteProtocolError(
            f"{self.name}: the connection was closed in the middle of the response"
        )

    def unread(self, chunk: bytes) -> None:
        """Put the rest of a chunk back in front."""
        self._chunks.appendleft(chunk)
        self._chunks_size += len(chunk)

    def _raise_violation(self) -> None:
        if isinstance(self.error, ContractError) and not self.told:
            self.told = True
            raise self.error

    async def ended(self) -> None:
        """Wait until the app has returned.

        :raises httpx2.ReadTimeout: it did not within `timeout`.
        """
        if not await within(self.timeout, self._signal, lambda: self.returned):
            raise httpx2.ReadTimeout(
                f"{self.name}: the app has not returned {self.timeout} s after "
                f"{'the client left' if self.left else 'the end of its response'}"
            )
