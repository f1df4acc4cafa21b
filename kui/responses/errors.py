"""Make the response to an error that has no response of its own: problem details, plain text, or a traceback.

`kui.exceptions` decides which function of an app makes the response.
"""

from __future__ import annotations

import traceback
from typing import Any

from kui.connections import HTTPConnection, request_var, websocket_var
from kui.http.exceptions import AnyHTTPException
from kui.http.headers import ResponseHeaders
from kui.http.hosts import split_host
from kui.http.media import quality
from kui.http.problems import PROBLEM_JSON, description, prefers_json, problem
from kui.lifespan import DEBUG

from .base import HttpResponse
from .content import HTMLResponse, JSONResponse, PlainTextResponse

__all__ = ["error_response", "shows_tracebacks", "traceback_response"]


def error_response(exc: AnyHTTPException[Any]) -> Any:
    """Return the response to an HTTPException that has no handler, and whose content is a sentence or None.

    Clients that prefer JSON to HTML get problem details (RFC 9457), others get plain text.
    `Kui(error_response=...)` replaces this function.

    Example::

        def as_html(exc):
            return HTMLResponse(page(exc.status_code, exc.content), exc.status_code)

        app = Kui(error_response=as_html)
    """
    status, said = exc.status_code, exc.content
    headers = ResponseHeaders(exc.headers)
    headers.append("vary", "Accept")
    if not _wants_json():
        return said if said is not None else description(status), status, headers
    detail = said if said is not None else f"{description(status)}."
    headers["content-type"] = PROBLEM_JSON
    return JSONResponse(problem(status, detail), status, headers)


def _wants_json() -> bool:
    connection: HTTPConnection | None = request_var.get(None)
    if connection is None:  # `not connection` would compute the length of this mapping
        connection = websocket_var.get(None)
    if connection is None:
        return False
    fields = connection.plain_fields()
    if fields is None:
        accept = connection.headers.get("accept", "")
    else:
        accept = fields.get(b"accept", b"").decode("latin-1")
    # Most clients name neither type in Accept; then no parsing is needed.
    return "application/" in accept.lower() and prefers_json(connection.accepted_types)


def shows_tracebacks(connection: HTTPConnection) -> bool:
    """True if the server was started with `--debug`, and the Host header is a name of this machine.

    Any other Host may be that of a hostile page whose name resolves to this machine (DNS rebinding).
    """
    if DEBUG not in (connection.scope.get("extensions") or {}):
        return False
    host = split_host(connection.headers.get("host", "").encode("latin-1"))
    if host is None:
        return False
    name = host[0].removesuffix(".")
    return name in ("localhost", "[::1]") or name.endswith(".localhost") or _is_loopback(name)


def _is_loopback(name: str) -> bool:
    parts = name.split(".")
    return len(parts) == 4 and parts[0] == "127" and all(part.isdecimal() for part in parts)


def traceback_response(exc: BaseException, connection: HTTPConnection) -> HttpResponse:
    """Return a response with the traceback of an exception: HTML if the client names it in Accept, else plain text.

    It does not show local variables, which may hold secrets.
    """
    text = "".join(traceback.format_exception(exc))
    headers = {"Vary": "Accept", "Cache-Control": "no-store"}
    names_html = any(
        (each.main_type, each.sub_type) == ("text", "html") for each in connection.accepted_types
    )
    if not names_html or not quality(connection.accepted_types, "text/html"):
        return PlainTextResponse(text, 500, headers)
    from html import escape  # only a page of `--debug` needs its table of 2,000 names

    headers["Content-Security-Policy"] = "default-src 'none'; style-src 'unsafe-inline'"
    title = escape(f"{type(exc).__name__}: {exc}"[:500])
    return HTMLResponse(_PAGE.format(title=title, text=escape(text)), 500, headers)


_PAGE = """<!doctype html>
<html lang="en">
<meta charset="utf-8">
<title>{title}</title>
<style>
body {{ margin: 2em; font-family: sans-serif }}
pre {{ padding: 1em; overflow: auto; background: #f4f4f4; color: #222 }}
</style>
<h1>{title}</h1>
<pre>{text}</pre>
<p>This page is shown because the server runs with --debug. Never offer it to others.</p>
</html>
"""
