"""A wire between a browser and a server, that can be cut."""

from __future__ import annotations

import socket
import struct
import threading
from contextlib import suppress
from select import select

from tests.support.process import listening_socket

__all__ = ["Wire"]


class Wire:
    """Hands on what comes through connections to a port, until the server first says `marker`.

    The marker is handed on, nothing more of that connection, and `cut` resets it. Others are not disturbed.

    ::

        with Wire(server.port, b"half of it") as wire:
            open_window(wire.url)
            wire.cut()
    """

    def __init__(self, port: int, marker: bytes) -> None:
        self._port = port
        self._marker = marker
        self._stopped = False  # has the marker come?
        self._cut = threading.Event()
        self._listener = listening_socket()
        self.url = "http://{}:{}".format(*self._listener.getsockname())
        threading.Thread(target=self._accept, daemon=True).start()

    def cut(self) -> None:
        """Reset the connection that the marker has come through."""
        self._cut.set()

    def __enter__(self) -> Wire:
        return self

    def __exit__(self, *args: object) -> None:
        self.cut()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._forward, args=(client,), daemon=True).start()

    def _forward(self, client: socket.socket) -> None:
        seen = b""
        with (
            suppress(OSError),
            client,
            socket.create_connection(("127.0.0.1", self._port)) as server,
        ):
            while True:
                for source in select([client, server], [], [])[0]:
                    data = source.recv(65536)
                    if not data:
                        return
                    if source is client:
                        server.sendall(data)
                        continue
                    seen = seen[-len(self._marker) :] + data
                    _, marker, after = seen.partition(self._marker)
                    if not marker or self._stopped:
                        client.sendall(data)
                        continue
                    self._stopped = True
                    client.sendall(data[: len(data) - len(after)])
                    self._cut.wait()
                    reset = struct.pack("ii", 1, 0)
                    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                    return
