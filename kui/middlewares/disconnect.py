"""Work that ends with its client; what watches and what cancels is kui/concurrency/cancel.py's business."""

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

    Without it a handler works on, so that a POST is not cut in half. With it, the handler or the
    block is cancelled at its next checkpoint, within 50 ms of the client leaving; its own task
    groups and threads are treated as anyio treats them. Then ClientDisconnect is raised, or
    WebSocketDisconnect where the connection is a WebSocket: nothing is sent, nothing is logged, and
    background tasks that were added already still run. An exception of the work's own is raised as
    itself. A response that streams needs none of this: it is always cancelled.

    While more of the request's body is unread than 64 KiB, nobody can see that the client has left.

    Raises LookupError outside of a request and a WebSocket.

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
    return OpenSocket(websocket_var.get().socket)
