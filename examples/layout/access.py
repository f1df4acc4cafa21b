"""Who may do what: a middleware for a route, or for a group of routes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from kui.asgi import HTTPException, request

__all__ = ["needs"]

Endpoint = Callable[[], Awaitable[Any]]

ROLES = {"reader": 0, "clerk": 1, "librarian": 2}
"""Each may do what those before it may."""


def needs(role: str) -> Callable[[Endpoint], Endpoint]:
    """A middleware that lets in who has a role, or a higher one.

    A real service would look at a session; here the client says it in a header.
    """

    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def guarded() -> Any:
            given = request.headers.get("x-role", "")
            if given not in ROLES:
                raise HTTPException(401, content="Say who you are, as in x-role: clerk.")
            if ROLES[given] < ROLES[role]:
                raise HTTPException(403, content=f"Only a {role} may do this.")
            return await endpoint()

        return guarded

    return middleware
