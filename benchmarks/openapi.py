"""How long the description of 300 declared routes takes: `python -m benchmarks.openapi`."""

from __future__ import annotations

import time
from typing import Annotated, Any

from pydantic import BaseModel, create_model

from kui.asgi import Body, HttpRoute, Kui, Query
from kui.openapi import OpenAPI, Responses

ROUTES = 300
MODELS = 60


class Problem(BaseModel):
    detail: str


def make_app() -> Kui:
    """Make an app of 300 routes with parameters, bodies and answers of 60 models of ten fields."""
    kinds: Any = {f"field{n}": (int | None, None) for n in range(10)}
    models = [create_model(f"Model{number}", **kinds) for number in range(MODELS)]
    routes = []
    for number in range(ROUTES):
        model = models[number % MODELS]

        async def handler(id: Any, item: Any, page: Any = 1) -> Any:
            """Do something with an item."""
            return item

        handler.__annotations__ = {
            "id": int,
            "item": Annotated[model, Body(exclusive=True)],
            "page": Annotated[int, Query(ge=1)],
            "return": Annotated[model, Responses({404: Problem})],
        }
        route = HttpRoute(f"/route{number}/{{id:int}}", handler, f"route{number}", methods=["POST"])
        routes.append(route)
    return Kui(routes=routes)


def main() -> None:
    app = make_app()
    start = time.perf_counter()
    text = OpenAPI(title="benchmark").text(app)
    print(f"{ROUTES} routes: {time.perf_counter() - start:.2f} s, {len(text) / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
