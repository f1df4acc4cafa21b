"""The catalog, which everybody may read and librarians may change."""

from __future__ import annotations

from examples.layout.resource import resource
from examples.layout.store import Store
from kui.asgi import Routes

from . import shelf

__all__ = ["routes"]

routes = Routes(
    "/books" // Routes(resource(shelf.books, needed=["name", "author"]), shelf.routes),
    *(
        f"/{name}" // resource(Store(name), write="librarian")
        for name in ("authors", "series", "publishers", "subjects", "languages")
    ),
    namespace="catalog",
)
