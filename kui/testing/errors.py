"""The exceptions of the kit: a broken contract, a client that left, a test that took too long."""

from __future__ import annotations

import httpx2

__all__ = [
    "ClientLeft",
    "ContractError",
    "DeadlineExceeded",
    "Disconnected",
    "NotAnEventStream",
    "WebSocketClosed",
    "WebSocketDenied",
]


class ContractError(AssertionError):
    """Raised if the app broke the ASGI contract. The message says which rule, and what the app did.

    It is raised in the app, at the wrong call, and again in the test, even if the app catches it or
    `raise_app_exceptions` is False.
    """


class DeadlineExceeded(httpx2.ReadTimeout, TimeoutError):
    """Raised if a test, or one wait of it, took too long. The message says what it waited for."""


class ClientLeft(OSError):
    """Raised by the app's `send` when the client has left, if the transport has `raise_after_leaving`."""

    def __init__(self) -> None:
        super().__init__("the client has left")


class Disconnected(httpx2.NetworkError):
    """Raised if the test has closed its side of a connection that is in use."""


class NotAnEventStream(Exception):
    """Raised if the response to `client.events` is no event stream. `response` is that response, with its body read."""

    def __init__(self, response: httpx2.Response) -> None:
        content_type = response.headers.get("content-type")
        super().__init__(
            f"expected 200 and text/event-stream, got {response.status_code} and {content_type}"
        )
        self.response = response


class WebSocketDenied(Exception):
    """Raised if the app did not accept the WebSocket. `response` is its denial response; a 403 if it only closed."""

    def __init__(self, response: httpx2.Response) -> None:
        super().__init__(f"the handshake was answered with {response.status_code}")
        self.response = response


class WebSocketClosed(Exception):
    """Raised if the WebSocket is closed and all its messages were received.

    `code` and `reason` are those of the close frame (RFC 6455 section 7.4); 1006 if there was none.
    """

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"{code} {reason}".rstrip())
        self.code = code
        self.reason = reason
