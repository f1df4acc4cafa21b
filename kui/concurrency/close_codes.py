"""The close code that hypercorn keeps to itself: it tells an app 1006, whatever its client has closed with.

What it has parsed is noted where it parses it, if the server is hypercorn of a kind that we know; else 1006 stays.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from baize.typing import Send

if TYPE_CHECKING:
    from wsproto.connection import Connection
    from wsproto.events import Event

__all__ = ["CloseNote", "note_close"]


class CloseNote:
    """How the client has closed, as soon as it has: `code` and `reason`."""

    __slots__ = ("code", "reason")

    def __init__(self) -> None:
        self.code: int | None = None
        self.reason = ""


def note_close(send: Send) -> CloseNote | None:
    """Note how the client of a WebSocket that is about to be accepted closes it; None where the server is another.

    It begins with the acceptance itself: a client may close before an app has heard of that.

    :param send: the server's, or a wrapper of it that names it as `__wrapped__`.
    """
    hypercorn: Any = sys.modules.get("hypercorn.protocol.ws_stream")
    if hypercorn is None:
        return None
    stream = getattr(inspect.unwrap(send), "__self__", None)
    if not isinstance(stream, hypercorn.WSStream):
        return None
    handshake: Any = getattr(stream, "handshake", None)
    if type(handshake) is not hypercorn.Handshake:
        return None
    note = CloseNote()
    accept = handshake.accept

    def accepting(*args: Any, **kwargs: Any) -> Any:
        accepted = accept(*args, **kwargs)
        for each in accepted:
            if type(each) is hypercorn.Connection:
                _listen(each, note)
        return accepted

    handshake.accept = accepting
    return note


def _listen(connection: Connection, note: CloseNote) -> None:
    from wsproto.events import CloseConnection

    events = connection.events

    def listening() -> Iterator[Event]:
        for event in events():
            if isinstance(event, CloseConnection) and note.code is None:
                note.code = int(event.code)
                note.reason = event.reason or ""
            yield event

    connection.events = listening  # type: ignore[method-assign,assignment]  # of this one connection
