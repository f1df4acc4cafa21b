"""The libraries of a town: a layout for a service of 300 routes.

`kui run examples.layout:app`, then `curl localhost:8000/`. Each package is one part of the service, imports none of the
other parts, and defines one value, `routes`. This module decides the path of each part, and what is around all of them.

    store.py, resource.py   for all parts: a collection, and its ten routes
    access.py               for all parts: a middleware that checks the client's role
    catalog/ members/ loans/ branches/ staff/
"""

from __future__ import annotations

from collections import Counter

from kui.asgi import Files, HttpRoute, Kui, Mount, Routes, compress, request

from . import branches, catalog, loans, members, staff
from .store import NoSuchItem

__all__ = ["app"]


async def index() -> dict[str, object]:
    """Return the number of routes of each part."""
    names = [route.full_name for route in request.app.router]
    parts = Counter(name.partition(":")[0] for name in names if name and ":" in name)
    return {"routes": len(request.app.router), "parts": parts}


async def no_such_item(exc: NoSuchItem) -> tuple[dict[str, str], int]:
    return {"error": str(exc)}, 404


app = Kui(
    routes=[
        HttpRoute("/", index, methods=["GET"]),
        "/catalog" // catalog.routes,
        "/members" // members.routes,
        "/loans" // loans.routes,
        "/branches" // branches.routes,
        "/staff" // Routes(staff.routes, namespace="staff"),
        Mount("/static", Files("examples.layout:static"), name="static"),
    ],
    http_middlewares=[compress()],
    exception_handlers={NoSuchItem: no_such_item},
)
