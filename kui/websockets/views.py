"""SocketView: a WebSocket handler as a class, with methods for the beginning, each message and the end.

`connection` defines what may be received, and `session` how a connection ends.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, get_args

from kui.argument_checks import own_signature, takes
from kui.concurrency import shielded, strays_fail
from kui.connections import websocket_var

from .connection import SocketState
from .endings import how_to_close
from .messages import Encoding, iter_encoded

__all__ = ["SocketView", "methods_of_view", "run_view", "view_endpoint"]

logger = logging.getLogger("kui.error")


class SocketView:
    """A class whose methods handle the beginning, each message and the end of a WebSocket.

    Each connection gets an instance of its own, which is made without arguments. Override the methods that you need,
    with `async def`.

    :raises TypeError: at registration, if a method cannot be called as described here, or `encoding` is unknown.

    Example::

        @app.router.websocket("/echo")
        class Echo(SocketView):
            encoding = "json"

            async def on_receive(self, data):
                await websocket.send_json(data)
    """

    encoding: ClassVar[Encoding] = "anystr"
    """The argument of `on_receive`: "text" (str), "bytes", "anystr" (str or bytes, as the client sends it) or "json"
    (decoded, from either). A message of another type closes the connection with 1003, malformed JSON with 1007."""

    async def on_connect(self) -> Any:
        """Accept the connection. To refuse it, raise HTTPException, or return a response without accepting."""
        await websocket_var.get().accept()

    async def on_receive(self, data: Any) -> None:
        """Handle a message. The next one is received when this has returned. Close the socket here if you want to."""

    async def on_disconnect(self, close_code: int) -> None:
        """Handle the end of the connection. Called exactly once for each connection that was accepted.

        If the handler is cancelled, this is shielded for 5 s.

        :param close_code: the code of the client's close frame or of this side's: 1011 after an exception, 1001 if
            the app must stop.
        """


VIEW_METHODS: Final = (("on_connect", 0), ("on_receive", 1), ("on_disconnect", 1))


def methods_of_view(view: type[SocketView]) -> tuple[tuple[Callable[..., Any], int], ...]:
    """Return the three methods of a view, each with its number of arguments, `self` included.

    Further parameters of a method are declared parameters.

    :raises TypeError: a method is no `async def`, or does not take these arguments.
    """
    name = f"{view.__module__}.{view.__qualname__}"
    found = []
    for method, arguments in VIEW_METHODS:
        written = inspect.getattr_static(view, method)
        plain = inspect.isfunction(written)
        function = written if plain else getattr(view, method)
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{name}.{method} must be an `async def`")
        if not _takes_at_least(function, arguments + plain):
            given = "the message" if method == "on_receive" else "the close code"
            wanted = f"takes {given} first" if arguments else "is a method: it has a self"
            raise TypeError(f"{name}.{method} {wanted}; what else it takes, it declares")
        found.append((function, arguments + plain))
    return tuple(found)


def view_endpoint(view: type[SocketView]) -> Callable[[], Awaitable[Any]]:
    """Return the endpoint of a view.

    :raises TypeError: as for `SocketView`.
    """
    name = f"{view.__module__}.{view.__qualname__}"
    if view.encoding not in get_args(Encoding):
        known = ", ".join(map(repr, get_args(Encoding)))
        raise TypeError(f"{name}.encoding is {view.encoding!r}: it must be one of {known}")
    if not takes(view, 0):
        raise TypeError(f"{name} is made without arguments, but its __init__ needs some")
    methods_of_view(view)

    async def endpoint() -> Any:
        made = view()
        return await run_view(made, made.on_connect, made.on_receive, made.on_disconnect)

    return endpoint


def _takes_at_least(function: Callable[..., Any], count: int) -> bool:
    parameters = own_signature(function).parameters.values()
    if any(one.kind is one.VAR_POSITIONAL for one in parameters):
        return True
    return count <= sum(
        one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD) for one in parameters
    )


async def run_view(
    view: SocketView,
    on_connect: Callable[[], Awaitable[Any]],
    on_receive: Callable[[Any], Awaitable[Any]],
    on_disconnect: Callable[[int], Awaitable[Any]],
) -> Any:
    """Run a connection with the three methods of a view, bound and with their declared parameters filled in."""
    websocket = websocket_var.get()
    socket = websocket.socket
    try:
        with strays_fail:
            value = await on_connect()
            if value is not None and socket.state.outgoing is SocketState.CONNECTING:
                return value
            async for data in iter_encoded(socket.receiving, view.encoding):
                await on_receive(data)
    except BaseException as exc:
        if not socket.state.accepted:
            raise
        close = how_to_close(exc)
        with shielded(what=f"The on_disconnect of {view!r}"):
            await socket.sending.close(close.code, close.reason)
            if not isinstance(exc, Exception):  # cancelled: this is the time there is
                await on_disconnect(socket.state.disconnect().code)
        if isinstance(exc, Exception):
            await on_disconnect(socket.state.disconnect().code)
        raise
    if socket.state.accepted:
        await on_disconnect(socket.state.disconnect().code)
