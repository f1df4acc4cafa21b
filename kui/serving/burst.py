"""Let the kernel join small sends that follow at once into one packet, so that it wakes the client once."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

__all__ = ["Burst"]

_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)


class Burst:
    """The parts of a response that the app sends without waiting in between.

    The first part is sent at once. The kernel then holds back the others (Linux's MSG_MORE, for at most 200 ms) until
    the last part, or until `end`. Each part is given to the kernel at once nevertheless.
    """

    __slots__ = ("_flag", "_held", "_sock", "lasts")

    def __init__(self, sock: socket.socket) -> None:
        self.lasts = False
        """True if a part was sent, and the app has not waited since."""
        self._sock = sock
        self._flag = _MORE if sock.family in (socket.AF_INET, socket.AF_INET6) else 0
        self._held = False

    def begin(self) -> None:
        """Record that a part was sent that is not the last. The caller must call `end` when the app waits."""
        self.lasts = True

    def hold(self) -> int:
        """Return the flag for sending another part that is not the last."""
        self._held = True
        return self._flag

    def end(self) -> None:
        """Make the kernel send what it holds back. May be called again."""
        self.lasts = False
        if self._held:
            self._held = False
            if self._flag:
                with suppress(OSError):  # the next read or write raises it
                    # Setting it again sends what is held back (tcp(7)).
                    self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
