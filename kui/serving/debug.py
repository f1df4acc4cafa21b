"""`--debug`: let the app show tracebacks to clients on this machine.

This is an ASGI wrapper around the app. `kui.responses.errors` decides what is shown, and to which clients.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterable
from ipaddress import ip_address

from baize.typing import ASGIApp, Receive, Scope, Send

from kui.lifespan import DEBUG

from .binding import CannotServe, address_of

__all__ = ["Debugging", "check_debug"]

logger = logging.getLogger("kui.server")


class Debugging:
    """Marks each HTTP request, so that the app may show tracebacks."""

    __slots__ = ("app",)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "extensions": {**(scope.get("extensions") or {}), DEBUG: {}}}
        await self.app(scope, receive, send)


def check_debug(sockets: Iterable[socket.socket]) -> None:
    """Log a warning that tracebacks are shown.

    :raises CannotServe: a socket is not bound to a loopback address, so that other machines can reach it.
    """
    for sock in sockets:
        internet = sock.family in (socket.AF_INET, socket.AF_INET6)
        if not internet or not ip_address(sock.getsockname()[0]).is_loopback:
            raise CannotServe(
                f"debug is for this machine alone, and others can reach {address_of(sock, 'http')}: bind 127.0.0.1"
            )
    logger.warning(
        "Debugging: clients of this machine are shown tracebacks; never offer this to others"
    )
