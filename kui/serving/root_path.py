"""`--root-path`: what an app sees of the prefix under which a proxy offers it.

An ASGI wrapper, so that it does not depend on how the server reads a request.
"""

from __future__ import annotations

from baize.typing import ASGIApp, Receive, Scope, Send

from kui.http.urls import below_root, put_root_first

__all__ = ["RootPath"]


class RootPath:
    """Give each request its `root_path`, which is the beginning of its path (ASGI).

    :param root: begins with a slash.
    :param in_path: True if the proxy leaves `root` in the path. What is then asked for outside of it
        has no root_path.

    What the path looks like decides nothing: a proxy that takes `/api` away may ask for `/api/x`,
    and means the app's own `/api/x`.
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
