"""`/staff/pages/{day}`"""

from __future__ import annotations

from html import escape

from kui.asgi import HTMLResponse, request


async def get() -> HTMLResponse:
    return HTMLResponse(f"<h1>{escape(request.path_params['day'].title())}</h1>")
