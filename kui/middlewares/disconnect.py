"""Cancel the work for a client that has left. `kui/concurrency/cancel.py` has the scopes."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import wraps
from typing import Any, overload

from kui.concurrency.cancel import OpenSocket, WaitingClient
from kui.current import request_var, websocket_var
from kui.views import Endpoint

__all__ = ["cancel_on_disconnect"]


@overload
def cancel_on_disconnect() -> AbstractAsyncContextManager[None]: ...
@overload
def cancel_on_disconnect(endpoint: Endpoint, /) -> Endpoint: ...
def cancel_on_disconnect(
    endpoint: Endpoint | None = None, /
) -> AbstractAsyncContextManager[None] | Endpoint:
    """Cancel the work for a client as soon as it has left: a middleware, or a block of a handler.

    Without it a handler runs to its end, so that a POST is not cut in half. With it, the handler or the
    block is cancelled at its next checkpoint, within 50 ms of the client leaving; anyio's rules hold
    for its task groups and threads. Then ClientDisconnect is raised, for a WebSocket
    WebSocketDisconnect: no response is sent, nothing is logged, and background tasks that were
    already added still run. An exception that the work raises itself is raised unchanged. Streaming
    responses are always cancelled, and do not need this.

    While more than 64 KiB of the request's body are unread, the disconnect cannot be detected.

    :raises LookupError: there is no current request or WebSocket.

    Example::

        @app.router.http.get("/report", middlewares=[cancel_on_disconnect])
        async def report():
            return await database.fetch(EXPENSIVE)

        @app.router.http.post("/orders")
        async def order():
            async with cancel_on_disconnect():
                price = await ask_the_suppliers()
            return await place_order(price)  # is not cut in half
    """
    if endpoint is None:
        return _client()

    @wraps(endpoint)
    async def connected() -> Any:
        return await _client().run(endpoint)

    return connected


def _client() -> WaitingClient | OpenSocket:
    request = request_var.get(None)
    if request is not None:
        return WaitingClient(request.exchange)
    websocket = websocket_var.get(None)
    if websocket is None:
        raise LookupError(
            "cancel_on_disconnect() is a block within a handler: as a middleware, write it without parentheses"
        )
    return OpenSocket(websocket.socket)
