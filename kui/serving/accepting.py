"""The parts of accepting connections that are the same on every loop."""

from __future__ import annotations

import errno
import logging
import socket
from contextlib import suppress
from typing import Final

import anyio

__all__ = ["Accepting"]

ACCEPT_PAUSE: Final = 1.0
"""Seconds to wait before the next accept if the system has no room for another connection."""
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

logger = logging.getLogger("kui.server")


class Accepting:
    """Prepares accepted sockets and handles failed accepts, for all listening sockets of a server."""

    __slots__ = ("_failing",)

    def __init__(self) -> None:
        self._failing = False

    def prepare(self, sock: socket.socket) -> None:
        """Make an accepted socket non-blocking, and switch off Nagle's algorithm (TCP_NODELAY)."""
        self._failing = False
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            # macOS refuses the options of a socket whose client has gone already.
            with suppress(OSError):
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def failed(self, error: OSError) -> None:
        """Handle an error of `accept`.

        If there is no room for a connection, log that once and wait a second. Ignore any other error: it concerns only
        a connection whose client has left already.
        """
        if error.errno not in _NO_ROOM:
            return
        if not self._failing:
            self._failing = True
            logger.error("No connection can be accepted now: %s", error.strerror)
        await anyio.sleep(ACCEPT_PAUSE)
