"""How an answer goes out that is more than two plain sends, and what becomes of a request that fails.

What a plain handler's answer takes stands in `applications`; which exception is answered how, in `exceptions`.
"""

from __future__ import annotations

import logging
from typing import Final

from baize.typing import Scope

from kui.http.exceptions import AnyHTTPException

from .concurrency import ClientDisconnect, body_expected
from .exceptions import BARE_500, ExceptionTable, leaf
from .requests import HttpRequest
from .responses.base import HttpResponse

__all__ = ["answer", "failed", "finish", "needs_no_exchange"]

logger = logging.getLogger("kui.error")

UNREAD: Final = 64 * 1024
"""Bytes of a body that nobody has read, after which a connection is kept: a server has them by then."""


def needs_no_exchange(request: HttpRequest | None, scope: Scope) -> bool:
    """May the messages of a buffered response go to the server as they are?"""
    return (request is None or request._exchange is None) and not body_expected(scope)


async def answer(request: HttpRequest, response: HttpResponse, closing: bool = False) -> None:
    """Send a response through the exchange; `closing` if the server is going to hear of an error."""
    exchange = request.exchange
    if request.get("http_version", "1.1") < "2":
        if response.buffered and exchange.body_expected:
            length = request.content_length
            closing = closing or length is None or length > UNREAD
        if closing:
            # A server closes the connection after an error, and after an answer to a body that it
            # has not got all of; the client is told, lest it asks again there.
            request.add_response_headers([(b"connection", b"close")])
    await response(request._scope, exchange.receive, exchange.send)


async def failed(request: HttpRequest, exc: Exception, table: ExceptionTable | None) -> None:
    """Do what is left to do when the handler, or the sending, has raised; raise what the server must hear.

    `table` is asked for an answer; None where one is under way already.
    """
    try:
        raised = exc if table is None else await _recover(request, exc, table)
    except BaseException as cancelled:
        if request.lasting:
            await request.abandon(cancelled)
        raise
    if request.lasting:
        await finish(request, exc)
    if raised is not None:
        raise raised


async def finish(request: HttpRequest, raised: Exception | None) -> None:
    """End what lasts as long as a request; `raised` is what its handler has raised."""
    try:
        await request.finish(raised)
    except BaseException as exc:
        await request.abandon(exc)
        raise


async def _recover(request: HttpRequest, exc: Exception, table: ExceptionTable) -> Exception | None:
    """Answer an exception as far as that is still possible; return what the server must hear."""
    found = leaf(exc)
    if isinstance(found, ClientDisconnect):
        return None
    exchange = request._exchange
    if exchange is not None:
        if exchange.gone is not None:
            if not isinstance(found, AnyHTTPException):  # which is an answer, and no failure
                logger.error("A request failed after its client had left", exc_info=exc)
            return None
        if exchange.started:
            return exc
    response, raised = await table.answer(exc)
    exchange = request._exchange
    gone = exchange is not None and exchange.gone is not None
    if gone or (raised is not None and isinstance(leaf(raised), ClientDisconnect)):
        return await _recover(request, raised or exc, table)
    direct = raised is None and response.buffered and needs_no_exchange(request, request._scope)
    try:
        if direct:
            await response(request._scope, request._receive, request._send)
        else:
            await answer(request, response, closing=raised is not None)
    except ClientDisconnect:
        pass
    except Exception as second:
        if not direct and not request.exchange.started:
            await BARE_500(request._scope, request.exchange.receive, request.exchange.send)
        return second
    return raised
