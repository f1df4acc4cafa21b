"""The access log: one line for each request and each WebSocket, written at its end.

It is an ASGI wrapper, so that it logs the client that a trusted proxy has named.
"""

from __future__ import annotations

import logging
import time

from baize.typing import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLog"]

logger = logging.getLogger("kui.access")


class AccessLog:
    """Log `client "GET /path?query HTTP/1.1" status milliseconds` to `kui.access`.

    The target is logged percent-encoded, as it was sent, so that it cannot break the line. The status is `-` if there
    was no response.
    """

    __slots__ = ("app",)

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self.app(scope, receive, send)
            return
        status: object = "-"

        async def noting_send(message: Message) -> None:
            nonlocal status
            kind = message["type"]
            if kind.endswith("http.response.start"):
                status = message["status"]
            elif kind == "websocket.accept":
                status = 101
            elif kind == "websocket.close" and status == "-":
                status = 403
            await send(message)

        started = time.perf_counter()
        try:
            await self.app(scope, receive, noting_send)
        finally:
            client = scope.get("client") or ("-",)
            logger.info(
                '%s "%s %s HTTP/%s" %s %.1f ms',
                client[0],
                scope.get("method", "WEBSOCKET"),
                _target(scope),
                scope.get("http_version", "1.1"),
                status,
                (time.perf_counter() - started) * 1000,
            )


def _target(scope: Scope) -> str:
    target: bytes = scope.get("raw_path") or scope["path"].encode("utf-8")
    if scope.get("query_string"):
        target = target.partition(b"?")[0] + b"?" + scope["query_string"]
    return target.decode("latin-1").encode("unicode_escape").decode("ascii").replace('"', "%22")
