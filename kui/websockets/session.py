"""Runs a WebSocket handler, from its connection to its close frame, whatever it raises.

The order of things is that of HTTP: the handler, the end of the connection, the exit stack, background tasks.
What a refusal looks like on the wire is in `denials`.
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

    It returns: the socket is closed with 1000, or refused with 403 if it was not accepted. It returns something
    before it accepts: that is the response that refuses. It raises before it accepts: `exceptions` answers. It
    raises after that: the socket is closed with 1011. WebSocketDisconnect, alone or as the only leaves of a
    group, and InvalidMessage are no failures. The server stops, or cancels: the socket is closed with 1001.

    :param websocket: a connection whose `websocket.connect` may or may not have been received.
    :param find: returns the endpoint, the handler with its middlewares; the WebSocket is the current one already.
    :param convert: makes the response of a value, for the second of these cases.
    :raises Exception: what the endpoint raised, unless a handler of `exceptions` has dealt with it; once the
        client has been told. The server logs it.

    Cancelled, it closes what the session has opened, for a bounded time.

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
    """Run the endpoint and close the connection; return what the server must hear."""
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
    """Tell the client of an exception as far as that is still possible; return what the server must hear."""
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
