"""Run one request from its endpoint to its response, and answer its exceptions.

`Kui` finds the endpoint, and `exceptions` makes the response to an exception. `websockets/session` does the same for
WebSockets.
"""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeAlias

from .concurrency import ClientDisconnect, failure_of
from .exceptions import BARE_500, ExceptionTable, note, unwrap_group
from .http.exceptions import AnyHTTPException, Unavailable
from .http.media import awaits_events
from .http.urls import request_name
from .requests import HttpRequest
from .responses.base import HttpResponse
from .responses.errors import shows_tracebacks, traceback_response

__all__ = ["answer"]

logger = logging.getLogger("kui.error")

Find: TypeAlias = Callable[[HttpRequest], Callable[[], Awaitable[Any]]]

UNREAD_AT_END: Final = 64 * 1024
"""The largest unread body, in bytes, after which a connection is kept, because the server has it already."""


async def answer(
    request: HttpRequest,
    find: Find,
    exceptions: ExceptionTable,
    convert: Callable[[Any], HttpResponse],
) -> None:
    """Run a request's endpoint and send its response. The caller must clean up afterwards (`lifetime_of`).

    An exception before the response has begun is answered by `exceptions`. A later exception is raised, and the server
    cuts the connection. A client that has left is no failure.

    :param find: returns the endpoint. The request is the current one then.
    :param exceptions: makes the response to an exception.
    :param convert: makes the response of the value that the endpoint returns.
    :raises Exception: an exception that no handler of `exceptions` has handled; raised after the response was sent.
    """
    try:
        response = convert(await find(request)())
        if request.exchange.body_is_coming:
            _prepare(request, response)
        await _send(request, response)
        return
    except BaseException as error:
        request.failure = failure_of(error)
        if request.failure is None:
            raise
    raised = await _recover(request, request.failure, exceptions)
    if raised is not None:
        note(raised, request.scope)
        try:
            raise raised
        finally:
            raised = None  # its traceback holds this frame, which would be a reference cycle


def _send(request: HttpRequest, response: HttpResponse) -> Awaitable[None]:
    """Return an awaitable that sends the response. A buffered response is sent without calling it as an ASGI app."""
    exchange = request.exchange
    if response.buffered and response.body is not None:
        return exchange.send_whole(*response.messages(request.scope["method"], response.body))
    return response(request.scope, exchange.receive, exchange.send)


def _prepare(request: HttpRequest, response: HttpResponse, failed: bool = False) -> None:
    """Give up the unread body, and tell an HTTP/1 client if its connection will be closed.

    Servers close the connection after an error (`failed`), and after a response to a body that has not arrived
    completely. A client that is told does not send the next request on it.
    """
    exchange = request.exchange
    if response.buffered and exchange.body_is_coming:
        exchange.give_up_body()
        if not failed:
            length = request.content_length
            failed = length is None or length > UNREAD_AT_END
    if failed and request.scope.get("http_version", "1.1") < "2":
        request.add_response_headers([(b"connection", b"close")])


async def _recover(
    request: HttpRequest, error: Exception, exceptions: ExceptionTable
) -> Exception | None:
    """Answer an exception if the response has not begun; return the exception to raise to the server, or None."""
    exchange = request.exchange
    found = unwrap_group(error)
    if isinstance(found, ClientDisconnect):
        return None
    if exchange.gone is not None:
        # An HTTPException is a response, and no failure.
        if not isinstance(found, AnyHTTPException):
            name = request_name(request.scope)
            logger.error("%s failed after its client had left", name, exc_info=error)
        return None
    if exchange.started:
        return error
    response: HttpResponse
    raised: Exception | None = None
    if isinstance(found, Unavailable) and awaits_events(request.method, request.scope["headers"]):
        from .responses.events import come_back_later  # see on_demand

        response = come_back_later()
    else:
        response, raised = await exceptions.answer(error)
        if raised is not None and shows_tracebacks(request):
            response = traceback_response(raised, request)
    if exchange.gone is not None or (
        raised is not None and isinstance(unwrap_group(raised), ClientDisconnect)
    ):
        return await _recover(request, raised or error, exceptions)
    try:
        _prepare(request, response, failed=raised is not None)
        await _send(request, response)
    except ClientDisconnect:
        pass
    except Exception as second:
        if not exchange.started:
            await BARE_500(request.scope, exchange.receive, exchange.send)
        return second
    return raised
