"""Run a WebSocket handler, and close the connection after it.

The order is that of HTTP: the handler, the end of the connection, the exit stack, background tasks. `denials` sends the
response of a refused handshake.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeAlias

from kui.concurrency import shielded, strays_fail
from kui.concurrency.children import Children, with_children
from kui.concurrency.signals import ExitSignal
from kui.concurrency.websocket.states import SocketState
from kui.connections import websocket_var
from kui.exceptions import ExceptionTable, note
from kui.lifetime import lifetime_of
from kui.responses.base import HttpResponse

from .connection import WebSocket
from .denials import deny
from .endings import GOING_AWAY, how_to_close

__all__ = ["serve_socket"]

Find: TypeAlias = Callable[[WebSocket], Callable[[], Awaitable[Any]]]


async def serve_socket(
    websocket: WebSocket,
    find: Find,
    exceptions: ExceptionTable,
    convert: Callable[[Any, Any], HttpResponse],
    exit_signal: ExitSignal | None = None,
) -> None:
    """Run a WebSocket's endpoint, and end the connection.

    - If the endpoint returns None, the socket is closed with 1000, or refused with 403 if it was not accepted.
    - If it returns another value before it has accepted, that value becomes the response that refuses.
    - If it raises before it has accepted, `exceptions` makes the response that refuses.
    - If it raises after that, the socket is closed with 1011; with `code` for an InvalidMessage; with 1000 for a
      WebSocketDisconnect, or a group that holds nothing else.
    - If the app must stop or the server cancels the session, the socket is closed with 1001. If cancelled, the cleanup
      is shielded for 5 s.

    :param websocket: a connection whose `websocket.connect` may have been received before.
    :param find: returns the endpoint, which is the handler with its middlewares. The WebSocket is the current one then.
    :param exceptions: answers an exception of an endpoint that has not accepted.
    :param convert: makes a response of a value.
    :param exit_signal: tells that the app must stop.
    :raises Exception: what the endpoint has raised, unless it is no failure or a handler of `exceptions` has handled
        it; raised after the client was told, for the server's log.

    Example::

        await serve_socket(websocket, find_route, app.exceptions, app.response_converter.convert)
    """
    terminate = partial(websocket.socket.terminate, GOING_AWAY, "the server stops")
    if exit_signal is not None:
        exit_signal.listen(terminate)
    try:
        session = partial(_session, websocket, find, exceptions, convert)
        raised = await lifetime_of(websocket, websocket_var, with_children(session))
    finally:
        if exit_signal is not None:
            exit_signal.unlisten(terminate)
    if raised is not None:
        note(raised, websocket.scope)
        raise raised


async def _session(
    websocket: WebSocket,
    find: Find,
    exceptions: ExceptionTable,
    convert: Callable[[Any, Any], HttpResponse],
    children: Children,
) -> Exception | None:
    """Run the endpoint and close the connection; return the exception to raise to the server, or None."""
    socket = websocket.socket
    socket.state.children = children
    raised: Exception | None = None
    try:
        try:
            with strays_fail:
                endpoint = find(websocket)
                value = await endpoint()
                if value is not None and socket.state.outgoing is SocketState.CONNECTING:
                    await deny(websocket, convert(value, endpoint))
                elif socket.state.ending is None:
                    await socket.sending.close(1000, "")
        except Exception as error:
            websocket.failure = error
            raised = await _recover(websocket, error, exceptions)
        if socket.state.outgoing is SocketState.CLOSING:
            await socket.finish()
    except BaseException:
        with shielded():
            if socket.state.outgoing is SocketState.OPEN:
                await socket.sending.close(GOING_AWAY, "")
        raise
    finally:
        socket.state.release()
    return raised


async def _recover(
    websocket: WebSocket, exc: Exception, exceptions: ExceptionTable
) -> Exception | None:
    """Close or refuse the connection after an exception; return the exception to raise to the server, or None."""
    close = how_to_close(exc)
    if not close.failure or websocket.connection_state is not SocketState.CONNECTING:
        await websocket.socket.sending.close(close.code, close.reason)
        return exc if close.failure else None
    response, raised = await exceptions.answer(exc)
    try:
        await deny(websocket, response)
    except Exception as second:
        return second
    return raised
