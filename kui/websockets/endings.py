"""How a WebSocket is closed after what its handler has raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kui.concurrency.websocket.states import WebSocketDisconnect
from kui.http.text import encode_text

__all__ = ["GOING_AWAY", "LONGEST_REASON", "HowToClose", "InvalidMessage", "how_to_close"]

GOING_AWAY = 1001
INTERNAL_ERROR = 1011
LONGEST_REASON = 123
"""Bytes that the reason of a close frame may have (RFC 6455, 5.5)."""


class InvalidMessage(ValueError):
    """The client has sent a message that cannot be used; `code` is the close code for that.

    A handler may catch it and go on, or close with a code of its own. One that leaves the handler closes the
    socket with `code`, and is not the fault of this side: it is not logged.
    """

    def __init__(self, reason: str, code: int = 1007) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class HowToClose(NamedTuple):
    """How a socket is closed after an exception, and if the server is told of that."""

    code: int
    reason: str
    failure: bool


def how_to_close(exc: BaseException) -> HowToClose:
    """Return what to do about an exception that has left a handler; a group is looked into."""
    invalid: InvalidMessage | None = None
    for each in _leaves(exc):
        if isinstance(each, InvalidMessage):
            invalid = invalid or each
        elif not isinstance(each, Exception):
            return HowToClose(GOING_AWAY, "", True)
        elif not isinstance(each, WebSocketDisconnect):
            return HowToClose(INTERNAL_ERROR, "", True)
    if invalid is not None:
        return HowToClose(
            invalid.code,
            encode_text(invalid.reason)[:LONGEST_REASON].decode(errors="ignore"),
            False,
        )
    return HowToClose(1000, "", False)


def _leaves(exc: BaseException) -> Iterator[BaseException]:
    if isinstance(exc, BaseExceptionGroup):
        for each in exc.exceptions:
            yield from _leaves(each)
    else:
        yield exc
