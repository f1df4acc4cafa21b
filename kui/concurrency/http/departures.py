"""What tells that a client has gone: to the application, and from the server."""

from __future__ import annotations

import sys

from .send_limit import Stalled

__all__ = ["ClientDisconnect", "disconnect_errors", "send_failures"]


class ClientDisconnect(Exception):
    """The client left before its request was read, or before the work for it was done."""


def disconnect_errors() -> tuple[type[Exception], ...]:
    """Return what a server's `send` raises when the client has gone; for an `except`.

    OSError, by ASGI. hypercorn on trio closes a connection while the app sends on it, which trio reports as busy.
    """
    trio = sys.modules.get("trio")
    return (OSError,) if trio is None else (OSError, trio.BusyResourceError)


def send_failures() -> tuple[type[Exception], ...]:
    """Return what a `send` raises that has not reached the client; for an `except`."""
    return (Stalled, *disconnect_errors())
