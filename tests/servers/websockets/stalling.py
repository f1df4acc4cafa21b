"""The app of `site.py`, where a send is given up after a second, or after the seconds in STALL."""

from __future__ import annotations

import os

from kui.concurrency.websocket import held_sends

from .site import app

__all__ = ["app"]

held_sends.STALL = float(os.environ.get("STALL", "1"))  # type: ignore[misc]  # a constant
