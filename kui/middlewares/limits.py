"""How many requests are worked for at once."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any

from kui.concurrency.cancel import WaitingClient
from kui.concurrency.slots import Full, Slots
from kui.connections import request_var
from kui.http.exceptions import HTTPException

__all__ = ["limit_concurrency"]

Endpoint = Callable[[], Awaitable[Any]]


def limit_concurrency(
    n: int, waiting: int = 0, *, retry_after: int = 1
) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that works for `n` requests at once, and answers 503 to others (RFC 9110, 15.6.4).

    Parameters: `n`, how many; `waiting`, how many more may wait for their turn, first come, first
    served; `retry_after`, the seconds that Retry-After asks the others to wait. It counts for all
    endpoints that are given the same middleware, in one worker process.

    A request counts until its response has been sent, or the client has left. One that waits and
    whose client leaves, gives up its place: ClientDisconnect is raised in it, and nothing is sent.

    Raises ValueError for numbers that make no sense.

    Example::

        heavy = limit_concurrency(4, waiting=20)


        @app.router.http.post("/thumbnails", middlewares=[heavy])
        async def thumbnail(): ...
    """
    if n < 1 or waiting < 0 or retry_after < 0:
        raise ValueError("limit_concurrency takes one request at least, and no negative numbers")
    slots = Slots(n, waiting)

    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def limited() -> Any:
            request = request_var.get()

            async def wait() -> None:
                await slots.wait()
                request.exit_stack.callback(slots.give_back)

            try:
                if slots.take():
                    request.exit_stack.callback(slots.give_back)
                else:
                    await WaitingClient(request.exchange).run(wait)
            except Full:
                raise HTTPException(
                    503, {"retry-after": str(retry_after)}, "Too many requests at once."
                ) from None
            return await endpoint()

        return limited

    return middleware
