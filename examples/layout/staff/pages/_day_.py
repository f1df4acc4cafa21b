"""`/staff/pages/{day}`"""

from __future__ import annotations

from kui.asgi import HTMLResponse, request


async def get() -> HTMLResponse:
    return HTMLResponse(f"<h1>{request.path_params['day'].title()}</h1>")
