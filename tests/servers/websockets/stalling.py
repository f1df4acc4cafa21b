"""The app of `site.py`, where a send is given up after a second."""

from __future__ import annotations

from kui.concurrency.websocket import held_sends

from .site import app

__all__ = ["app"]

held_sends.STALL = 1.0  # type: ignore[misc]  # a constant
