"""`OpenAPI`: routes for an app's description and for the page that shows it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from html import escape
from importlib.resources import files
from threading import Lock
from typing import Any, Final
from weakref import WeakKeyDictionary

from kui.applications import Kui
from kui.current import request
from kui.http.exceptions import HTTPException
from kui.responses import HTMLResponse, HttpResponse, JSONResponse, RedirectResponse
from kui.routing import HttpRoute, Routes

from .document import VERSIONS, Version, document
from .marks import operation

__all__ = ["OpenAPI"]

_FILES: Final[Mapping[str, str]] = {
    "page.css": "text/css; charset=utf-8",
    "page.js": "text/javascript; charset=utf-8",
}
_POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:;"
    " connect-src *; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)


class OpenAPI:
    """Makes the description of an app at its first request, and serves a page to read and try it.

    `routes` has the page, `openapi.json` and the page's files. Put these routes behind a prefix.

    :param title: the title of the API.
    :param version: the version of the API.
    :param description: a text about the API, in CommonMark.
    :param openapi: `"3.1"`, or `"3.2"`, which can describe the items of a stream.
    :param servers: the base URLs of the API; by default that of the description.
    :param page: the URL of another page (Scalar, Swagger UI, ReDoc) to redirect to, which gets the URL of the
        description in its query as `url`; None for Kui's own page.
    :raises ValueError: there is no such version of OpenAPI.

    Example::

        app = Kui(routes=[*routes, "/docs" // OpenAPI(title="Shop", version="1.2").routes])
    """

    def __init__(
        self,
        *,
        title: str,
        version: str = "0.1.0",
        description: str = "",
        openapi: Version = "3.1",
        servers: tuple[str, ...] = (),
        page: str | None = None,
    ) -> None:
        if openapi not in VERSIONS:
            raise ValueError(f'OpenAPI(openapi=) is "3.1" or "3.2", not {openapi!r}')
        self._info = {"title": title, "version": version}
        if description:
            self._info["description"] = description
        self._version: Version = openapi
        self._servers = [{"url": url} for url in servers]
        self._page = page
        self._made: WeakKeyDictionary[Kui, dict[tuple[int, str], bytes]] = WeakKeyDictionary()
        self._lock = Lock()

    @property
    def routes(self) -> Routes:
        """The routes of the page and of the description. Put them behind a prefix."""
        return Routes(
            HttpRoute("", self._show, name=None, methods=["GET"]),
            HttpRoute("/openapi.json", self._describe, name=None, methods=["GET"]),
            HttpRoute("/{file}", self._file, name=None, methods=["GET"]),
        )

    def document(self, app: Kui, *, root: str = "") -> dict[str, Any]:
        """Return a new description of an app.

        :param root: the path below which the app is served, such as the prefix of a mount.
        :raises TypeError: a declaration cannot be described.
        """
        made = document(app, self._info, version=self._version)
        servers = self._servers or ([{"url": root}] if root else [])
        return made | ({"servers": servers} if servers else {})

    def text(self, app: Kui, *, root: str = "") -> bytes:
        """Return the description as JSON. It is made again only when the app has more routes.

        :raises TypeError: as for `document`.
        """
        with self._lock:
            kept = self._made.setdefault(app, {})
            key = (len(app.router), root)
            if key not in kept:
                kept.clear()
                kept[key] = json.dumps(self.document(app, root=root), ensure_ascii=False).encode()
            return kept[key]

    @operation(hidden=True)
    def _describe(self) -> HttpResponse:
        response = JSONResponse(None)
        response.body = self.text(_app(), root=request.get("root_path", ""))
        return response

    @operation(hidden=True)
    async def _show(self) -> HttpResponse:
        base = request.url.path.rstrip("/")
        if self._page is not None:
            return RedirectResponse(f"{self._page}?url={base}/openapi.json")
        page = _read("page.html").decode().replace("{{base}}", escape(f"{base}/"))
        response = HTMLResponse(page)
        response.headers["content-security-policy"] = _POLICY
        response.headers["x-content-type-options"] = "nosniff"
        return response

    @operation(hidden=True)
    async def _file(self) -> HttpResponse:
        name = request.path_params["file"]
        if name not in _FILES:
            raise HTTPException(404)
        response = HttpResponse(200, {"content-type": _FILES[name], "cache-control": "max-age=300"})
        response.body = _read(name)
        return response


def _app() -> Kui:
    app = request.app
    assert isinstance(app, Kui)
    return app


def _read(name: str) -> bytes:
    return files("kui.openapi").joinpath("page", name).read_bytes()
