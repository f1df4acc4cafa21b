"""Limits on the number of requests that are handled at once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from functools import wraps
from typing import Any

from kui.argument_checks import function_of
from kui.concurrency.cancel import WaitingClient
from kui.concurrency.slots import ConcurrencySlots, Full
from kui.current import request_var
from kui.http.exceptions import HTTPException, Unavailable
from kui.requests import HttpRequest
from kui.views import Endpoint

from .placement import makes_middleware, only_for

__all__ = ["limit_concurrency"]


@makes_middleware
def limit_concurrency(
    n: int,
    waiting: int = 0,
    *,
    key: Callable[[HttpRequest], Hashable] | None = None,
    status: int = 503,
    retry_after: int = 1,
) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that handles `n` requests at once, and answers 503 to others (RFC 9110, 15.6.4).

    The limit is shared by all endpoints with the same middleware, in one worker process. A request counts
    until its response has been sent, or its client has left. If the client of a waiting request leaves,
    the request leaves the queue: ClientDisconnect is raised in it, and no response is sent.

    A request for an event stream is not answered with 503, after which a browser never reconnects: it
    gets an empty stream that tells the browser to reconnect later. Other statuses, such as 429, are sent.

    :param n: the number of requests that are handled at once.
    :param waiting: the number of further requests that may wait; first come, first served.
    :param key: a function of the request, such as one that returns the user's name. Each value that it
        returns, None among them, has a limit of its own, which is kept only while a request counts.
        What it raises is raised on.
    :param status: the status of the refusal, 400 to 599; 429 says that the client asks too much (RFC 6585).
    :param retry_after: the seconds that `Retry-After` asks refused clients to wait.
    :raises ValueError: a number makes no sense.
    :raises TypeError: `key` is no function of one argument.

    Example::

        heavy = limit_concurrency(4, waiting=20)
        fair = limit_concurrency(2, key=lambda request: request.cookies.get("session"), status=429)

        @app.router.http.post("/thumbnails", middlewares=[fair, heavy])
        async def thumbnail(): ...
    """
    if n < 1 or waiting < 0 or retry_after < 0:
        raise ValueError("limit_concurrency takes one request at least, and no negative numbers")
    if not 400 <= status <= 599:
        raise ValueError(f"a refusal has a status from 400 to 599, not {status!r}")
    if key is not None:
        function_of("the request", "limit_concurrency(key=...)", key)
    limits: dict[Hashable, ConcurrencySlots] = {}

    @only_for("HTTP", "limit_concurrency()")
    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def limited() -> Any:
            request = request_var.get()
            name = None if key is None else key(request)
            slots = limits.get(name)
            if slots is None:
                slots = limits[name] = ConcurrencySlots(n, waiting)

            def forget() -> None:
                if slots.idle and limits.get(name) is slots:
                    del limits[name]

            def leave() -> None:
                slots.give_back()
                forget()

            async def wait() -> None:
                try:
                    await slots.wait()
                except BaseException:
                    forget()
                    raise
                request.exit_stack.callback(leave)

            try:
                if slots.take():
                    request.exit_stack.callback(leave)
                else:
                    await WaitingClient(request.exchange).run(wait)
            except Full:
                reason = "Too many requests at once."
                if status == 503:
                    raise Unavailable(reason, retry_after) from None
                raise HTTPException(status, {"retry-after": str(retry_after)}, reason) from None
            return await endpoint()

        return limited

    return middleware
