"""The app that the servers are started with: HTTP and WebSockets."""

from __future__ import annotations

from .apps import app
from .socket_apps import answers as _  # noqa: F401 - it adds its own

__all__ = ["app"]
