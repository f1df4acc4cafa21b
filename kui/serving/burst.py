"""Small sends that follow one another at once, of which the kernel makes one packet, and wakes the client once."""

from __future__ import annotations

import socket
from contextlib import suppress
from typing import Final

__all__ = ["Burst"]

_MORE: Final[int] = getattr(socket, "MSG_MORE", 0)


class Burst:
    """What the app sends of a response until it waits.

    The first part goes out at once, and the kernel holds the others back (Linux's MSG_MORE, 200 ms at
    most), until one that is the last, or until `end`. What was sent is with the kernel all the same.
    """

    __slots__ = ("_flag", "_held", "_sock", "lasts")

    def __init__(self, sock: socket.socket) -> None:
        self.lasts = False
        """True if a part was sent, and the app has not waited since."""
        self._sock = sock
        self._flag = _MORE if sock.family in (socket.AF_INET, socket.AF_INET6) else 0
        self._held = False

    def begin(self) -> None:
        """Note that a part that others follow is sent; `end` will be called."""
        self.lasts = True

    def hold(self) -> int:
        """Return the flag to send another part with that is not the last."""
        self._held = True
        return self._flag

    def end(self) -> None:
        """Hold nothing back any longer. May be called again."""
        self.lasts = False
        if self._held:
            self._held = False
            if self._flag:
                with suppress(OSError):  # which the next read or write tells
                    # To set it again has this effect (tcp(7)).
                    self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
