"""Who works here: for librarians only. Its pages are a package of modules, one for each path."""

from __future__ import annotations

from examples.layout.access import needs
from examples.layout.resource import resource
from examples.layout.store import Store
from kui.asgi import FileRoutes, Routes

__all__ = ["routes"]

# Its namespace is given where it is put: a group need not know what it is called.
routes = Routes(
    *(
        f"/{name}" // resource(Store(name), write="librarian")
        for name in ("employees", "shifts", "roles", "tasks", "notes", "audits")
    ),
    "/pages" // FileRoutes("examples.layout.staff.pages", namespace="pages"),
    http_middlewares=[needs("librarian")],
)
