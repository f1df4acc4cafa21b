"""What is the same on every loop when a connection is accepted, or cannot be."""

from __future__ import annotations

import errno
import logging
import socket
from typing import Final

import anyio

__all__ = ["Accepting"]

ACCEPT_PAUSE: Final = 1.0
"""Seconds for which nothing is accepted, when the system has no room for it."""
_NO_ROOM: Final = frozenset((errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM))

logger = logging.getLogger("kui.server")


class Accepting:
    """How it goes with accepting, for all listening sockets of a server."""

    __slots__ = ("_failing",)

    def __init__(self) -> None:
        self._failing = False

    def prepare(self, sock: socket.socket) -> None:
        """Set an accepted connection up: it does not block, and nothing is held back for a fuller packet."""
        self._failing = False
        sock.setblocking(False)
        if sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    async def failed(self, error: OSError) -> None:
        """Accepting has failed: wait a second where there is no room for a connection, which is logged once.

        Anything else is the connection's own trouble: its client was faster in leaving.
        """
        if error.errno not in _NO_ROOM:
            return
        if not self._failing:
            self._failing = True
            logger.error("No connection can be accepted now: %s", error.strerror)
        await anyio.sleep(ACCEPT_PAUSE)
