"""`--debug`: the app shows tracebacks to the clients of this machine.

An ASGI wrapper, so that it does not depend on how the server reads a request. What is shown, and to which clients,
is in `kui.responses.errors`.
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
    """Mark each HTTP request as one of a developer, whose app may show tracebacks."""

    __slots__ = ("app",)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            scope = {**scope, "extensions": {**(scope.get("extensions") or {}), DEBUG: {}}}
        await self.app(scope, receive, send)


def check_debug(sockets: Iterable[socket.socket]) -> None:
    """Say that tracebacks are shown.

    :raises CannotServe: if one of the sockets is not bound to a loopback address: others can reach it, themselves
        or by way of a proxy.
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
