"""Clients of HTTP/1.1 by hand, which can be as bad as they like."""

from __future__ import annotations

import select
import socket
import struct
import threading
from dataclasses import dataclass, field

import h11

__all__ = ["Client", "Response"]


@dataclass
class Response:
    """An answer, as far as it has come; `complete` is whether it has come to its proper end."""

    status: int = 0
    headers: dict[bytes, bytes] = field(default_factory=dict)
    body: bytearray = field(default_factory=bytearray)
    complete: bool = False


class Client:
    """One connection, on which one request is sent.

    A small `receive_buffer` makes a client that does not read felt soon.
    """

    def __init__(self, port: int, *, receive_buffer: int | None = None) -> None:
        self.sock = socket.socket()
        if receive_buffer is not None:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.sock.settimeout(20)
        try:
            self.sock.connect(("127.0.0.1", port))
        except OSError:
            self.sock.close()
            raise
        self.response = Response()
        self._http = h11.Connection(h11.CLIENT)
        self._sender: threading.Thread | None = None

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What it sends.

    def ask(self, method: str, path: str, *headers: str, body: bytes = b"") -> None:
        """Send a request, and as much of its body as there is."""
        self._http.send(h11.Request(method=method, target=path, headers=[("host", "x")]))
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, "", ""]
        self.sock.sendall("\r\n".join(lines).encode() + body)

    def send_aside(self, data: bytes, *, again: bool = False) -> None:
        """Send this in a thread, once, or again and again; in any case until `close`."""
        self._stop, stopped = socket.socketpair()

        def send() -> None:
            view = memoryview(data)
            with stopped:
                while not select.select([stopped], [self.sock], [])[0]:
                    try:
                        view = view[self.sock.send(view, socket.MSG_DONTWAIT) :]
                    except BlockingIOError:
                        continue
                    except OSError:
                        return
                    if not view:
                        if not again:
                            return
                        view = memoryview(data)

        self._sender = threading.Thread(target=send, daemon=True)
        self._sender.start()

    def echo(self, data: bytes) -> None:
        """Send this, and read all of it as it comes back."""
        before = len(self.response.body)
        self.send_aside(data)
        while len(self.response.body) < before + len(data) and self._read_on():
            pass
        assert self.response.body[before:] == data

    # What it reads.

    def read_head(self) -> Response:
        """Read up to the end of the headers."""
        while not self.response.status and self._read_on():
            pass
        return self.response

    def read_some(self) -> Response:
        """Read up to the first piece of the body."""
        while not self.response.body and self._read_on():
            pass
        return self.response

    def read_to_the_end(self) -> Response:
        """Read until the answer is complete, or the connection is cut."""
        while self._read_on():
            pass
        return self.response

    def _read_on(self) -> bool:
        """Take in the next piece, and wait for it; return whether there may be another."""
        response = self.response
        while True:
            try:
                event = self._http.next_event()
            except h11.RemoteProtocolError:  # cut
                return False
            if event is h11.NEED_DATA:
                try:
                    self._http.receive_data(self.sock.recv(1 << 18))
                except ConnectionResetError:
                    return False
            elif isinstance(event, h11.Response):
                response.status = event.status_code
                response.headers = dict(event.headers)
                return True
            elif isinstance(event, h11.Data):
                response.body += event.data
                return True
            else:
                response.complete = isinstance(event, h11.EndOfMessage)
                return False

    # How it leaves.

    def close(self) -> None:
        """Close the connection; what has come and was not read makes a reset of it."""
        self._stop_sending()
        self.sock.close()

    def reset(self) -> None:
        """Cut the connection off."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def half_close(self) -> None:
        """Say that nothing more will be sent, and go on reading."""
        self.sock.shutdown(socket.SHUT_WR)

    def _stop_sending(self) -> None:
        sender, self._sender = self._sender, None
        if sender is not None:
            self._stop.close()
            sender.join(20)
