"""A middleware, for a route or a group of routes, that checks the client's role."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from kui.asgi import HTTPException, request

__all__ = ["needs"]

Endpoint = Callable[[], Awaitable[Any]]

ROLES = {"reader": 0, "clerk": 1, "librarian": 2}
"""The roles by rank. A role may do everything that a lower one may."""


def needs(role: str) -> Callable[[Endpoint], Endpoint]:
    """Return a middleware that refuses clients without a role, or a higher one, with 401 or 403.

    The client names its role in a header, because this is an example. A real service takes it from a session.
    """

    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def guarded() -> Any:
            given = request.headers.get("x-role", "")
            if given not in ROLES:
                raise HTTPException(401, content="Name your role, as in x-role: clerk.")
            if ROLES[given] < ROLES[role]:
                raise HTTPException(403, content=f"Only a {role} may do this.")
            return await endpoint()

        return guarded

    return middleware
