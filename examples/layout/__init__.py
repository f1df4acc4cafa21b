"""How a service of 300 routes may be laid out: `kui run examples.layout:app`, then `curl localhost:8000/`.

The libraries of a town. Each package below is one part of the house, knows nothing of the others, and
hands up one value, `routes`; only here it is decided at which path each of them is, and what is around all of them.

    store.py, resource.py   what the parts are made with: the ten routes that every collection has
    access.py               who may do what, as a middleware
    catalog/ members/ loans/ branches/ staff/
"""

from __future__ import annotations

from collections import Counter

from kui.asgi import Files, HttpRoute, Kui, Mount, Routes, compress, request

from . import branches, catalog, loans, members, staff
from .store import NoSuchItem

__all__ = ["app"]


async def index() -> dict[str, object]:
    """How many routes each part has, and where it begins."""
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
