"""The readers and their cards, which only the staff may see."""

from __future__ import annotations

from examples.layout.access import needs
from examples.layout.resource import resource
from examples.layout.store import Item, Store
from kui.asgi import Routes, request

__all__ = ["people", "routes"]

people = Store("people")

routes = Routes(
    "/people" // resource(people),
    *(
        f"/{name}" // resource(Store(name))
        for name in ("cards", "households", "fees", "messages", "consents")
    ),
    namespace="members",
    http_middlewares=[needs("clerk")],
)


@routes.http.get("/people/{id:int}/label", name="label")
async def label() -> str:
    person: Item = people.get(request.path_params["id"])
    return f"{person['name']}\n{person.get('street', '')}\n"
