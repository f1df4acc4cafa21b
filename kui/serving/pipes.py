"""What a connection needs of its socket, under every loop and with TLS or without: `Pipe`.

`pipe_trio` and `pipe_asyncio` are the pipes, `tls` is one over another. What holds for each of them:

- Reading is two things: `take` gives what can be had without waiting, `wait` only waits. So a read
  that is cancelled has taken nothing.
- At most 64 KiB are kept that were not taken, and 64 KiB that the kernel has not.
- `write` sends all of its parts with nothing between them, one caller after the other. Cancelled
  before its last byte was sent, it breaks the pipe: every later write fails, for nothing but a
  reset may follow half a message. Reading goes on.
- One task reads at a time.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from typing import Final, Protocol, TypeAlias

import anyio

__all__ = ["CHUNK", "CREDIT", "Address", "BytesLike", "Pipe", "Turns", "hung_up", "peer_of"]

CHUNK: Final = 64 * 1024
"""Bytes that are read or written at a time."""
CREDIT: Final = 16
"""Reads and writes that need not wait, until other tasks have a turn."""

Address: TypeAlias = tuple[str, int | None]
BytesLike: TypeAlias = bytes | bytearray | memoryview


class Pipe(Protocol):
    """The bytes of one connection."""

    client: tuple[str, int] | None
    """The client's address; None for a Unix socket."""
    server: Address | None
    """The address at which the client has connected; a path and None for a Unix socket."""
    protocol: str | None
    """What TLS has agreed on: "h2", "http/1.1" or None; None without TLS."""
    secure: bool
    """True if it is encrypted."""

    @property
    def credit(self) -> int:
        """Reads and writes until `yield_` must be awaited; each that does not wait takes one away."""

    def take(self) -> bytes | None:
        """Return what has come in, 64 KiB at most; b"" at the end (FIN); None if there is nothing yet.

        :raises OSError: the connection was reset, aborted or closed.
        """

    async def wait(self) -> None:
        """Wait until `take` may have something, or until `wake` is called. Cancelled, nothing has happened.

        :raises OSError: as `take`.
        """

    def wake(self) -> None:
        """End a `wait` that is under way."""

    async def yield_(self) -> None:
        """Let other tasks run: a checkpoint, which renews `credit`."""

    async def write(self, *parts: BytesLike, more: bool = False) -> None:
        """Send all parts; wait as long as the client does not take them.

        :param more: True if more is to follow: the kernel may then hold them back until the app waits.
        :raises OSError: the connection was reset, aborted or closed, or an earlier write was cancelled.
        """

    def push(self, data: bytes) -> None:
        """Send a little, of the protocol's own, without waiting; what does not go out goes before the next write."""

    def finish(self) -> None:
        """Say that nothing more will be sent (FIN, or close_notify and FIN)."""

    def close(self) -> None:
        """Close the socket; what the kernel has is still sent. May be called again."""

    def abort(self) -> None:
        """Reset the connection (RST): what was not sent is lost, and the client sees it. May be called again."""

    def stalled(self, now: float) -> bool:
        """True if a write has waited for too long without progress. To be asked at every tick."""

    def hung_up(self) -> bool:
        """True if the client's end can be seen without reading what comes before it (Linux)."""


class Turns:
    """Who writes: one task at a time, in the order of their calls. Costs nothing where only one writes.

    ::

        if turns.taken:
            await turns.wait()
        ...                      # without waiting; or else
        turns.take()
        try:
            ...
        finally:
            turns.pass_on()
    """

    __slots__ = ("_line", "taken")

    def __init__(self) -> None:
        self.taken = False
        self._line: deque[anyio.Event] = deque()

    async def wait(self) -> None:
        """Wait for one's turn, which is then taken. Cancelled, it is not."""
        event = anyio.Event()
        self._line.append(event)
        try:
            await event.wait()
        except BaseException:
            if event.is_set():
                self.pass_on()
            else:
                self._line.remove(event)
            raise

    def take(self) -> None:
        """Take the turn, which is free."""
        self.taken = True

    def pass_on(self) -> None:
        """Give the turn to the next in line."""
        if self._line:
            self._line.popleft().set()
        else:
            self.taken = False


def peer_of(sock: socket.socket) -> tuple[tuple[str, int] | None, Address | None]:
    """Return the client's address and the server's, as ASGI has them. A Unix socket has no client's."""
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        name = sock.getsockname()
        return None, ((name.decode("utf-8", "replace") if isinstance(name, bytes) else name), None)
    try:
        client = sock.getpeername()[:2]
    except OSError:  # it has gone already
        client = None
    return client, sock.getsockname()[:2]


def hung_up(descriptor: int) -> bool:
    """True if the other end of a socket is closed, whatever is still to be read before that (Linux)."""
    if not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))
