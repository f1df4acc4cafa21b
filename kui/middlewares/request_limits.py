"""The limits on the request bodies of one route or group."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields, replace
from functools import wraps
from typing import Any

from kui.current import request_var
from kui.limits import Limits
from kui.views import Endpoint

from .placement import makes_middleware, only_for

__all__ = ["request_limits"]


@makes_middleware
def request_limits(**changes: int) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that changes some of the app's `Limits`; beyond a limit, the client gets 413.

    :param changes: parameters of `Limits`. Of two middlewares, the inner one wins.
    :raises TypeError: an argument is no parameter of `Limits`, or no int.
    :raises ValueError: a limit is negative.

    Example::

        @app.router.http.post("/photos", middlewares=[request_limits(file_bytes=50 * 1024**2)])
        async def upload(): ...
    """
    known = [field.name for field in fields(Limits)]
    for name in changes:
        if name not in known:
            raise TypeError(f"there is no limit {name!r}: use one of {', '.join(known)}")
    replace(Limits(), **changes)  # raises here for a wrong value

    @only_for("HTTP", "request_limits()")
    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def limited() -> Any:
            request = request_var.get()
            request.limits = replace(request.limits, **changes)
            return await endpoint()

        return limited

    return middleware
