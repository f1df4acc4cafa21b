"""A client of an app that is called by hand, which may leave at any checkpoint; for `every_checkpoint`."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

from .scopes import http_scope

__all__ = ["CUTS", "LeavingClient", "leave"]


class LeavingClient:
    """An ASGI client each of whose messages takes a checkpoint, and who may leave at any moment.

    :param body: the chunks of the request's body; without any, the client only waits.
    :param more: what its scope has beside the usual.
    """

    def __init__(self, *body: bytes, **more: Any) -> None:
        self.left = anyio.Event()
        self.sent: list[dict[str, Any]] = []
        self._body = list(body)
        self.scope = http_scope(**{"headers": [(b"host", b"test")], **more})

    async def receive(self) -> dict[str, Any]:
        await anyio.lowlevel.checkpoint()
        if self._body and not self.left.is_set():
            body = self._body.pop(0)
            return {"type": "http.request", "body": body, "more_body": bool(self._body)}
        await self.left.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        await anyio.lowlevel.checkpoint()
        if not self.left.is_set():
            self.sent.append(message)
            if message["type"] == "http.response.body" and not message.get("more_body"):
                self.left.set()  # a server says so as well when the response is complete


def leave(state: Any) -> None:
    """Have `state.client` leave: a `how` of `every_checkpoint`."""
    state.client.left.set()


CUTS = [
    pytest.param("asyncio", "scope", id="asyncio-scope"),
    pytest.param("asyncio", "native", id="asyncio-native"),
    pytest.param("asyncio", leave, id="asyncio-leaving"),
    pytest.param("trio", "scope", id="trio-scope"),
    pytest.param("trio", leave, id="trio-leaving"),
]
"""Values of `anyio_backend` and `how`: each loop with the ways in which a request can be cut."""
