"""A request body that a test sends piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

import anyio.lowlevel

from .clocks import is_virtual
from .errors import DeadlineExceeded, Disconnected
from .signals import UNSET, Signal, Unset, within

__all__ = ["RequestBody"]


class RequestBody:
    """A request body that a test sends while the request runs, and may break off.

    Pass it as `content=` to one request. `send` returns at once while the buffer between client and app has room;
    otherwise it waits until the app has received a part.

    Example::

        body = RequestBody()
        async with client.stream("POST", "/echo", content=body) as response:
            await body.send(b"one")
            assert await client.read(response, 3) == b"one"
            await body.end()
    """

    def __init__(self) -> None:
        self._signal = Signal()
        self._piece: bytes | None = None
        self._taken = True
        self._ended = False
        self._aborted = False
        self._closed = False

    async def send(self, data: bytes, *, timeout: float | Unset | None = UNSET) -> None:
        """Send a piece of the body.

        :param timeout: seconds of the loop's clock; None for no limit. The default is 5, or None if the clock is
            virtual.
        :raises DeadlineExceeded: there was no room for it within `timeout`.
        :raises Disconnected: the request is over.
        :raises RuntimeError: the body was ended before.

        If this is cancelled, the piece may have been sent.
        """
        if self._ended or self._aborted:
            raise RuntimeError("the body has ended")
        if not data:
            await anyio.lowlevel.checkpoint()
            return
        if isinstance(timeout, Unset):
            timeout = None if is_virtual() else 5
        await self._until(lambda: self._piece is None and self._taken, timeout)
        self._piece = data
        self._taken = False
        self._signal.notify()
        await self._until(lambda: self._taken, timeout)

    async def end(self) -> None:
        """End the body. Calling it again does nothing."""
        await anyio.lowlevel.checkpoint()
        self._ended = True
        self._signal.notify()

    def abort(self) -> None:
        """Break the body off: the client leaves, and the request raises `Disconnected`."""
        self._aborted = True
        self._signal.notify()

    async def _until(self, holds: Callable[[], bool], timeout: float | None) -> None:
        if not await within(timeout, self._signal, lambda: holds() or self._closed):
            raise DeadlineExceeded(f"the app took no more of the request body within {timeout} s")
        if self._closed and not holds():
            raise Disconnected("the request is over")

    def __aiter__(self) -> AsyncIterator[bytes]:
        return self

    async def __anext__(self) -> bytes:
        self._taken = self._piece is None
        self._signal.notify()
        await self._signal.until(lambda: self._piece is not None or self._ended or self._aborted)
        if self._aborted:
            raise Disconnected("the request body was broken off")
        if self._piece is None:
            raise StopAsyncIteration
        piece, self._piece = self._piece, None
        return piece

    async def aclose(self) -> None:
        """Close the body; called when the request is over."""
        self._closed = True
        self._signal.notify()
