"""Open the sockets of a server by addresses as text, and make its TLS context.

Every error is found here, before the app is started, and reported in one sentence.
"""

from __future__ import annotations

import os
import socket
import ssl
import stat
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Final

__all__ = ["CannotServe", "address_of", "bound", "tls_context"]

DEFAULT_PORT: Final = 8000


class CannotServe(Exception):
    """Raised if the server cannot start. The text is one sentence that says why."""


@contextmanager
def bound(binds: Sequence[str], stall_timeout: float = 0) -> Iterator[list[socket.socket]]:
    """Bind sockets for the time of the block. They do not listen yet.

    :param binds: each is `HOST:PORT` (0 for a free port), `[IPv6]:PORT`, `HOST` (with port 8000), `unix:PATH` or
        `fd://NUMBER`.
    :param stall_timeout: seconds after which the kernel closes a connection whose client does not read
        (TCP_USER_TIMEOUT, Linux only); 0 for never.
    :raises CannotServe: an address is malformed, busy or not permitted.
    """
    if not binds:
        raise CannotServe("there is no address to listen on")
    with ExitStack() as stack:
        sockets = []
        for bind in binds:
            try:
                sock = stack.enter_context(closing(_open(bind)))
            except (OSError, ValueError) as error:
                why = getattr(error, "strerror", None) or error
                raise CannotServe(f"cannot listen on {bind}: {why}") from error
            if bind.startswith("unix:"):
                path = bind.removeprefix("unix:")
                stack.callback(_unlink, path, _identity(path))
            sock.setblocking(False)
            if stall_timeout and sock.family != getattr(socket, "AF_UNIX", None):
                _set_stall_timeout(sock, stall_timeout)
            sockets.append(sock)
        yield sockets


def address_of(sock: socket.socket, scheme: str) -> str:
    """Return the address of a socket as a URL: `http://127.0.0.1:8000`, or `unix:/run/app.sock`."""
    name = sock.getsockname()
    if sock.family == socket.AF_INET6:
        return f"{scheme}://[{name[0]}]:{name[1]}"
    if sock.family == socket.AF_INET:
        return f"{scheme}://{name[0]}:{name[1]}"
    return f"unix:{name}"


def tls_context(certfile: str | None, keyfile: str | None) -> ssl.SSLContext | None:
    """Return the TLS context for a certificate chain and its key; None without a certificate. It offers HTTP/2.

    :param keyfile: None if the key is in the certificate's file.
    :raises CannotServe: a file cannot be used.
    """
    if certfile is None:
        if keyfile is not None:
            raise CannotServe("a key needs its certificate: give certfile too")
        return None
    for path in (certfile, keyfile):
        if path is not None and not os.access(path, os.R_OK):
            raise CannotServe(f"cannot read {path}: {_why_unreadable(path)}")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers("ECDHE+AESGCM:ECDHE+CHACHA20")  # what RFC 9113, appendix A leaves
    context.set_alpn_protocols(["h2", "http/1.1"])
    try:
        context.load_cert_chain(certfile, keyfile)
    except (OSError, ValueError) as error:
        files = certfile if keyfile is None else f"{certfile} with {keyfile}"
        raise CannotServe(f"cannot use the certificate {files}: {error}") from error
    return context


def _open(bind: str) -> socket.socket:
    if bind.startswith("unix:"):
        return _open_unix(bind.removeprefix("unix:"))
    if bind.startswith("fd://"):
        number = bind.removeprefix("fd://")
        if not (number.isascii() and number.isdigit()):
            raise CannotServe(f"cannot listen on {bind}: a descriptor is a number")
        return socket.socket(fileno=int(number))
    host, port = _parse(bind)
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # Accepted sockets inherit the protocol number, without which asyncio does not set TCP_NODELAY.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        if os.name == "posix":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind((host, port))
    except BaseException:
        sock.close()
        raise
    return sock


def _parse(bind: str) -> tuple[str, int]:
    host, colon, port = bind.rpartition(":")
    if not colon or port.endswith("]"):
        host, port = bind, str(DEFAULT_PORT)
    if host.startswith("[") and host.endswith("]") and ":" in host:
        host = host[1:-1]
    elif not host or ":" in host or "[" in host or (not colon and host.isdigit()):
        raise CannotServe(f"cannot listen on {bind!r}: write HOST:PORT, [IPv6]:PORT or unix:PATH")
    if not (port.isascii() and port.isdigit() and len(port) < 6 and int(port) < 65536):
        raise CannotServe(f"cannot listen on {bind}: a port is a number up to 65535")
    return host, int(port)


def _open_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if os.path.exists(path) and stat.S_ISSOCK(os.stat(path).st_mode):
            try:
                sock.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)  # left behind by a server that has ended
            sock.close()
            sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        sock.bind(path)
    except BaseException:
        sock.close()
        raise
    return sock


def _identity(path: str) -> tuple[int, int, int]:
    found = os.stat(path)
    return found.st_dev, found.st_ino, found.st_mtime_ns  # the inode alone may be used again


def _unlink(path: str, identity: tuple[int, int, int]) -> None:
    """Remove a Unix socket of this server, unless another socket has replaced it."""
    try:
        if _identity(path) == identity:
            os.unlink(path)
    except FileNotFoundError:
        pass


def _set_stall_timeout(sock: socket.socket, seconds: float) -> None:
    option = getattr(socket, "TCP_USER_TIMEOUT", None)
    if option is not None:
        sock.setsockopt(socket.IPPROTO_TCP, option, int(seconds * 1000))


def _why_unreadable(path: str) -> str:
    try:
        with open(path, "rb"):
            return "it cannot be read"
    except OSError as error:
        return error.strerror or str(error)
