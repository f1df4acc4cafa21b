"""A time limit for an endpoint."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial, wraps
from typing import Any, Self

from baize.typing import Receive, Scope, Send

from kui.concurrency import exchange_of
from kui.concurrency.cancel import until
from kui.concurrency.loops import clock
from kui.http.cookies import SetCookie
from kui.http.exceptions import HTTPException
from kui.http.headers import RawHeaders, ResponseHeaders
from kui.responses import HttpResponse, convert_response
from kui.views import Endpoint

from .placement import makes_middleware

__all__ = ["timeout"]


@makes_middleware
def timeout(seconds: float, *, body: bool = False) -> Callable[[Endpoint], Endpoint]:
    """Make a middleware that cancels an endpoint after `seconds`, and answers 504 (RFC 9110, 15.6.5).

    The 504 is an HTTPException, which an exception handler may answer. The `finally` blocks of the
    endpoint run as under any cancellation; they are not limited. A `def` handler cannot be cancelled:
    the middleware waits for its thread.

    :param seconds: from the call of the middleware to the return of the response.
    :param body: True if the time includes the sending. A response that has begun is then cut off, and
        TimeoutError is raised.
    :raises ValueError: `seconds` is not positive.

    Example::

        @app.router.http.get("/quote", middlewares=[timeout(2)])
        async def quote():
            return await ask_the_exchange()
    """
    if not seconds > 0:
        raise ValueError(f"a timeout is a positive number of seconds, not {seconds!r}")

    def middleware(endpoint: Endpoint) -> Endpoint:
        @wraps(endpoint)
        async def in_time() -> Any:
            deadline = clock()() + seconds
            done = await until(deadline, endpoint)
            if done is None:
                raise _too_late()
            return _InTime(convert_response(done[0]), deadline) if body else done[0]

        return in_time

    return middleware


def _too_late() -> HTTPException[str]:
    return HTTPException(504, content="The answer took too long.")


class _InTime(HttpResponse):
    """A response that must be sent before a deadline; otherwise it behaves as the response it wraps."""

    __slots__ = ("_deadline", "_response")

    def __init__(self, response: HttpResponse, deadline: float) -> None:
        super().__init__(response.status_code)
        self.body = None
        self._response = response
        self._deadline = deadline

    @property
    def headers(self) -> ResponseHeaders:
        return self._response.headers

    @property
    def cookies(self) -> list[SetCookie]:
        return self._response.cookies

    def raw_headers(self) -> RawHeaders:
        return self._response.raw_headers()

    def amended(
        self,
        status_code: int | None,
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None,
    ) -> Self:
        return type(self)(self._response.amended(status_code, headers), self._deadline)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._response.status_code = self.status_code
        async with exchange_of(scope, receive, send) as exchange:
            send_it = partial(self._response, scope, exchange.receive, exchange.send)
            done = await until(self._deadline, send_it)
        if done is None:
            raise (
                TimeoutError("the response was not sent in time")
                if exchange.started
                else _too_late()
            )
