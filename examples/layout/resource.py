"""The ten routes of a collection, as one value.

`resource` is a function that returns `Routes`. No base class and no registry is needed.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Collection, Iterator
from typing import Any

from kui.asgi import HTTPException, Routes, StreamResponse, request

from .access import needs
from .store import Item, Store

__all__ = ["read_item", "resource"]


async def read_item(needed: Collection[str] = ()) -> Item:
    """Return the item in the body of the request.

    :param needed: names of the values that it must have.
    :raises HTTPException: 422 if the body is no item, or a value is missing.
    """
    return _checked(await request.json, needed)


def _checked(item: Any, needed: Collection[str]) -> Item:
    if not isinstance(item, dict):
        raise HTTPException(422, content="An item is a JSON object.")
    for name in needed:
        if name not in item:
            raise HTTPException(422, content=f"{name} is missing.")
    return item


def resource(store: Store, *, needed: Collection[str] = ("name",), write: str = "clerk") -> Routes:
    """Return the routes of one collection, which are named by what they do: `list`, `show`, ...

    :param needed: names of the values that each item must have.
    :param write: the role that may change items.
    """
    routes = Routes(namespace=store.kind)
    writing = [needs(write)]

    def number() -> int:
        found: int = request.path_params["id"]
        return found

    @routes.http.get("/", name="list")
    async def list_items() -> list[Item]:
        return store.all()

    @routes.http.post("/", name="add", middlewares=writing)
    async def add() -> tuple[Item, int]:
        return store.add(await read_item(needed)), 201

    @routes.http.get("/{id:int}", name="show")
    async def show() -> Item:
        return store.get(number())

    @routes.http.put("/{id:int}", name="replace", middlewares=writing)
    async def replace() -> Item:
        return store.put(number(), await read_item(needed))

    @routes.http.patch("/{id:int}", name="change", middlewares=writing)
    async def change() -> Item:
        return store.put(number(), {**store.get(number()), **await read_item()})

    @routes.http.delete("/{id:int}", name="remove", middlewares=writing)
    async def remove() -> tuple[str, int]:
        store.remove(number())
        return "", 204

    @routes.http.get("/count", name="count")
    async def count() -> dict[str, int]:
        return {"count": len(store)}

    @routes.http.get("/search", name="search")
    async def search() -> list[Item]:
        return store.find(request.query_params.get("q", ""))

    @routes.http.post("/import", name="import", middlewares=writing)
    async def import_items() -> tuple[dict[str, int], int]:
        items = await request.json
        if not isinstance(items, list):
            raise HTTPException(422, content="A list of items is expected.")
        for item in [_checked(item, needed) for item in items]:  # all of them or none
            store.add(item)
        return {"added": len(items)}, 201

    @routes.http.get("/export", name="export")
    async def export() -> StreamResponse:
        rows = [("id", "name"), *((item["id"], item.get("name", "")) for item in store.all())]

        def lines() -> Iterator[Any]:
            for row in rows:
                line = io.StringIO()
                csv.writer(line).writerow(row)
                yield line.getvalue()

        return StreamResponse(lines(), content_type="text/csv")

    return routes
