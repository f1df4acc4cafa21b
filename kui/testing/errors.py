"""What the kit raises: a broken contract, a client that left, a test that took too long.

Nothing here waits or knows a loop; who raises what, and when, is written where it is raised.
"""

from __future__ import annotations

import httpx2

__all__ = [
    "ClientLeft",
    "ContractError",
    "DeadlineExceeded",
    "Disconnected",
    "LifespanFailed",
    "NotAnEventStream",
    "WebSocketClosed",
    "WebSocketDenied",
]


class ContractError(AssertionError):
    """The app broke the ASGI contract; the message says which rule, and what it did instead.

    It is raised in the app, at the call that is wrong, and again in the test, whatever the app
    makes of it: an app cannot swallow it, nor `raise_app_exceptions=False` hide it.
    """


class DeadlineExceeded(httpx2.ReadTimeout, TimeoutError):
    """A test, or one wait of it, took longer than it may; the message says what was waited for."""


class ClientLeft(OSError):
    """What `send` raises in the app when the client has left, if the transport is told to raise then."""

    def __init__(self) -> None:
        super().__init__("the client has left")


class Disconnected(httpx2.NetworkError):
    """The test closed its side of a connection while it was still used."""


class LifespanFailed(Exception):
    """The app answered `lifespan.startup.failed` or `lifespan.shutdown.failed`, and raised nothing.

    The text is the message that it sent. Where an app raises, its own exception is raised instead.
    """


class NotAnEventStream(Exception):
    """`client.events` was answered with something else than an event stream.

    `response` is what came, its body read.
    """

    def __init__(self, response: httpx2.Response) -> None:
        content_type = response.headers.get("content-type")
        super().__init__(
            f"expected 200 and text/event-stream, got {response.status_code} and {content_type}"
        )
        self.response = response


class WebSocketDenied(Exception):
    """The app did not accept the WebSocket. `response` is its denial, read; 403 if it only closed."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"the handshake was answered with {response.status_code}")
        self.response = response


class WebSocketClosed(Exception):
    """The WebSocket is closed, and every message that came before has been received.

    `code` and `reason` are those of the close frame (RFC 6455 section 7.4); 1006 if there was none.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
