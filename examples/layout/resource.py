"""The ten routes that every collection has, as one value.

A function that returns `Routes` is all that it takes: no class to inherit from, nothing to register.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from kui.asgi import HTTPException, Routes, StreamResponse, request

from .access import needs
from .store import Item, Store

__all__ = ["resource"]


async def _values(needed: Iterable[str]) -> Item:
    """The values that a client has sent. Raises HTTPException 422 if one that is needed is missing."""
    values = await request.json
    if not isinstance(values, dict):
        raise HTTPException(422, content="An object is wanted here.")
    return _checked(values, needed)


def _checked(values: Item, needed: Iterable[str]) -> Item:
    for name in needed:
        if name not in values:
            raise HTTPException(422, content=f"{name} is missing.")
    return values


def resource(store: Store, *, needed: Iterable[str] = ("name",), write: str = "clerk") -> Routes:
    """The routes of one collection, named after what they do: `list`, `show`, ...

    Parameters: `store`; `needed`, the values that each item must have; `write`, the role that is
    needed to change something.
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
        return store.add(await _values(needed)), 201

    @routes.http.get("/{id:int}", name="show")
    async def show() -> Item:
        return store.get(number())

    @routes.http.put("/{id:int}", name="replace", middlewares=writing)
    async def replace() -> Item:
        return store.put(number(), await _values(needed))

    @routes.http.patch("/{id:int}", name="change", middlewares=writing)
    async def change() -> Item:
        return store.put(number(), {**store.get(number()), **await _values(())})

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
        added = [store.add(_checked(values, needed)) for values in await request.json]
        return {"added": len(added)}, 201

    @routes.http.get("/export", name="export")
    async def export() -> StreamResponse:
        def lines() -> Iterator[Any]:
            yield "id,name\n"
            for item in store.all():
                yield f"{item['id']},{item.get('name', '')}\n"

        return StreamResponse(lines(), content_type="text/csv")

    return routes
