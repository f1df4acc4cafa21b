"""Loans: the collections, and the desk, where a clerk lends a book and takes it back."""

from __future__ import annotations

from examples.layout.access import needs
from examples.layout.resource import read_item, resource
from examples.layout.store import Item, Store
from kui.asgi import HTTPException, MultimethodRoutes, Routes, request

__all__ = ["routes"]

open_loans = Store("open")

desk = MultimethodRoutes(namespace="desk", http_middlewares=[needs("clerk")])


@desk.http.post("/desk/{book:int}", name="lend")
async def lend() -> tuple[Item, int]:
    """Lend a book, unless it is lent already."""
    book, reader = request.path_params["book"], await read_item(["name"])
    if any(loan["book"] == book for loan in open_loans.all()):
        raise HTTPException(409, content=f"The book {book} is lent already.")
    return open_loans.add({"book": book, "name": reader["name"]}), 201


@desk.http.delete("/desk/{book:int}", name="return")
async def take_back() -> tuple[str, int]:
    """Take a book back."""
    for loan in open_loans.all():
        if loan["book"] == request.path_params["book"]:
            open_loans.remove(loan["id"])
            return "", 204
    raise HTTPException(404, content="This book is not lent.")


routes = Routes(
    "/open" // resource(open_loans),
    *(
        f"/{name}" // resource(Store(name))
        for name in ("reservations", "renewals", "returned", "queues", "reminders")
    ),
    desk,
    namespace="loans",
)
