"""Choose the close code for an exception that a WebSocket handler has raised."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from kui.concurrency.websocket.states import WebSocketDisconnect
from kui.http.text import encode_text

__all__ = ["GOING_AWAY", "LONGEST_REASON", "HowToClose", "InvalidMessage", "how_to_close"]

GOING_AWAY = 1001
INTERNAL_ERROR = 1011
LONGEST_REASON = 123
"""The longest reason of a close frame, in bytes (RFC 6455, section 5.5)."""


class InvalidMessage(ValueError):
    """Raised if the client has sent a message that cannot be used, such as malformed JSON.

    A handler may catch it and go on, or close with another code. If it leaves the handler, the socket is closed with
    `code`. It is not logged, because it is the client's fault.

    :param reason: a text for the client.
    :param code: the close code.
    """

    def __init__(self, reason: str, code: int = 1007) -> None:
        super().__init__(reason)
        self.reason = reason
        self.code = code


class HowToClose(NamedTuple):
    """The close code and reason after an exception. `failure` is True if the exception must be raised to the server."""

    code: int
    reason: str
    failure: bool


def how_to_close(exc: BaseException) -> HowToClose:
    """Return how to close the socket after an exception has left a handler; for a group, after its members."""
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
