"""`--root-path`: tell an app the prefix under which a proxy serves it. This is an ASGI wrapper around the app."""

from __future__ import annotations

from baize.typing import ASGIApp, Receive, Scope, Send

from kui.http.urls import below_root, put_root_first

__all__ = ["RootPath"]


class RootPath:
    """Gives each request its `root_path`, with which the path begins (ASGI).

    The path does not decide whether the proxy has removed the prefix: a proxy that removes `/api` may request `/api/x`
    and mean the app's own `/api/x`.

    :param root: the prefix, which begins with a slash.
    :param in_path: True if the proxy leaves `root` in the path. A path outside of it then has no root_path.
    """

    __slots__ = ("app", "apply", "root")

    def __init__(self, app: ASGIApp, root: str, *, in_path: bool) -> None:
        self.app = app
        self.root = root
        self.apply = below_root if in_path else put_root_first

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] in ("http", "websocket"):
            scope = self.apply(scope, self.root)
        await self.app(scope, receive, send)
