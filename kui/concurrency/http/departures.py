"""The exceptions by which a server says that a client has gone, and the one that tells the application."""

from __future__ import annotations

import sys

__all__ = ["ClientDisconnect", "disconnect_errors"]


class ClientDisconnect(Exception):
    """Raised if the client left before its request was read, or before its response was ready or sent."""


def disconnect_errors() -> tuple[type[Exception], ...]:
    """Return the exceptions that a server's `send` raises when the client has gone, for an `except` clause.

    That is OSError (ASGI 2.4). On trio, hypercorn may close a connection while the app sends on it, and trio's
    BusyResourceError comes through.
    """
    trio = sys.modules.get("trio")
    return (OSError,) if trio is None else (OSError, trio.BusyResourceError)
