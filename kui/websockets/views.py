"""SocketView: a WebSocket handler as a class, with a method for each thing that happens to a connection.

What may be received, and how a connection ends, is the business of `connection` and `session`.
"""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, Final, get_args

from kui.concurrency import shielded
from kui.connections import websocket_var

from .connection import Encoding, SocketState, how_to_close, iter_encoded

__all__ = ["SocketView", "view_endpoint"]

logger = logging.getLogger("kui.error")


class SocketView:
    """A class whose methods handle a WebSocket: its beginning, each message, its end.

    Every connection gets an instance of its own, made without arguments. The methods are `async def`; override
    those that you need. Registering a view raises TypeError where one of them cannot be called so, or the
    encoding is none.

    Example::

        @app.router.websocket("/echo")
        class Echo(SocketView):
            encoding = "json"

            async def on_receive(self, data):
                await websocket.send_json(data)
    """

    encoding: ClassVar[Encoding] = "anystr"
    """What `on_receive` is given: "text" (str), "bytes", "anystr" (str or bytes, as the client sends it) or "json"
    (decoded, from either). A message of another type closes the connection with 1003, malformed JSON with 1007."""

    async def on_connect(self) -> Any:
        """A client wants to connect. Accepts; what is returned without that is the response that refuses.

        Raise HTTPException to refuse.
        """
        await websocket_var.get().accept()

    async def on_receive(self, data: Any) -> None:
        """A message has come in. The next one is received when this returns; closing is up to you."""

    async def on_disconnect(self, close_code: int) -> None:
        """The connection is over. Called exactly once for each that was accepted, whatever has ended it.

        `close_code` is that of the client, or the one that this side has closed with: 1011 after an exception,
        1001 when the server stops, then for a bounded time.
        """


METHODS: Final = (("on_connect", 0), ("on_receive", 1), ("on_disconnect", 1))


def view_endpoint(view: type[SocketView]) -> Callable[[], Awaitable[Any]]:
    """The endpoint of a view. Raises TypeError, in a sentence, if it cannot work."""
    name = f"{view.__module__}.{view.__qualname__}"
    if view.encoding not in get_args(Encoding):
        known = ", ".join(map(repr, get_args(Encoding)))
        raise TypeError(f"{name}.encoding is {view.encoding!r}: it must be one of {known}")
    if not _takes(view, 0):
        raise TypeError(f"{name} is made without arguments, but its __init__ needs some")
    for method, arguments in METHODS:
        found = inspect.getattr_static(view, method)
        plain = inspect.isfunction(found)
        function = found if plain else getattr(view, method)
        if not inspect.iscoroutinefunction(function):
            raise TypeError(f"{name}.{method} must be an `async def`")
        if not _takes(function, arguments + plain):
            given = "the message" if method == "on_receive" else "the close code"
            wanted = f"takes one argument, {given}" if arguments else "takes no arguments"
            raise TypeError(f"{name}.{method} {wanted}; everything else is in kui.asgi.websocket")

    async def endpoint() -> Any:
        return await _run(view())

    return endpoint


def _takes(function: Callable[..., Any], count: int) -> bool:
    try:
        signature = inspect.signature(function, follow_wrapped=False)
    except ValueError:  # some built-in callables have none to look at
        return True
    try:
        signature.bind(*[None] * count)
    except TypeError:
        return False
    return True


async def _run(view: SocketView) -> Any:
    websocket = websocket_var.get()
    socket = websocket.socket
    try:
        value = await view.on_connect()
        if value is not None and socket.state is SocketState.CONNECTING:
            return value
        async for data in iter_encoded(websocket, view.encoding):
            await view.on_receive(data)
    except BaseException as exc:
        if not socket.accepted:
            raise
        close = how_to_close(exc)
        with shielded() as scope:
            await socket.close(close.code, close.reason)
            if not isinstance(exc, Exception):  # cancelled: this is the time there is
                await view.on_disconnect(socket.disconnect().code)
        if isinstance(exc, Exception):
            await view.on_disconnect(socket.disconnect().code)
        elif scope.cancelled_caught:
            logger.error("The on_disconnect of %r took too long and was cut off", view)
        raise
    if socket.accepted:
        await view.on_disconnect(socket.disconnect().code)
