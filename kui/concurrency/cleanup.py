"""Cleanup: shielded, and for a bounded time (rule 4)."""

from __future__ import annotations

from typing import Final

import anyio

__all__ = ["GRACE", "shielded"]

GRACE: Final = 5.0
"""Seconds that a cleanup may take once it has been cancelled from outside."""


def shielded(seconds: float = GRACE) -> anyio.CancelScope:
    """A scope for `with`: what is awaited in it is cancelled by nothing but the end of `seconds`.

    An outer cancellation is delivered at the first checkpoint after it. asyncio's own
    `task.cancel()` is no scope's business, and goes through.
    """
    return anyio.CancelScope(shield=True, deadline=anyio.current_time() + seconds)
