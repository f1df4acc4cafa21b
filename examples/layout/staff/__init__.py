"""The staff, for librarians only. Its pages are a package, with a module for each path."""

from __future__ import annotations

from examples.layout.access import needs
from examples.layout.resource import resource
from examples.layout.store import Store
from kui.asgi import FileRoutes, Routes

__all__ = ["routes"]

# Its namespace is set where it is included, because a group need not know its own name.
routes = Routes(
    *(
        f"/{name}" // resource(Store(name), write="librarian")
        for name in ("employees", "shifts", "roles", "tasks", "notes", "audits")
    ),
    "/pages" // FileRoutes("examples.layout.staff.pages", namespace="pages"),
    http_middlewares=[needs("librarian")],
)
