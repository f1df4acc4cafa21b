"""The routes that books have and other collections do not."""

from __future__ import annotations

from collections.abc import AsyncGenerator

import anyio

from examples.layout.store import Item, Store
from kui.asgi import Routes, ServerSentEvent, request

__all__ = ["books", "routes"]

books = Store("books")
routes = Routes(namespace="books")


@routes.http.get("/by/{author}", name="by-author")
async def by_author() -> list[Item]:
    author = request.path_params["author"]
    return [book for book in books.all() if book["author"] == author]


@routes.http.get("/news", name="news")
async def news() -> AsyncGenerator[ServerSentEvent, None]:
    """Send the name of each book that is added, until the client leaves."""
    seen = len(books)
    while True:
        for book in books.all()[seen:]:
            yield {"data": book["name"]}
        seen = len(books)
        await anyio.sleep(0.1)
