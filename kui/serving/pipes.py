"""`Pipe`: the interface by which a connection reads and writes its socket, on every loop, with TLS or without.

`pipe_trio` and `pipe_asyncio` implement it for sockets, `tls` over another pipe. All of them guarantee:

- Reading has two steps: `take` returns what is there without waiting, and `wait` only waits. So a read that is
  cancelled loses nothing.
- At most 64 KiB are kept that were not taken, and at most 64 KiB that the kernel has not taken.
- `write` sends all its parts without anything between them, one caller after the other. If it is cancelled before its
  last byte was sent, the pipe is broken: every later write fails, because only a reset may follow half a message.
  Reading still works.
- Only one task may read at a time.
"""

from __future__ import annotations

import select
import socket
from collections import deque
from typing import Final, Protocol, TypeAlias

import anyio

__all__ = ["CHUNK", "CREDIT", "Address", "BytesLike", "Pipe", "Turns", "hung_up", "peer_of"]

CHUNK: Final = 64 * 1024
"""How many bytes are read or written at once, at most."""
CREDIT: Final = 16
"""After how many reads and writes without a wait other tasks get a turn."""

Address: TypeAlias = tuple[str, int | None]
BytesLike: TypeAlias = bytes | bytearray | memoryview


class Pipe(Protocol):
    """The bytes of one connection."""

    client: tuple[str, int] | None
    """The client's address; None for a Unix socket."""
    server: Address | None
    """The address to which the client has connected; a path and None for a Unix socket."""
    protocol: str | None
    """The protocol that was negotiated by TLS: "h2", "http/1.1" or None; None without TLS."""
    secure: bool
    """True if the connection is encrypted."""

    @property
    def credit(self) -> int:
        """How many reads and writes may follow until `yield_` must be awaited. Each that does not wait takes one."""

    def take(self) -> bytes | None:
        """Return at most 64 KiB of what has arrived; b"" at the end (FIN); None if nothing has arrived.

        :raises OSError: the connection was reset, aborted or closed.
        """

    async def wait(self) -> None:
        """Wait until `take` may return something, or until `wake` is called. If cancelled, nothing has changed.

        :raises OSError: as for `take`.
        """

    def wake(self) -> None:
        """Make a `wait` return."""

    async def yield_(self) -> None:
        """Let other tasks run (a checkpoint), and renew `credit`."""

    async def write(self, *parts: BytesLike, more: bool = False) -> None:
        """Send all parts; wait while the client does not read.

        :param more: True if more will follow. The kernel may then hold the parts back until the app waits.
        :raises OSError: the connection was reset, aborted or closed, or an earlier write was cancelled.
        """

    def push(self, data: bytes) -> None:
        """Send a short protocol message without waiting. What cannot be sent now is sent before the next write."""

    def finish(self) -> None:
        """Tell the client that nothing more will be sent (FIN, or close_notify and FIN)."""

    def close(self) -> None:
        """Close the socket. The kernel still sends what it has. May be called again."""

    def abort(self) -> None:
        """Reset the connection (RST), so that the client sees that something is missing. May be called again."""

    def stalled(self, now: float) -> bool:
        """True if a write has waited for too long without progress. Must be called at every tick."""

    def hung_up(self) -> bool:
        """True if the client has ended its side, also if unread bytes come before that end (Linux only)."""


class Turns:
    """Lets one task write at a time, in the order of their calls. It costs nothing if only one task writes.

    ::

        if turns.taken:
            await turns.wait()
        ...                      # write without waiting; if that is not enough:
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
        """Wait for the turn and take it. If cancelled, it is not taken."""
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
        """Take the turn, which must be free."""
        self.taken = True

    def pass_on(self) -> None:
        """Give the turn to the next in line."""
        if self._line:
            self._line.popleft().set()
        else:
            self.taken = False


def peer_of(sock: socket.socket) -> tuple[tuple[str, int] | None, Address | None]:
    """Return the addresses of client and server, as ASGI requires them. For a Unix socket the first is None.

    Both are None if the client has gone already.
    """
    if sock.family not in (socket.AF_INET, socket.AF_INET6):
        name = sock.getsockname()
        return None, ((name.decode("utf-8", "replace") if isinstance(name, bytes) else name), None)
    try:
        return sock.getpeername()[:2], sock.getsockname()[:2]
    except OSError:  # the client has gone already: macOS knows neither address then
        return None, None


def hung_up(descriptor: int) -> bool:
    """True if the other end of a socket is closed, also if unread bytes come before that (Linux only)."""
    if not hasattr(select, "POLLRDHUP"):
        return False
    poll = select.poll()
    poll.register(descriptor, select.POLLRDHUP)
    return bool(poll.poll(0))
