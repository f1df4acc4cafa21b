"""`/staff/pages/`"""

from __future__ import annotations

from kui.asgi import HTMLResponse, request


async def get() -> HTMLResponse:
    stylesheet = request.app.router.url_for("static", path="site.css")
    return HTMLResponse(f'<link rel="stylesheet" href="{stylesheet}"><h1>Good morning</h1>')
