"""`required_method`: a middleware that names the HTTP methods of a handler.

If it is in the list of a route or a group, routing reads its methods when the route is registered, and nothing is
left to do for a request. If it is called with an endpoint, it checks the method of each request.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kui.current import request_var
from kui.http.headers import is_token
from kui.views import Endpoint, allowed, other_method

from .placement import only_for

__all__ = ["method_names", "required_method"]


def method_names(methods: Iterable[str]) -> frozenset[str]:
    """Return the methods in upper case.

    :raises ValueError: there is no method, or one is not a token (RFC 9110, section 9.1).
    :raises TypeError: a method is not a str.
    """
    methods = (methods,) if isinstance(methods, str) else tuple(methods)
    for method in methods:
        if not isinstance(method, str):
            raise TypeError(f"an HTTP method is a str such as 'GET', not {method!r}")
    names = frozenset(method.upper() for method in methods)
    if not names:
        raise ValueError("there is no method here: name at least one, such as 'GET'")
    for name in names:
        if not is_token(name):
            raise ValueError(f"{name!r} is not an HTTP method: write one such as 'GET'")
    return names


@only_for("HTTP")
class required_method:
    """A middleware that calls the handler for these HTTP methods only.

    GET includes HEAD. OPTIONS is answered with the methods of the path unless it is one of the methods.
    For other methods HTTPException 405 with `Allow` is raised (RFC 9110, 15.5.6). Routes of one path
    that require different methods share the path.

    :raises ValueError: there is no method, or one is not a token.
    :raises TypeError: a method is not a str.

    Example::

        @app.router.http("/items", middlewares=[required_method("POST")])
        async def add_item(): ...
    """

    __slots__ = ("methods",)

    def __init__(self, *methods: str) -> None:
        self.methods = method_names(methods)

    def __repr__(self) -> str:
        return f"required_method({', '.join(map(repr, sorted(self.methods)))})"

    def __call__(self, endpoint: Endpoint) -> Endpoint:
        allow = allowed(self.methods)
        methods = {*self.methods, "HEAD"} if "GET" in self.methods else self.methods

        async def checked() -> Any:
            if request_var.get().method in methods:
                return await endpoint()
            return await other_method(allow)

        return checked
