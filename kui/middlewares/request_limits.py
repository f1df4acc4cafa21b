"""The limits of one route or group: how much of a request's body is taken in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from typing import Any

from kui.current import request_var
from kui.limits import Limits
from kui.views import Endpoint

from .placement import only_for

__all__ = ["request_limits"]


def request_limits(**changes: int) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that changes some of the app's `Limits`; beyond one, the client gets 413.

    Parameters: those of `Limits`, in bytes or in things. Raises TypeError or ValueError for what
    is none of them. Of two, the inner one wins.

    Example::

        @app.router.http.post("/photos", middlewares=[request_limits(file_bytes=50 * 1024**2)])
        async def upload(): ...
    """
    replace(Limits(), **changes)  # tells a mistake where it is made

    @only_for("HTTP", "request_limits()")
    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def limited() -> Any:
            request = request_var.get()
            request.limits = replace(request.limits, **changes)
            return await endpoint()

        return limited

    return middleware
